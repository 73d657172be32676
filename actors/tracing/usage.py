"""How actors have spent their time, read from a trace: at work in threads, waiting, idle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.tracing.events import TraceEvent

__all__ = ["JobTimes", "Usage", "usage"]

_JOB_TIMES: Final = re.compile(r"queued (\S+) s, worked (\S+) s")


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
class _Account:
    """What the events so far have told of one actor."""

    busy_s: float = 0.0
    handling_s: float = 0.0
    lived_s: float = 0.0
    started_s: float | None = None
    received_s: float | None = None

    def take(self, event: TraceEvent) -> None:
        if event.kind == "start":
            self.started_s = event.time_s
        elif event.kind == "receive":
            self.received_s = event.time_s
        elif event.kind == "done":
            self.stop_handling(event.time_s)
        elif event.kind == "end":
            self.stop(event.time_s)
        elif (times := JobTimes.of(event)) is not None:
            self.busy_s += times.worked_s

    def stop_handling(self, time_s: float) -> None:
        if self.received_s is not None:
            self.handling_s += time_s - self.received_s
            self.received_s = None

    def stop(self, time_s: float) -> None:
        self.stop_handling(time_s)
        if self.started_s is not None:
            self.lived_s += time_s - self.started_s
            self.started_s = None

    def usage(self) -> Usage:
        # Jobs of a hook, such as `on_start`, are at work while no message is handled.
        handling_s = max(self.busy_s, self.handling_s)
        return Usage(self.busy_s, handling_s - self.busy_s, max(0.0, self.lived_s - handling_s))


def usage(events: Iterable[TraceEvent]) -> dict[str, Usage]:
    """How each actor has spent its time, from its start to its end or to the last event.

    What was left behind counts as waiting. An actor that was started before the first event, as in a ring
    that has lost the oldest ones, counts from its first event on.

    Args:
        events: in the order of their times, as `Tracer.events` and `read_trace` give them.
    """
    accounts: dict[str, _Account] = {}
    time_s = 0.0
    for event in events:
        time_s = event.time_s
        if not event.incarnation:
            continue  # code outside the tree
        if event.actor not in accounts:
            accounts[event.actor] = _Account(started_s=time_s)
        accounts[event.actor].take(event)
    for account in accounts.values():
        account.stop(time_s)
    return {actor: account.usage() for actor, account in accounts.items()}
