"""A recorded run, as questions are asked of it: from a file by its index, or from memory."""

from __future__ import annotations

import itertools
import math
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import msgpack

from actors.errors import ProtocolError
from actors.tracing.blocks import DATA_BYTES_MAX, INDEX_ENTRIES_MAX, FileBlock, unpack_block
from actors.tracing.claims import is_claimed
from actors.tracing.file import END, FORMAT, parts_of
from actors.tracing.options import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from actors.tracing.events import TraceEvent

__all__ = ["ALL", "Block", "Trace", "read_trace"]

READ_BYTES: Final = 1 << 20
ALL: Final = "messages"
MEMORY_BLOCK_EVENTS: Final = 1024
# A question looks into the same few blocks again and again.
RECENT_BLOCKS: Final = 16


class Block(Protocol):
    """A run of events, of which it is known what may be in it before it is read."""

    @property
    def count(self) -> int:
        """How many events it has."""

    @property
    def span_s(self) -> tuple[float, float]:
        """Times of its first and its last event."""

    @property
    def actors(self) -> Collection[str]:
        """Who has events in it, in order of first appearance."""

    @property
    def named(self) -> Collection[str]:
        """Those, and others who may have."""

    @property
    def kinds(self) -> Collection[str]:
        """Kinds of its events."""

    def may_be_about(self, numbers: Collection[int]) -> bool:
        """Whether an event may name one of these numbers."""

    def may_be_of(self, numbers: Collection[int]) -> bool:
        """The same without causes: whether an event may be one of a message or wait with such a number."""

    def events(self) -> Sequence[TraceEvent]:
        """The events, oldest first; read when they are wanted."""


class _Memory:
    """Events that are at hand."""

    def __init__(self, events: Sequence[TraceEvent]) -> None:
        self._events = events
        self.count = len(events)
        self.span_s = (events[0].time_s, events[-1].time_s) if events else (0.0, 0.0)
        self.actors: Collection[str] = dict.fromkeys(event.actor for event in events)
        self.named = self.actors
        self.kinds: Collection[str] = {event.kind for event in events}
        self._own: frozenset[int] | None = None

    def may_be_about(self, numbers: Collection[int]) -> bool:
        return self.may_be_of(numbers) or any(event.cause_id in numbers for event in self._events)

    def may_be_of(self, numbers: Collection[int]) -> bool:
        if self._own is None:
            self._own = frozenset(
                number for event in self._events for number in (event.msg_id, event.wait_id)
            )
        return not self._own.isdisjoint(numbers)

    def events(self) -> Sequence[TraceEvent]:
        return self._events


