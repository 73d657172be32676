"""Blocks of a trace file: a batch of rows, compressed, behind an index of what is in it.

A block is the MessagePack array

    [events, begin, end, actors, peers, kinds, ranges, checksum, length, data]

`actors` have rows in it, `peers` are whom these name; `kinds` are those that are not frequent; every number
of a message, cause or wait lies in one of the `ranges`. The data is the MessagePack array of the rows,
deflated; `length` is that before, the checksum is a crc32 of what stands in the file. What is read is trusted
in nothing.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Final

import msgpack

from actors.errors import ProtocolError
from actors.tracing.rows import FREQUENT, expand_all, is_row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from actors.tracing.events import TraceEvent
    from actors.tracing.rows import Row

__all__ = ["FileBlock", "pack_block", "unpack_block"]

DATA_BYTES_MAX: Final = 1 << 30
FAST: Final = 1
# What the frequent rows stand for.
FREQUENT_KINDS: Final = frozenset({"wait", "send", "receive", "reply", "done", "wait_end"})

_kind, _actor, _msg_id, _cause_id = map(itemgetter, (1, 2, 4, 5))
_wait_id: Final = itemgetter(10)
_EXTRA: Final = {"ask": 1, "answer": 2}  # so many events more than rows


@dataclass(frozen=True, slots=True)
class FileBlock:
    """What the index says of a block; its rows are read when they are wanted.

    Attributes:
        count: how many events it has.
        span_s: times of its first and its last row.
        actors: who has rows in it, in order of first appearance.
        named: those, and who else may have an event.
        kinds: kinds that may be in it.
        ranges: pairs of least and greatest; every number in it is in one of them.
        load: reads the rows.
    """

    count: int
    span_s: tuple[float, float]
    actors: Collection[str]
    named: Collection[str]
    kinds: Collection[str]
    ranges: tuple[tuple[int, int], ...]
    load: Callable[[], list[Row]]

    def may_be_about(self, numbers: Collection[int]) -> bool:
        """Whether an event may name one of these numbers."""
        return any(low <= number <= high for low, high in self.ranges for number in numbers)

    def events(self) -> Sequence[TraceEvent]:
        """The events, oldest first; read from the file.

        Raises:
            ProtocolError: the file has changed since it was opened.
            OSError: it cannot be read.
        """
        return expand_all(self.load())


def pack_block(packer: msgpack.Packer, rows: Sequence[Row]) -> bytes:
    """The block of these rows, of which there is one at least."""
    raw = packer.pack(rows)
    data = zlib.compress(raw, FAST)
    counts = Counter(map(_kind, rows))
    actors = dict.fromkeys(map(_actor, rows))
    index = (
        len(rows) + sum(counts[kind] * more for kind, more in _EXTRA.items()),
        rows[0][0],
        rows[-1][0],
        list(actors),
        list({row[6] for row in rows if row[1] == "answer"}.difference(actors)),
        [kind for kind in counts if kind not in FREQUENT],
        _ranges(rows, [row for row in rows if row[1] not in FREQUENT] if counts.keys() - FREQUENT else []),
        zlib.crc32(data),
        len(raw),
    )
    return packer.pack((*index, data))


def _ranges(rows: Sequence[Row], rare: Sequence[Row]) -> list[tuple[int, int]]:
    """In which all numbers of these rows lie, 0 left out, which is none."""
    columns = map(_msg_id, rows), map(_cause_id, rows), map(_wait_id, rare)
    numbers = [list(filter(None, column)) for column in columns]
    return [(min(column), max(column)) for column in numbers if column]


def unpack_block(value: object, load: Callable[[], bytes]) -> FileBlock:
    """Return the block whose array was read.

    Args:
        value: what was read.
        load: reads the data again.

    Raises:
        ProtocolError: it is no block, or it is damaged.
    """
    try:
        count, begin_s, end_s, actors, peers, kinds, ranges, checksum, length, data = value  # type: ignore[misc]  # which raises when it is anything else
    except (TypeError, ValueError):
        raise ProtocolError("there is something that is no block of events") from None
    known = (
        type(count) is int
        and count > 0
        and all(type(time_s) in {float, int} for time_s in (begin_s, end_s))
        and all(_are_texts(texts) for texts in (actors, peers, kinds))
        and _are_ranges(ranges)
        and type(length) is int
        and 0 < length <= DATA_BYTES_MAX
        and type(data) is bytes
    )
    if not known:
        raise ProtocolError("the index of a block is damaged")
    if zlib.crc32(data) != checksum:
        raise ProtocolError("a block is damaged: its checksum is not that of its data")
    names = dict.fromkeys(actors)
    return FileBlock(
        count,
        (float(begin_s), float(end_s)),
        names,
        names | dict.fromkeys(peers),
        FREQUENT_KINDS.union(kinds),
        ranges,
        lambda: _rows(load(), length, checksum),
    )


def _are_texts(value: object) -> bool:
    return type(value) is tuple and all(type(each) is str for each in value)


def _are_ranges(value: object) -> bool:
    return type(value) is tuple and all(
        type(each) is tuple and len(each) == len(("least", "greatest")) and set(map(type, each)) == {int}
        for each in value
    )


def _rows(data: bytes, length: int, checksum: int) -> list[Row]:
    if zlib.crc32(data) != checksum:
        raise ProtocolError("the trace has changed since it was opened")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, length)  # not more than was said, whatever is in it
        rows: object = msgpack.unpackb(raw, use_list=False)
    except (zlib.error, ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a block of the trace is damaged: {error}") from None
    if type(rows) is not tuple or not all(map(is_row, rows)):
        raise ProtocolError("a block of the trace has rows that are none")
    return list(rows)
