"""Walks backwards through a stretch of a run: what was waited for last, and what was that waiting for?

From the end of a handler, the last thing that it waited for is found. What comes after that is the
handler's own. If it was an answer, the walk goes on in the handler that gave it, and before that message was
received it was in a mailbox; if it was a job, that was at work, and before it was queued for a thread. Then
the same again from the moment at which this wait began, until the handler's beginning is reached. The parts
that are found so follow each other without gaps and without overlaps.

The idea is that of critical paths in networks of activities (Kelley and Walker 1959, "Critical-Path Planning
and Scheduling"), found in a recorded execution as by Yang and Miller 1988, "Critical Path Analysis for the
Execution of Parallel and Distributed Programs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.tracing.answers.handlings import Handlings, PastWait
    from actors.tracing.answers.stretch import Stretch

__all__ = ["QUEUED", "Lap", "Part", "Segment", "walk"]

IN_MAILBOX: Final = "in its mailbox"
DOWN: Final = "being started again"
QUEUED: Final = ", queued for a thread"
HOOKS: Final = frozenset({"its start", "its end"})


class Segment(NamedTuple):
    """A part of a critical path.

    Attributes:
        begin_s: on the clock of the events.
        seconds: how long it lasted.
        actor: whose part it is.
        what: what that was doing, in words.
        message: what it was doing that for, 0 for nothing.
    """

    begin_s: float
    seconds: float
    actor: str
    what: str
    message: int


@dataclass(frozen=True, slots=True, eq=False)
class Lap:
    """An ask on the path, of several that were under way at the same time: the one that was answered last.

    Attributes:
        asker: who asked, and waited for all of them.
        slack_s: how much sooner all would have been answered without it; no more than what that would have
            brought to whoever waits for the asker.
    """

    asker: str
    slack_s: float


Part: TypeAlias = tuple[Segment, Lap | None]


@dataclass(slots=True)
class _Frame:
    """A handler on the path, looked at from its end to its beginning.

    Attributes:
        what: its own time is called so.
        cursor_s: what comes after it is known.
        waits: its waits by their ends; those from `at` on were looked at.
    """

    actor: str
    message: int
    what: str
    begin_s: float
    cursor_s: float
    waits: list[PastWait]
    at: int
    lap: Lap | None

    def last_wait(self, used: set[int]) -> PastWait | None:
        """What it waited for last before the cursor."""
        while self.at > 0:
            self.at -= 1
            wait = self.waits[self.at]
            if wait.end_s <= self.begin_s:
                return None
            if wait.end_s <= self.cursor_s and wait.since_s < wait.end_s and wait.number not in used:
                return wait
        return None

    def lap_of(self, wait: PastWait) -> Lap | None:
        """What this wait is to the others that lasted at the same time; `last_wait` has just returned it."""
        if wait.message is None:
            return self.lap
        for at in range(self.at - 1, -1, -1):
            other = self.waits[at]
            if other.end_s <= wait.since_s:
                break
            if other.message is not None and other.target != wait.target:
                slack_s = wait.end_s - other.end_s
                return Lap(self.actor, min(slack_s, self.lap.slack_s) if self.lap is not None else slack_s)
        return self.lap


class _Walk:
    def __init__(self, handlings: Handlings) -> None:
        self._handlings = handlings
        self._used: set[int] = set()  # each wait once: nothing that a trace says can make it walk in a circle
        self._found: list[Part] = []
        self._todo: list[_Frame | Part] = []

    def parts(self, stretch: Stretch) -> list[Part]:
        what = f"handler of {stretch.type}" if stretch.type else "its own time"
        self._push(stretch.actor, stretch.message, what, stretch.begin_s, stretch.end_s, None)
        while self._todo:
            if isinstance(top := self._todo[-1], _Frame):
                self._go_back(top)
            else:
                self._todo.pop()
                self._found.append(top)
        return self._found[::-1]

    def _go_back(self, frame: _Frame) -> None:
        """Go back by one wait of a handler, or to its beginning."""
        wait = frame.last_wait(self._used)
        end_s = max(wait.end_s, frame.begin_s) if wait is not None else frame.begin_s
        if frame.cursor_s > end_s:
            self._found.append(
                _part(end_s, frame.cursor_s, frame.actor, frame.what, frame.message, frame.lap)
            )
        if wait is None:
            self._todo.pop()
            return
        self._used.add(wait.number)
        frame.cursor_s = max(wait.since_s, frame.begin_s)
        self._follow(wait, frame)

    def _follow(self, wait: PastWait, frame: _Frame) -> None:
        """What was waited for, from its beginning to its end, to be looked at from its end."""
        begin_s, end_s, lap = frame.cursor_s, wait.end_s, frame.lap_of(wait)
        if wait.message is not None:
            self._follow_ask(wait, begin_s, end_s, lap)
        elif wait.target.startswith("job "):
            self._todo += _job_parts(wait, frame, begin_s, end_s)
        elif wait.reason in HOOKS:
            self._push(wait.target, 0, wait.reason, begin_s, end_s, lap)
        elif wait.target.startswith("/"):
            self._todo.append(_part(begin_s, end_s, wait.target, f"waited for: {wait.reason}", 0, lap))
        else:
            what = f"waiting for outside: {wait.reason or wait.target}"
            self._todo.append(_part(begin_s, end_s, frame.actor, what, frame.message, lap))

    def _follow_ask(self, wait: PastWait, begin_s: float, end_s: float, lap: Lap | None) -> None:
        message, target = wait.message, wait.target
        if message is None:
            return
        received_s = message.received_s
        if received_s is None:  # never, or before the trace begins if it was handled
            received_s = end_s if message.over_s is None else begin_s
        received_s = min(max(received_s, begin_s), end_s)
        down = self._handlings.down(target, begin_s, received_s)
        bounds = (
            [(begin_s, IN_MAILBOX), (down[0], DOWN), (down[1], IN_MAILBOX)]
            if down
            else [(begin_s, IN_MAILBOX)]
        )
        until_s = [*(at_s for at_s, _ in bounds[1:]), received_s]
        for (from_s, what), to_s in zip(bounds, until_s, strict=True):
            if to_s > from_s:
                self._todo.append(_part(from_s, to_s, target, what, message.number, lap))
        if end_s > received_s:
            what = f"handler of {message.type}" if message.type else "its own time"
            self._push(target, message.number, what, received_s, end_s, lap)

    def _push(
        self, actor: str, message: int, what: str, begin_s: float, end_s: float, lap: Lap | None
    ) -> None:
        waits = self._handlings.waits.get((actor, message), [])
        self._todo.append(_Frame(actor, message, what, begin_s, end_s, waits, len(waits), lap))


def _part(begin_s: float, end_s: float, actor: str, what: str, message: int, lap: Lap | None) -> Part:
    return Segment(begin_s, end_s - begin_s, actor, what, message), lap


def _job_parts(wait: PastWait, frame: _Frame, begin_s: float, end_s: float) -> Iterator[Part]:
    """The queue, the work, and then the event loop, which takes the result when it comes to it."""
    worked_from_s, worked_to_s = begin_s, end_s
    if wait.job is not None:
        # Jobs are measured on another clock where time is virtual.
        worked_from_s = min(max(wait.since_s + wait.job.queued_s, begin_s), end_s)
        worked_to_s = min(worked_from_s + wait.job.worked_s, end_s)
    left = ", left behind" if wait.left_behind else ""
    for from_s, to_s, what in (
        (begin_s, worked_from_s, wait.target + QUEUED),
        (worked_from_s, worked_to_s, wait.target + left),
        (worked_to_s, end_s, frame.what),
    ):
        if to_s > from_s:
            yield _part(from_s, to_s, frame.actor, what, frame.message, frame.lap)


def walk(handlings: Handlings, stretch: Stretch) -> list[Part]:
    """The critical path of a stretch from its beginning on, each part with its lap if it is in one."""
    return _Walk(handlings).parts(stretch)