class Trace:
    """The events of one run, oldest first.

    Attributes:
        damage: what is wrong with the file, and up to where it was read; empty for nothing.
        rotated: whether events are missing between the beginning and the rest, because the file has a limit.
        cut_off: whether the damage is only that the file ends in the middle of a block, as when its process
            was killed, or writes just now.
        complete: whether the end of the run is there. It is not in the trace of a process that was killed,
            or that goes on.
        live: whether the run goes on: somebody on this machine wrote to the file when it was opened.
        wall_s: Unix time at which the clock of the events showed 0; 0 when that is not known.
        level: what was recorded, as of `TraceOptions`; everything when that is not known.
        sample: the same.
        on_read: is called with the part of the blocks that was read, from 0 to 1, when another one is; with 0
            when some are read again.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        *,
        damage: str = "",
        cut_off: bool = False,
        rotated: bool = False,
        complete: bool = True,
        live: bool = False,
        wall_s: float = 0.0,
        now_s: float = -math.inf,
        level: str = ALL,
        sample: float = 1.0,
    ) -> None:
        self._blocks = [block for block in blocks if block.count]
        self._recent: OrderedDict[int, Sequence[TraceEvent]] = OrderedDict()
        self._reads = 0
        self.damage = damage
        self.cut_off = cut_off
        self.rotated = rotated
        self.complete = complete
        self.live = live
        self.wall_s = wall_s
        self.level = level
        self.sample = sample
        self.on_read: Callable[[float], object] | None = None
        self._now_s = now_s

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The trace in a file, with all its parts, as it is now: it may be written to meanwhile.

        What is damaged or cut off is read up to there, see `damage`.

        Raises:
            ProtocolError: it is no trace. The same when a block is wanted later and is not there any more.
            OSError: it cannot be read.
        """
        path = Path(path)
        parts = [_read_part(path, 0)]
        for number, other in parts_of(path).items() if parts[0].ended else ():
            parts.append(_read_part(other, number))
            if parts[-1].damage:
                break
        numbers = [part.number for part in parts]
        wall_s, last = parts[0].wall_s, parts[-1]
        live = not last.ended and is_claimed(last.path)
        return cls(
            [block for part in parts for block in part.blocks],
            damage=last.damage,
            cut_off=last.cut_off,
            rotated=numbers != list(range(len(numbers))),
            complete=last.ended,
            live=live,
            wall_s=wall_s,
            now_s=time.time() - wall_s if live and wall_s else -math.inf,
            level=parts[0].level,
            sample=parts[0].sample,
        )

    @classmethod
    def of(cls, events: Iterable[TraceEvent], *, now_s: float = -math.inf) -> Trace:
        """Those events, oldest first, as `Tracer.events` gives them.

        Args:
            events: of one run.
            now_s: what its clock shows now, if it goes on.
        """
        rest = iter(events)
        parts = iter(lambda: list(itertools.islice(rest, MEMORY_BLOCK_EVENTS)), [])
        return cls([_Memory(part) for part in parts], now_s=now_s)

    def __len__(self) -> int:
        return sum(block.count for block in self._blocks)

    def __iter__(self) -> Iterator[TraceEvent]:
        """All events, oldest first."""
        for block in self._blocks:
            self._tell()
            yield from block.events()

    @property
    def actors(self) -> tuple[str, ...]:
        """Everybody who has events, in order of first appearance."""
        return tuple(dict.fromkeys(actor for block in self._blocks for actor in block.actors))

    @property
    def begin_s(self) -> float:
        """Time of the first event, 0 without any."""
        return self._blocks[0].span_s[0] if self._blocks else 0.0

    @property
    def end_s(self) -> float:
        """Time of the last event, 0 without any."""
        return self._blocks[-1].span_s[1] if self._blocks else 0.0

    @property
    def partial(self) -> bool:
        """Whether not everything was recorded, because that was not asked for."""
        return self.level != ALL or self.sample < 1

    @property
    def now_s(self) -> float:
        """Until when what is open has lasted: when the trace was opened, if the run went on; else `end_s`."""
        return max(self._now_s, self.end_s)

    def select(
        self,
        *,
        actors: Collection[str] | None = None,
        about: Collection[int] | None = None,
        own: Collection[int] | None = None,
        kinds: Collection[str] | None = None,
        since_s: float = -math.inf,
        until_s: float = math.inf,
        backwards: bool = False,
        looks_max: int | None = None,
    ) -> Iterator[TraceEvent]:
        """The events that match everything that is given; blocks that have none are not read.

        Args:
            actors: one of these has it.
            about: message, cause or wait is one of these.
            own: message or wait is one of these. Of what a message has caused, nothing.
            kinds: it is of one of these kinds.
            since_s: it is not older.
            until_s: it is not newer.
            backwards: the newest first.
            looks_max: once so many events have been looked at no further block is read; None for all.
        """
        looks = 0
        for index in range(len(self._blocks))[:: -1 if backwards else 1]:
            block = self._blocks[index]
            if (
                block.span_s[0] > until_s
                or block.span_s[1] < since_s
                or (actors is not None and not any(actor in block.named for actor in actors))
                or (kinds is not None and not any(kind in block.kinds for kind in kinds))
                or (about is not None and not block.may_be_about(about))
                or (own is not None and not block.may_be_of(own))
            ):
                continue
            if looks_max is not None and looks >= looks_max:
                return
            looks += block.count
            events = self._events_of(index)
            for event in reversed(events) if backwards else events:
                if (
                    since_s <= event.time_s <= until_s
                    and (actors is None or event.actor in actors)
                    and (kinds is None or event.kind in kinds)
                    and (own is None or event.msg_id in own or event.wait_id in own)
                    and (
                        about is None
                        or event.msg_id in about
                        or event.cause_id in about
                        or event.wait_id in about
                    )
                ):
                    yield event

    def _events_of(self, index: int) -> Sequence[TraceEvent]:
        """The events of a block, kept for a while."""
        events = self._recent.pop(index, None)
        if events is None:
            self._tell()
            events = self._blocks[index].events()
        self._recent[index] = events
        if len(self._recent) > RECENT_BLOCKS:
            self._recent.popitem(last=False)
        return events

    def _tell(self) -> None:
        self._reads += 1
        if self.on_read is not None:
            self.on_read(self._reads / len(self._blocks) if self._reads <= len(self._blocks) else 0.0)


