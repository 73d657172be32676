"""The critical path of an epoch or a message: what had to be faster, and by how much that would help."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.answers.backwards import QUEUED, Segment, walk
from actors.tracing.answers.gathers import Comparison, compare, saved_by
from actors.tracing.answers.handlings import collect
from actors.tracing.answers.stretch import find_stretch
from actors.tracing.answers.summary import BlockedSummary, blocked_summaries
from actors.tracing.answers.tables import counted, duration, plain, table
from actors.tracing.answers.tally import Tally, blockage
from actors.tracing.answers.troubles import blocked_lines
from actors.tracing.events import TraceQueryError
from actors.tracing.reading import ALL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.tracing.answers.backwards import Part
    from actors.tracing.answers.handlings import Handlings
    from actors.tracing.answers.stretch import Stretch
    from actors.tracing.reading import Trace

__all__ = ["CriticalPath", "PathItem", "critical"]

_MOST: Final = 15
_MOST_PARTS: Final = 3
# What is a smaller part of the whole is not worth to be blamed for it.
_WORTH: Final = 0.02
_GRAVE: Final = 0.1


@dataclass(frozen=True, slots=True)
class PathItem:
    """Everything of one kind that one actor has on the path.

    Attributes:
        actor: its path.
        what: what it was doing.
        seconds: all together.
        share: of the whole, between 0 and 1.
        segments: how many there are.
        saved_s: how much shorter the whole would have been if, each time, this had been as fast as the second
            slowest of those who were asked together with it; None if nobody was.
    """

    actor: str
    what: str
    seconds: float
    share: float
    segments: int
    saved_s: float | None


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The chain of activities that decided how long something took.

    Attributes:
        stretch: what it is the path of.
        segments: what it consists of, from the beginning to the end, without gaps.
        items: the same by actor and kind, the longest first.
        culprit: the actor that would have saved most, or has the longest item if none is worth while.
        culprit_s: seconds of the path that are the culprit's.
        saved_s: what it would have saved, see `PathItem`; None if nobody was asked together with it.
        held_up_by: who had the threads that the culprit was queued for, if that one stands out among its
            siblings and the culprit does not; else empty.
        comparisons: of actors with their siblings, by path.
        blocked: who has blocked the event loop meanwhile, the longest first.
    """

    stretch: Stretch
    segments: tuple[Segment, ...]
    items: tuple[PathItem, ...]
    culprit: str
    culprit_s: float
    saved_s: float | None
    held_up_by: str
    comparisons: Mapping[str, Comparison]
    blocked: tuple[BlockedSummary, ...]

    @property
    def seconds(self) -> float:
        """How long the whole took."""
        return self.stretch.seconds

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found: dict[str, Any] = plain(self)
        for actor, comparison in self.comparisons.items():
            found["comparisons"][actor]["verdict"] = str(comparison)
        return found | {"seconds": self.seconds}

    def lines(self) -> list[str]:
        """For people: the whole, the culprit, what it had saved; then the items, the longest first."""
        rows = [
            (
                f"{item.share:6.1%}",
                duration(item.seconds),
                f"{item.segments:,}",
                duration(item.saved_s) if item.saved_s is not None else "",
            )
            for item in self.items
        ]
        lines = table(("share", "time", "parts", "could save"), rows, _MOST)
        names = ["", *(f"  {item.actor}: {item.what}" for item in self.items[:_MOST])]
        width = max(map(len, lines), default=0)
        named = [f"{line:<{width}}{name}".rstrip() for line, name in zip(lines, names, strict=False)]
        told = [self._who(), self._why()]
        blocked = blocked_lines(self.blocked)
        # What holds everybody up comes first, unless one actor's part in it is larger.
        grave = sum(each.total_s for each in self.blocked) > max(_GRAVE * self.seconds, self.saved_s or 0.0)
        told = [*blocked, *told] if grave else [*told, *blocked]
        return [self._whole(), *told, "", *named, *lines[len(names) :]]

    def _whole(self) -> str:
        stretch = self.stretch
        handled = f"message {stretch.message}" + (f" ({stretch.type})" if stretch.type else "")
        what = (
            f"epoch {stretch.epoch} of {stretch.actor}" if stretch.epoch else f"{handled} in {stretch.actor}"
        )
        notes = [
            f"; it failed: {stretch.failure}" if stretch.failure else "",
            "" if stretch.begun else "; its beginning is not in the trace",
            "" if stretch.ended else "; it had not ended when the trace does",
        ]
        path = f"a critical path of {counted(len(self.segments), 'part')}"
        return f"{what}: {duration(self.seconds)}, {path}{''.join(notes)}"

    def _who(self) -> str:
        own = [item for item in self.items if item.actor == self.culprit]
        parts = ", ".join(f"{item.what} {duration(item.seconds)}" for item in own[:_MOST_PARTS])
        share = self.culprit_s / self.seconds if self.seconds else 0.0
        return f"{share:.0%} of it is {self.culprit}, {duration(self.culprit_s)}: {parts}"

    def _why(self) -> str:
        own = self.comparisons.get(self.culprit)
        about = f"; {own}" if own is not None else ""
        if self.held_up_by:
            about = f"; it was queued behind {self.held_up_by}: {self.comparisons[self.held_up_by]}"
        if self.saved_s is None:
            return f"nobody was asked together with it, so nothing says how fast it could be{about}"
        shorter = f"{duration(self.saved_s)} ({self.saved_s / self.seconds:.0%}) shorter"
        return f"had it been as fast as the second slowest each time, the whole would be {shorter}{about}"


