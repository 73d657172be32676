"""A recorded run, as questions are asked of it: from a file by its index, or from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from actors.tracing.events import TraceEvent

__all__ = ["Block", "Trace"]


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
    def kinds(self) -> Collection[str]:
        """Kinds of its events."""

    def may_be_about(self, numbers: Collection[int]) -> bool:
        """Whether an event may name one of these numbers."""

    def events(self) -> Sequence[TraceEvent]:
        """The events, oldest first; read when they are wanted."""


class _Memory:
    """Events that are at hand."""

    def __init__(self, events: Sequence[TraceEvent]) -> None:
        self._events = events
        self.count = len(events)
        self.span_s = (events[0].time_s, events[-1].time_s) if events else (0.0, 0.0)
        self.actors: Collection[str] = dict.fromkeys(event.actor for event in events)
        self.kinds: Collection[str] = {event.kind for event in events}

    def may_be_about(self, _numbers: Collection[int]) -> bool:
        return True

    def events(self) -> Sequence[TraceEvent]:
        return self._events


class Trace:
    """The events of one run, oldest first.

    Attributes:
        damage: what is wrong with the file, and up to where it was read; empty for nothing.
        rotated: whether the oldest events are not there any more.
    """

    def __init__(self, blocks: Sequence[Block], *, damage: str = "", rotated: bool = False) -> None:
        self._blocks = [block for block in blocks if block.count]
        self.damage = damage
        self.rotated = rotated

    @classmethod
    def of(cls, events: Iterable[TraceEvent]) -> Trace:
        """Those events, oldest first, as `Tracer.events` gives them."""
        return cls([_Memory(list(events))])

    def __len__(self) -> int:
        return sum(block.count for block in self._blocks)

    def __iter__(self) -> Iterator[TraceEvent]:
        """All events, oldest first."""
        for block in self._blocks:
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

    def select(
        self,
        *,
        actors: Collection[str] | None = None,
        about: Collection[int] | None = None,
        kinds: Collection[str] | None = None,
        backwards: bool = False,
    ) -> Iterator[TraceEvent]:
        """The events that match everything that is given; blocks that have none are not read.

        Args:
            actors: one of these has it.
            about: message, cause or wait is one of these.
            kinds: it is of one of these kinds.
            backwards: the newest first.
        """
        for block in reversed(self._blocks) if backwards else self._blocks:
            if actors is not None and not any(actor in block.actors for actor in actors):
                continue
            if kinds is not None and not any(kind in block.kinds for kind in kinds):
                continue
            if about is not None and not block.may_be_about(about):
                continue
            events = block.events()
            for event in reversed(events) if backwards else events:
                if (
                    (actors is None or event.actor in actors)
                    and (kinds is None or event.kind in kinds)
                    and (
                        about is None
                        or event.msg_id in about
                        or event.cause_id in about
                        or event.wait_id in about
                    )
                ):
                    yield event