class _Part:
    """One file of a trace."""

    def __init__(self, path: Path, number: int, head: dict[str, Any]) -> None:
        self.path = path
        self.number = number
        wall_s = head.get("wall_s", 0.0)
        self.wall_s = float(wall_s) if type(wall_s) in {float, int} else 0.0
        level, sample = head.get("level"), head.get("sample")
        self.level = level if isinstance(level, str) and level in LEVELS else ALL
        known = isinstance(sample, float | int) and 0 <= sample <= 1
        self.sample = float(sample) if known and sample is not None else 1.0
        self.blocks: list[FileBlock] = []
        self.ended = False
        self.damage = ""
        self.cut_off = False

    def take(self, value: object, at: int) -> None:
        """Take what comes next, which begins at this byte."""
        if self.ended:
            raise ProtocolError("something follows its end")
        if value == (END,):
            self.ended = True
        else:
            self.blocks.append(unpack_block(value, lambda: self._load(at)))

    def stop(self, why: str) -> None:
        """Take no more, because there is damage."""
        events = sum(block.count for block in self.blocks)
        self.damage = f"{self.path} {why}: {events} events before that were read"

    def _load(self, at: int) -> bytes:
        """Read the data of a block once more."""
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                data: object = next(_unpacker(file))[-1]
        except (StopIteration, FileNotFoundError, IndexError, TypeError, ValueError):
            raise ProtocolError(f"{self.path} has changed since it was opened") from None
        return data if isinstance(data, bytes) else b""


def _unpacker(file: Any) -> msgpack.Unpacker:
    return msgpack.Unpacker(
        file,
        use_list=False,
        read_size=READ_BYTES,
        max_buffer_size=2 * DATA_BYTES_MAX,
        max_array_len=INDEX_ENTRIES_MAX,
        max_map_len=INDEX_ENTRIES_MAX,
        max_ext_len=0,
    )


def _read_part(path: Path, number: int) -> _Part:
    with path.open("rb") as file:
        stream = _unpacker(file)
        try:
            head = next(stream, None)
        except (ValueError, TypeError, msgpack.UnpackException):
            head = None
        match head:
            case (str() as format_, dict() as more) if format_ == FORMAT:
                part = _Part(path, number, more)
            case (str() as format_, *_) if format_.startswith("actors-trace-"):
                raise ProtocolError(f"{path} is a trace of format {format_}, which cannot be read any more")
            case _:
                raise ProtocolError(f"{path} is not a trace")
        at = stream.tell()
        try:
            for value in stream:
                part.take(value, at)
                at = stream.tell()
        except ProtocolError as error:
            part.stop(f"is damaged behind byte {at}: {error}")
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            part.stop(f"is damaged behind byte {at}: {str(error) or type(error).__name__}")
        else:
            if _is_more(file, at):
                part.stop(f"was cut off behind byte {at}, or is being written to")
                part.cut_off = True
    return part


def _is_more(file: Any, at: int) -> bool:
    """Whether something is left there."""
    file.seek(at)
    return bool(file.read(1))


def read_trace(path: Path | str) -> Iterator[TraceEvent]:
    """Yield the events of a trace file, as it is now; ends where it was cut off.

    Raises:
        ProtocolError: it is not a trace file, or it is damaged, behind the events before that.
        OSError: it cannot be read.
    """
    trace = Trace.open(path)
    yield from trace
    if trace.damage and not trace.cut_off:
        raise ProtocolError(trace.damage)
