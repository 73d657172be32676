"""What handlers waited for in a stretch of a run, by handler and in the order in which their waits ended."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from actors.tracing.usage import JobTimes

if TYPE_CHECKING:
    from actors.tracing.answers.stretch import Stretch
    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["Handlings", "Message", "PastWait", "collect"]

_KINDS: Final = frozenset(
    {
        "send",
        "receive",
        "reply",
        "done",
        "drop",
        "wait",
        "wait_end",
        "job_end",
        "start",
        "end",
    }
)


@dataclass(slots=True)
class Message:
    """A message: when it was sent, received and done with, as far as that is known, and by whom.

    `worked_s` is the time that threads spent with jobs of its handler.
    """

    number: int
    type: str
    sender: str = ""
    receiver: str = ""
    size: int = 0
    sent_s: float | None = None
    received_s: float | None = None
    over_s: float | None = None
    worked_s: float = 0.0

    @property
    def handled_s(self) -> float | None:
        """Seconds that it was at hand."""
        if self.received_s is None or self.over_s is None:
            return None
        return self.over_s - self.received_s


@dataclass(slots=True)
class PastWait:
    """A wait of a handler. `end_s` is when what it waited for was there, which may be before it looked."""

    number: int
    actor: str
    cause: int
    target: str
    reason: str
    since_s: float
    end_s: float
    outcome: str = ""
    message: Message | None = None
    job: JobTimes | None = None
    left_behind: bool = False


@dataclass(slots=True)
class Handlings:
    """Everything that a critical path may lead through.

    Attributes:
        waits: of each handler, by actor and number of its message, 0 in a hook; by their ends.
        messages: by number.
        starts: times at which incarnations of an actor began, and `ends` at which they ended.
    """

    waits: dict[tuple[str, int], list[PastWait]] = field(default_factory=dict)
    messages: dict[int, Message] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)
    ends: dict[str, list[float]] = field(default_factory=dict)

    def down(self, actor: str, begin_s: float, end_s: float) -> tuple[float, float] | None:
        """The last time within this one at which an actor was down; None if it was up all the time."""
        starts = self.starts.get(actor, [])
        at = bisect_right(starts, end_s) - 1
        if at < 0 or starts[at] <= begin_s:
            return None
        ends = self.ends.get(actor, [])
        ended = bisect_right(ends, starts[at]) - 1
        return max(begin_s, ends[ended]) if ended >= 0 else begin_s, starts[at]


class _Collector:
    def __init__(self, stretch: Stretch) -> None:
        self.found = Handlings()
        self._stretch = stretch
        self._open: dict[int, PastWait] = {}
        self._closed: dict[int, PastWait] = {}

    def take(self, event: TraceEvent) -> None:
        kind = event[1]
        if kind == "wait":
            if event[10]:
                self._open[event[10]] = PastWait(
                    event[10], event[2], event[5], event[6], event[7], event[0], self._stretch.end_s
                )
        elif kind == "wait_end":
            self._wait_end(event)
        elif kind == "job_end":
            self._job_end(event)
        elif kind == "start":
            self.found.starts.setdefault(event[2], []).append(event[0])
        elif kind == "end":
            self.found.ends.setdefault(event[2], []).append(event[0])
        else:
            self._message(event, kind)

    def _message(self, event: TraceEvent, kind: str) -> None:
        message = self.found.messages.get(event[4])
        if message is None:
            message = self.found.messages[event[4]] = Message(event[4], event[6] if kind != "reply" else "")
        if kind == "send":
            message.sender, message.receiver = event[2], event[7]
            message.size, message.sent_s = event[9], event[0]
        elif kind == "receive":
            message.received_s = event[0]
            message.receiver, message.size = event[2], message.size or event[9]
            message.type = event[6]
        elif kind == "done":
            message.type = event[6]
            message.over_s = event[0] if message.over_s is None else message.over_s
        elif message.over_s is None:  # an answer that comes too late is a dead letter after the end
            message.over_s = event[0]

    def _wait_end(self, event: TraceEvent) -> None:
        if not event[10]:
            return
        wait = self._open.pop(event[10], None)
        if wait is None:  # it began before the trace, or before the stretch
            began_s = self._stretch.begin_s
            wait = PastWait(event[10], event[2], event[5], event[6], "", began_s, event[0])
        wait.end_s, wait.outcome = event[0], event[7]
        self._closed[wait.number] = wait

    def _job_end(self, event: TraceEvent) -> None:
        wait = self._closed.get(event[10]) or self._open.get(event[10])
        times = JobTimes.of(event)
        if wait is not None:
            wait.job, wait.left_behind = times, event[7].startswith("left behind")
        message = self.found.messages.get(event[5])
        if message is not None and times is not None:
            message.worked_s += times.worked_s

    def finish(self) -> Handlings:
        # In a stretch that has ended, a wait without an end has lost it: what it lasted for is not known.
        still = self._open.values() if not self._stretch.ended else ()
        answered = [wait for wait in self._open.values() if self._stretch.ended and self._is_over(wait)]
        for wait in (*self._closed.values(), *still, *answered):
            wait.message = self.found.messages.get(wait.number)
            self._cut(wait)
            self.found.waits.setdefault((wait.actor, wait.cause), []).append(wait)
        for waits in self.found.waits.values():
            waits.sort(key=lambda wait: (wait.end_s, wait.since_s))
        return self.found

    def _is_over(self, wait: PastWait) -> bool:
        message = self.found.messages.get(wait.number)
        return message is not None and message.over_s is not None

    def _cut(self, wait: PastWait) -> None:
        """Who waits for many looks at one after the other: the wait is over when the answer is there."""
        message = wait.message
        if message is None:
            return
        over_s = message.over_s
        if over_s is None and wait.outcome not in {"", "answered"}:
            ends = self.found.ends.get(wait.target, [])
            at = bisect_right(ends, wait.since_s)
            over_s = ends[at] if at < len(ends) else None
        if over_s is not None and wait.since_s <= over_s < wait.end_s:
            wait.end_s = over_s


def collect(trace: Trace, stretch: Stretch) -> Handlings:
    """Read what happened within a stretch."""
    collector = _Collector(stretch)
    for event in trace.select(kinds=_KINDS, since_s=stretch.begin_s, until_s=stretch.end_s):
        collector.take(event)
    return collector.finish()
