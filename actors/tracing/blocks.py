"""Blocks of a trace file: a batch of rows, compressed, behind an index of what is in it.

A block is the MessagePack array

    [events, begin, end, actors, peers, kinds, messages, causes, waits, checksum, length, data]

`actors` have rows in it; `peers` are whom these name, and what else stands in that place; `kinds` are those
that are not frequent; `messages` are the least and the greatest number of one; `causes` are all of them,
`waits` those of rows that are not frequent. The data is the MessagePack array of the rows, deflated; `length`
is that before, the checksum is a crc32 of what stands in the file. What is read is trusted in nothing.
"""

from __future__ import annotations

import math
import zlib
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

__all__ = ["DATA_BYTES_MAX", "INDEX_ENTRIES_MAX", "ROWS_MAX", "FileBlock", "pack_block", "unpack_block"]

# No block has more rows; so what claims to have more takes no memory.
ROWS_MAX: Final = 4096
INDEX_ENTRIES_MAX: Final = 4 * ROWS_MAX
DATA_BYTES_MAX: Final = 1 << 30
INDEX_FIELDS: Final = 12
PAIR: Final = 2
FAST: Final = 1
# What the frequent rows stand for.
FREQUENT_KINDS: Final = frozenset({"wait", "send", "receive", "reply", "done", "wait_end"})

_kind, _msg_id, _cause_id = map(itemgetter, (1, 4, 5))
_place: Final = itemgetter(2, 6)
WAIT_ID: Final = 10
BEGUN: Final = 12
_EXTRA: Final = {"ask": 1, "answer": 2, "serve": 3}  # so many events more than rows


@dataclass(frozen=True, slots=True)
class FileBlock:
    """What the index says of a block; its rows are read when they are wanted.

    Attributes:
        count: how many events it has.
        span_s: times of its first and its last row.
        actors: who has rows in it, in order of first appearance.
        named: those, and who else may have an event.
        kinds: kinds that may be in it.
        messages: every message in it has a number between these two.
        causes: the numbers of all causes in it.
        waits: the numbers of the waits of its rare rows.
        load: reads the rows.
    """

    count: int
    span_s: tuple[float, float]
    actors: Collection[str]
    named: Collection[str]
    kinds: Collection[str]
    messages: tuple[int, int]
    causes: Collection[int]
    waits: Collection[int]
    load: Callable[[], list[Row]]

    def may_be_about(self, numbers: Collection[int]) -> bool:
        """Whether an event may name one of these numbers."""
        return self.may_be_of(numbers) or any(number in self.causes for number in numbers)

    def may_be_of(self, numbers: Collection[int]) -> bool:
        """The same without causes: what lasts long has caused something in every block."""
        least, greatest = self.messages
        return any(least <= number <= greatest or number in self.waits for number in numbers)

    def events(self) -> Sequence[TraceEvent]:
        """The events, oldest first; read from the file.

        Raises:
            ProtocolError: the file has changed since it was opened, or was made by somebody else.
            OSError: it cannot be read.
        """
        events = expand_all(self.load())
        if not math.isfinite(sum(event.time_s for event in events) + sum(event.limit_s for event in events)):
            raise ProtocolError("a block of the trace has times that are no numbers")
        return events


def pack_block(packer: msgpack.Packer, rows: Sequence[Row]) -> bytes:
    """The block of these rows, of which there is one at least and `ROWS_MAX` at most."""
    raw = packer.pack(rows)
    data = zlib.compress(raw, FAST)
    kinds = list(map(_kind, rows))
    rare = set(kinds) - FREQUENT
    places = dict.fromkeys(map(_place, rows))
    actors = dict.fromkeys(actor for actor, _ in places)
    messages = list(filter(None, map(_msg_id, rows))) or [0]
    waits = {row[WAIT_ID] for row in rows if row[1] in rare} if rare else ()
    index = (
        len(rows) + sum(kinds.count(kind) * more for kind, more in _EXTRA.items()),
        rows[0][BEGUN if kinds[0] == "serve" else 0],
        rows[-1][0],
        list(actors),
        list(dict.fromkeys(peer for _, peer in places if peer not in actors)),
        list(rare),
        (min(messages), max(messages)),
        list(set(map(_cause_id, rows))),
        list(waits),
        zlib.crc32(data),
        len(raw),
    )
    block: bytes = packer.pack((*index, data))
    return block


def unpack_block(value: object, load: Callable[[], bytes]) -> FileBlock:
    """Return the block whose array was read.

    Args:
        value: what was read.
        load: reads the data again.

    Raises:
        ProtocolError: it is no block, or it is damaged.
    """
    if type(value) is not tuple or len(value) != INDEX_FIELDS:
        raise ProtocolError("there is something that is no block of events")
    count, begin_s, end_s, actors, peers, kinds, messages, causes, waits, checksum, length, data = value
    known = (
        type(count) is int
        and count > 0
        and {type(begin_s), type(end_s)} <= {float, int}
        and math.isfinite(begin_s)
        and math.isfinite(end_s)
        and all(map(_are_texts, (actors, peers, kinds)))
        and all(map(_are_numbers, (messages, causes, waits)))
        and len(messages) == PAIR
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
        messages,
        frozenset(causes),
        frozenset(waits),
        lambda: _rows(load(), length, checksum),
    )


def _are_texts(value: object) -> bool:
    return type(value) is tuple and all(type(each) is str for each in value)


def _are_numbers(value: object) -> bool:
    return type(value) is tuple and all(type(each) is int for each in value)


def _rows(data: bytes, length: int, checksum: int) -> list[Row]:
    if zlib.crc32(data) != checksum:
        raise ProtocolError("the trace has changed since it was opened")
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, length)  # not more than was said, whatever is in it
        rows: object = msgpack.unpackb(raw, use_list=False, max_array_len=ROWS_MAX, max_map_len=0)
    except (zlib.error, ValueError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"a block of the trace is damaged: {error}") from None
    if type(rows) is not tuple or not all(map(is_row, rows)):
        raise ProtocolError("a block of the trace has rows that are none")
    return list(rows)
