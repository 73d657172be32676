"""How actors have spent their time, read from a trace: at work in threads, waiting, idle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actors.tracing.events import TraceEvent

__all__ = ["Account", "JobTimes", "Usage", "usage"]

_JOB_TIMES: Final = re.compile(r"queued (\d+(?:\.\d+)?) s, worked (\d+(?:\.\d+)?) s")


class JobTimes(NamedTuple):
    """Seconds that a job was in the queue for a thread, and that its thread was at it.

    It stands in the detail of the event `job_end`. A job that was left behind has none.
    """

    queued_s: float
    worked_s: float

    def __str__(self) -> str:
        return f"queued {self.queued_s:.6f} s, worked {self.worked_s:.6f} s"

    @classmethod
    def of(cls, event: TraceEvent) -> JobTimes | None:
        """Those of the job whose end this is; None for any other event."""
        found = _JOB_TIMES.fullmatch(event.detail) if event.kind == "job_end" else None
        return cls(float(found[1]), float(found[2])) if found is not None else None


class Usage(NamedTuple):
    """How one actor has spent its time, over all its incarnations.

    Attributes:
        busy_s: seconds in which jobs of its handlers were at work in their threads.
        waiting_s: seconds in which it handled a message, but no job of its was at work: it waited for a
            thread, for an answer from below, or for its turn in the event loop.
        idle_s: seconds in which it was there and had nothing to handle.
    """

    busy_s: float = 0.0
    waiting_s: float = 0.0
    idle_s: float = 0.0


@dataclass(slots=True)
class Account:
    """What the events so far have told of how one actor spends its time.

    Attributes:
        started_s: when the incarnation that lives now was started, None when none does.
        received_s: when it began to handle the message at hand, None when there is none.
        in_hand: number of that message.
        answered_s: when that was answered or became a dead letter. A message that is refused ends so.
    """

    started_s: float | None = None
    received_s: float | None = None
    in_hand: int = 0
    answered_s: float | None = None
    busy_s: float = 0.0
    handling_s: float = 0.0
    lived_s: float = 0.0

    def start(self, event: TraceEvent) -> None:
        """An incarnation begins."""
        self.started_s = event.time_s

    def receive(self, event: TraceEvent) -> None:
        """A handler begins."""
        if self.answered_s is not None:
            self.stop_handling(self.answered_s)
        self.received_s = event.time_s
        self.in_hand = event.msg_id

    def answer(self, event: TraceEvent) -> None:
        """A message is answered, or is a dead letter."""
        if event.msg_id == self.in_hand:
            self.answered_s = event.time_s

    def done(self, event: TraceEvent) -> float | None:
        """A handler has ended; how many seconds it took, if its beginning is known."""
        if self.received_s is None or event.msg_id != self.in_hand:
            return None
        seconds = event.time_s - self.received_s
        self.stop_handling(event.time_s)
        return seconds

    def job_end(self, times: JobTimes | None) -> None:
        """A job has ended, or was left behind."""
        if times is not None:
            self.busy_s += times.worked_s

    def end(self, event: TraceEvent) -> None:
        """An incarnation ends."""
        self.stop(event.time_s)

    def stop_handling(self, time_s: float) -> None:
        """Nothing is at hand any more."""
        if self.received_s is not None:
            self.handling_s += time_s - self.received_s
        self.received_s = self.answered_s = None

    def stop(self, time_s: float) -> None:
        """Account for what has not ended yet."""
        self.stop_handling(time_s if self.answered_s is None else self.answered_s)
        if self.started_s is not None:
            self.lived_s += time_s - self.started_s
            self.started_s = None

    def usage(self) -> Usage:
        """The result, once it is stopped."""
        # Jobs of a hook, such as `on_start`, are at work while no message is handled.
        handling_s = max(self.busy_s, self.handling_s)
        return Usage(self.busy_s, handling_s - self.busy_s, max(0.0, self.lived_s - handling_s))


_TAKES: Final[Mapping[str, Callable[[Account, TraceEvent], object]]] = {
    "start": Account.start,
    "receive": Account.receive,
    "reply": Account.answer,
    "drop": Account.answer,
    "done": Account.done,
    "job_end": lambda account, event: account.job_end(JobTimes.of(event)),
    "end": Account.end,
}


def usage(events: Iterable[TraceEvent]) -> dict[str, Usage]:
    """How each actor has spent its time, from its start to its end or to the last event.

    What was left behind counts as waiting. An actor that was started before the first event, as in a ring
    that has lost the oldest ones, counts from its first event on.

    Args:
        events: in the order of their times, as `Tracer.events` and `read_trace` give them.
    """
    accounts: dict[str, Account] = {}
    time_s = 0.0
    for event in events:
        time_s = event.time_s
        if not event.incarnation:
            continue  # code outside the tree
        if event.actor not in accounts:
            accounts[event.actor] = Account(started_s=time_s)
        take = _TAKES.get(event.kind)
        if take is not None:
            take(accounts[event.actor], event)
    for account in accounts.values():
        account.stop(time_s)
    return {actor: account.usage() for actor, account in accounts.items()}
