"""Stuck: every wait that is open at the end of a trace, as a tree, and what holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.answers.tables import duration
from actors.tracing.answers.words import clipped, message_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["OpenWait", "Stuck", "stuck"]


@dataclass(frozen=True, slots=True)
class OpenWait:
    """A wait that is open, and the waits of whom it is for.

    Attributes:
        waiter: who waits.
        target: for whom or what.
        reason: what for.
        wait_id: its number; that of the message when it is for a reply.
        lasted_s: since when, in seconds before the end.
        left_s: how much of its time is left; negative when that is over, None when it is not known.
        doing: what the target does, when it waits for nobody itself; empty otherwise.
        below: the open waits of the target.
    """

    waiter: str
    target: str
    reason: str
    wait_id: int
    lasted_s: float
    left_s: float | None
    doing: str
    below: tuple[OpenWait, ...] = ()

    def __str__(self) -> str:
        """The wait in words."""
        left = ""
        if self.left_s is not None:
            left = (
                f", {duration(self.left_s)} left"
                if self.left_s >= 0
                else f", {duration(-self.left_s)} too long"
            )
        doing = f": {self.doing}" if self.doing else ""
        waits = f"{self.waiter} waits for {self.target} ({self.reason})"
        return f"{waits} for {duration(self.lasted_s)}{left}{doing}"

    def chain(self) -> tuple[OpenWait, ...]:
        """From here to the deepest leaf below; of several equally deep ones to the oldest."""
        if not self.below:
            return (self,)
        return (self, *max((wait.chain() for wait in self.below), key=_weight))


def _weight(chain: tuple[OpenWait, ...]) -> tuple[int, float]:
    return len(chain), chain[-1].lasted_s


@dataclass(frozen=True, slots=True)
class Stuck:
    """The open waits at the end of a trace.

    Attributes:
        roots: the waits of those for whom nobody waits, the oldest first.
        count: how many are open.
        end_s: until when they have lasted.
        events: how many events the trace has.
    """

    roots: tuple[OpenWait, ...]
    count: int
    end_s: float
    events: int

    @property
    def holder(self) -> OpenWait | None:
        """The leaf that holds everything above it: the deepest, of several such the oldest."""
        return max((root.chain() for root in self.roots), key=_weight)[-1] if self.roots else None

    def lines(self) -> list[str]:
        """The leaf that holds everything, how many waits are open, and all of them as a tree."""
        leaf = self.holder
        if leaf is None:
            return [f"no wait is open at the end of the trace ({self.events} events)"]
        head = "everything waits for" if len(self.roots) == 1 else "the longest chain of waits ends at"
        head = f"{head} {leaf.target}: {leaf.doing}"
        count = f"{self.count} waits are open" if self.count > 1 else "one wait is open"
        waits = f"{leaf.waiter} has waited for it for {duration(leaf.lasted_s)} ({leaf.reason})"
        return [head, f"{waits}; {count}", *(line for root in self.roots for line in _tree(root, 0))]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        leaf = self.holder
        return {
            "holder": _dict(leaf, deep=False) if leaf is not None else None,
            "waits": [_dict(root) for root in self.roots],
            "open": self.count,
            "end_s": self.end_s,
        }


def _tree(wait: OpenWait, depth: int) -> Iterator[str]:
    yield "  " * depth + str(wait)
    for below in wait.below:
        yield from _tree(below, depth + 1)


def _dict(wait: OpenWait, *, deep: bool = True) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "waiter": wait.waiter,
        "target": wait.target,
        "reason": wait.reason,
        "wait_id": wait.wait_id,
        "lasted_s": wait.lasted_s,
        "left_s": wait.left_s,
        "doing": wait.doing,
    }
    return fields | ({"below": [_dict(below) for below in wait.below]} if deep else {})


@dataclass(slots=True)
class _Now:
    """Where one actor stands, as far as the events have told."""

    handling: TraceEvent | None = None
    ended: TraceEvent | None = None
    queued: dict[int, None] = field(default_factory=dict)
    seen: bool = False


class _Picture:
    """What is open, from the events so far."""

    def __init__(self) -> None:
        self.waits: dict[object, TraceEvent] = {}
        self.now: dict[str, _Now] = {}
        self._addressed: dict[int, str] = {}

    def take(self, event: TraceEvent) -> None:
        action = _ACTIONS.get(event.kind)
        if action is not None:
            action(self, event)

    def of(self, actor: str) -> _Now:
        return self.now.setdefault(actor, _Now())

    def wait(self, event: TraceEvent) -> None:
        self.waits[_key(event)] = event

    def wait_end(self, event: TraceEvent) -> None:
        self.waits.pop(_key(event), None)
        if event.wait_id in self._addressed:  # one that was not read is not queued any more in truth
            self._taken(event.wait_id)

    def send(self, event: TraceEvent) -> None:
        self._addressed[event.msg_id] = event.detail
        self.of(event.detail).queued[event.msg_id] = None

    def _taken(self, number: int) -> None:
        receiver = self._addressed.pop(number, None)
        if receiver is not None:
            self.of(receiver).queued.pop(number, None)

    def receive(self, event: TraceEvent) -> None:
        self._taken(event.msg_id)
        now = self.of(event.actor)
        now.handling, now.ended, now.seen = event, None, True

    def done(self, event: TraceEvent) -> None:
        now = self.of(event.actor)
        now.handling, now.seen = None, True

    def drop(self, event: TraceEvent) -> None:
        self._taken(event.msg_id)

    def start(self, event: TraceEvent) -> None:
        now = self.of(event.actor)
        now.handling, now.ended, now.seen = event, None, True

    def end(self, event: TraceEvent) -> None:
        now = self.of(event.actor)
        now.handling, now.ended, now.seen = None, event, True


def _key(event: TraceEvent) -> object:
    return event.wait_id or (event.actor, event.incarnation, event.type, event.cause_id)


_ACTIONS: Final[Mapping[str, Callable[[_Picture, TraceEvent], None]]] = {
    "wait": _Picture.wait,
    "wait_end": _Picture.wait_end,
    "send": _Picture.send,
    "receive": _Picture.receive,
    "done": _Picture.done,
    "drop": _Picture.drop,
    "start": _Picture.start,
    "end": _Picture.end,
}


def stuck(trace: Trace, *, now_s: float | None = None) -> Stuck:
    """Every wait open at the end of a trace, as a tree: who waits for whom, since when, and what holds it.

    A trace that is still written to, or whose process was killed, ends in the middle of what went on: then
    these are the waits of that moment. Waits that began before the trace does are not known.

    Reads the whole trace, once.

    Args:
        trace: of the run.
        now_s: until when the waits have lasted, on the trace's clock; by default `trace.now_s`: until now in
            a run that goes on, until the last event in any other, which may have hung long before it ended.
    """
    end_s = trace.now_s if now_s is None else max(now_s, trace.end_s)
    picture = _Picture()
    for event in trace.select(kinds=_ACTIONS.keys()):
        picture.take(event)
    waits = sorted(picture.waits.values(), key=lambda wait: (wait.time_s, wait.wait_id))
    return Stuck(_Grower(picture, waits, end_s).roots(), len(waits), end_s, len(trace))


class _Grower:
    """Makes a tree of the open waits. Each is in it once, where it holds up whoever waits longest."""

    def __init__(self, picture: _Picture, waits: list[TraceEvent], end_s: float) -> None:
        self._picture = picture
        self._waits = waits
        self._end_s = end_s
        self._of: dict[str, list[TraceEvent]] = {}
        for wait in waits:
            self._of.setdefault(wait.actor, []).append(wait)
        self._grown: set[str] = set()

    def roots(self) -> tuple[OpenWait, ...]:
        targets = {wait.type for wait in self._waits}
        tops = [wait for wait in self._waits if wait.actor not in targets]
        grown = [self._grow(wait) for wait in tops]
        # In a circle everybody is waited for. There is none in a whole trace, but in a damaged one may be.
        grown += [self._grow(wait) for wait in self._waits if wait.actor in targets - self._grown]
        return tuple(grown)

    def _grow(self, wait: TraceEvent) -> OpenWait:
        target = wait.type
        first = target not in self._grown
        self._grown |= {wait.actor, target}
        waits = self._of.get(target, [])
        below = tuple(self._grow(each) for each in waits) if first else ()
        doing = "" if below else self._doing(wait, waits)
        lasted_s = self._end_s - wait.time_s
        left_s = wait.limit_s - lasted_s if wait.limit_s else None
        return OpenWait(wait.actor, target, wait.detail, wait.wait_id, lasted_s, left_s, doing, below)

    def _doing(self, wait: TraceEvent, waits: list[TraceEvent]) -> str:
        target = wait.type
        if waits:
            return "it waits itself, see there"
        if target.startswith("job "):
            return f"it has been at work for {wait.actor} for {duration(self._end_s - wait.time_s)}"
        now = self._picture.now.get(target)
        if now is None or not now.seen:
            return "the trace does not say what it does"
        if now.ended is not None:
            return f"it has ended: {clipped(now.ended.detail)}"
        return self._at_work(now, wait)

    def _at_work(self, now: _Now, wait: TraceEvent) -> str:
        count = len(now.queued)
        queued = f", {count} message{'s' * (count > 1)} queued" if count else ""
        handling = now.handling
        if handling is None or (handling.kind == "start" and wait.detail != "its start"):
            return f"it is idle{queued}"
        lasted = duration(self._end_s - handling.time_s)
        if handling.kind == "start":
            return f"it has been starting for {lasted}{queued}"
        what = message_name(handling.msg_id, handling.type)
        return f"it has been handling {what} for {lasted}{queued}"