def critical(trace: Trace, *, epoch: int | None = None, message: int | None = None) -> CriticalPath:
    """Find the critical path of an epoch, or of the handling of one message.

    From the end backwards: what was waited for last, and what was that waiting for? Of several asks that are
    under way at the same time, the one that is answered last is on the path.

    Args:
        trace: the run.
        epoch: its number; in the topmost actor that ran it, from `running(n)` to `epoch_done(n)`.
        message: number of a message; from the beginning of its handler to the end.

    Without either it is the last epoch that has ended; without epochs, the longest handling of a message by a
    topmost actor.

    Raises:
        TraceQueryError: there is no such thing in the trace, or its messages were not recorded; the text says
            what there is.
    """
    if trace.level != ALL:
        raise TraceQueryError(
            f"a critical path needs the level {ALL}, and this trace was told to keep only {trace.level}"
        )
    stretch = find_stretch(trace, epoch=epoch, message=message)
    if trace.sample < 1 and not _sampled(trace, stretch):
        what = f"epoch {stretch.epoch}" if stretch.epoch else f"message {stretch.message}"
        raise TraceQueryError(
            f"{what} of {stretch.actor} is not in the sample that was kept: name another one"
        )
    handlings = collect(trace, stretch)
    parts = walk(handlings, stretch)
    items, by_actor = _items(parts, stretch)
    culprit = _culprit(items, by_actor, stretch)
    comparisons = compare(handlings.messages.values(), _types(parts, culprit, handlings))
    held_up_by = _held_up_by(culprit, items, comparisons, stretch)
    return CriticalPath(
        stretch,
        tuple(segment for segment, _ in parts),
        items,
        culprit,
        sum(item.seconds for item in items if item.actor == culprit),
        by_actor.get(culprit),
        held_up_by,
        comparisons,
        _blocked(trace, stretch),
    )


def _sampled(trace: Trace, stretch: Stretch) -> bool:
    """Whether the message in which it happened was recorded: states are, whatever the sample."""
    return next(trace.select(own={stretch.message}, kinds={"receive"}), None) is not None


def _blocked(trace: Trace, stretch: Stretch) -> tuple[BlockedSummary, ...]:
    """Who has blocked the event loop meanwhile. That is told when it answers again, maybe after the end."""
    tally = Tally()
    tally.take_all(
        event
        for event in trace.select(kinds=("blocked",), since_s=stretch.begin_s)
        if event.time_s - blockage(event)[0] < stretch.end_s
    )
    return blocked_summaries(tally.blocked)


def _items(parts: list[Part], stretch: Stretch) -> tuple[tuple[PathItem, ...], dict[str, float]]:
    """What is on the path by actor and kind, and what each actor had saved."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    segments: dict[tuple[str, str], int] = defaultdict(int)
    for segment, _ in parts:
        seconds[segment.actor, segment.what] += segment.seconds
        segments[segment.actor, segment.what] += 1
    saved, by_actor = saved_by(parts)
    items = [
        PathItem(*key, item_s, item_s / stretch.seconds, segments[key], saved.get(key))
        for key, item_s in seconds.items()
    ]
    return tuple(sorted(items, key=lambda item: -item.seconds)), by_actor


def _culprit(items: tuple[PathItem, ...], by_actor: dict[str, float], stretch: Stretch) -> str:
    best = max(by_actor, key=lambda actor: by_actor[actor], default=stretch.actor)
    if by_actor.get(best, 0.0) > _WORTH * stretch.seconds:
        return best
    return items[0].actor if items else stretch.actor


def _types(parts: list[Part], culprit: str, handlings: Handlings) -> dict[str, str]:
    """What actors were asked for during most of their time on the path; of siblings, as the culprit."""
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for segment, _ in parts:
        message = handlings.messages.get(segment.message)
        if message is not None and message.sender:
            seconds[segment.actor][message.type] += segment.seconds
    found = {actor: max(by_type, key=lambda tag: by_type[tag]) for actor, by_type in seconds.items()}
    if culprit in found:
        siblings = {each.receiver for each in handlings.messages.values() if each.type == found[culprit]}
        found |= dict.fromkeys(siblings, found[culprit])
    return found


def _held_up_by(
    culprit: str, items: tuple[PathItem, ...], comparisons: Mapping[str, Comparison], stretch: Stretch
) -> str:
    """Whose jobs were so long that those of the culprit had to wait for a thread; empty for nobody's."""
    longest = next((item for item in items if item.actor == culprit), None)
    own = comparisons.get(culprit)
    if longest is None or own is None or own.stands_out or not longest.what.endswith(QUEUED):
        return ""
    others = {actor: each for actor, each in comparisons.items() if each.type == own.type and each.stands_out}
    worst = max(others, key=lambda actor: others[actor].excess_s, default="")
    return worst if worst and others[worst].excess_s > _WORTH * stretch.seconds else ""
