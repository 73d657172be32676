"""Counts what is in a trace, in one pass: the part of a summary that sees every event."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from actors.tracing.usage import Account, JobTimes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.tracing.events import TraceEvent

__all__ = [
    "ActorTally",
    "BlockedTally",
    "JobTally",
    "MessageTally",
    "QueueTally",
    "Tally",
    "WaitTally",
    "blockage",
]

REFUSALS_MAX: Final = 200
OTHER_REFUSALS: Final = "others"

_BLOCKED: Final = re.compile(r"no answer for (\d+(?:\.\d+)?) s(?:; (.*))?", re.DOTALL)
# Such a message has never been in the mailbox, or another was there in its place.
_NEVER_IN: Final = {"no such actor", "mailbox full", "actor stopping", "dropped as the oldest"}


@dataclass(slots=True)
class ActorTally(Account):
    """One actor: how it spends its time, and how often what happens to it."""

    class_name: str = ""
    incarnations: int = 0
    restarts: int = 0
    handled: int = 0


@dataclass(slots=True)
class QueueTally:
    """The mailbox of an actor, and what is on its way there."""

    length: int = 0
    length_max: int = 0

    def look(self) -> None:
        """The length is one that the mailbox has had."""
        self.length_max = max(self.length_max, self.length)


@dataclass(slots=True)
class MessageTally:
    """The messages and answers with one tag."""

    sent: int = 0
    answers: int = 0
    bytes_total: int = 0
    bytes_max: int = 0
    queued_s: array[float] = field(default_factory=lambda: array("d"))
    handled_s: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class JobTally:
    """The jobs with one name."""

    begun: int = 0
    left_behind: int = 0
    queued_s: array[float] = field(default_factory=lambda: array("d"))
    worked_s: array[float] = field(default_factory=lambda: array("d"))


@dataclass(slots=True)
class WaitTally:
    """The waits of one actor for the same, for the same reason; `outcome` is that of the longest."""

    times: int = 0
    open: int = 0
    expired: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    since_s: float = 0.0
    outcome: str = ""

    def add(self, wait: TraceEvent, end_s: float, outcome: str) -> None:
        """One more of them, whose beginning is known."""
        seconds = end_s - wait[0]
        self.times += 1
        self.total_s += seconds
        if seconds >= self.longest_s:
            self.longest_s, self.since_s, self.outcome = seconds, wait[0], outcome


@dataclass(slots=True)
class BlockedTally:
    """How one actor has blocked the event loop; `where` is the place of the longest time."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    where: str = ""


class Tally:
    """What was counted. It takes events, oldest first; then `stop` is called once.

    Attributes:
        waits: by who waited, for whom, and what for; if the beginning is not in the trace that is empty.
    """

    def __init__(self) -> None:
        self.events = 0
        self.waits: dict[tuple[str, str, str], WaitTally] = {}
        self.actors: dict[str, ActorTally] = {}
        self.queues: dict[str, QueueTally] = {}
        self.messages: dict[str, MessageTally] = {}
        self.jobs: dict[str, JobTally] = {}
        self.blocked: dict[str, BlockedTally] = {}
        self.dead_letters: Counter[str] = Counter()
        self.full: Counter[str] = Counter()
        self.refusals: Counter[tuple[str, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.first_errors: dict[str, tuple[str, str]] = {}
        self._open_waits: dict[int, TraceEvent] = {}
        # Messages that were sent and not received yet: when, and to whom.
        self._on_their_way: dict[int, tuple[float, QueueTally]] = {}

    def take_all(self, events: Iterable[TraceEvent]) -> None:
        """Count all of them; kinds that are not known are left out."""
        actors, takes = self.actors, {kind: getattr(self, name) for kind, name in _TAKES.items()}
        find_actor, find_take, count = actors.get, takes.get, 0
        for event in events:
            count += 1
            actor, take = find_actor(event[2]) or self._meet(event), find_take(event[1])
            if take is not None:
                take(event, actor)
        self.events += count

    def stop(self, end_s: float) -> None:
        """Account for what has not ended at the last event."""
        for actor in self.actors.values():
            actor.stop(end_s)
        for queue in self.queues.values():
            queue.look()
        for wait in self._open_waits.values():
            waits = self._waits_like(wait, wait.detail)
            waits.add(wait, end_s, "")
            waits.open += 1

    def _meet(self, event: TraceEvent) -> ActorTally:
        """The first event of an actor. If it was started before, it counts from here on."""
        life = event.incarnation
        actor = ActorTally(started_s=event.time_s if life else None, incarnations=life)
        if life or not event.actor.startswith("/"):  # an actor without a life is only named, by a watchdog
            self.actors[event.actor] = actor
        return actor

    def _start(self, event: TraceEvent, actor: ActorTally) -> None:
        actor.start(event)
        actor.class_name = event.type
        actor.incarnations = event.incarnation

    def _end(self, event: TraceEvent, actor: ActorTally) -> None:
        actor.end(event)

    def _restart(self, _event: TraceEvent, actor: ActorTally) -> None:
        actor.restarts += 1

    def _send(self, event: TraceEvent, _actor: ActorTally) -> None:
        time_s, _, _, _, msg_id, _, tag, to, _, size, *_ = event
        message = self.messages.get(tag) or self._first_of(tag)
        message.sent += 1
        message.bytes_total += size
        message.bytes_max = max(message.bytes_max, size)
        if to[:1] == "/":  # code outside the tree reads when it likes, or never
            queue = self.queues.get(to) or self._first_to(to)
            queue.length += 1
            self._on_their_way[msg_id] = time_s, queue

    def _receive(self, event: TraceEvent, actor: ActorTally) -> None:
        actor.receive(event)
        actor.handled += 1
        sent = self._on_their_way.pop(event[4], None)
        if sent is not None:
            sent_s, queue = sent
            (self.messages.get(event[6]) or self._first_of(event[6])).queued_s.append(event[0] - sent_s)
            queue.look()
            queue.length -= 1

    def _done(self, event: TraceEvent, actor: ActorTally) -> None:
        seconds = actor.done(event)
        if seconds is not None:
            (self.messages.get(event[6]) or self._first_of(event[6])).handled_s.append(seconds)

    def _reply(self, event: TraceEvent, actor: ActorTally) -> None:
        actor.answer(event)
        message, size = self.messages.get(event[6]) or self._first_of(event[6]), event[9]
        message.answers += 1
        message.bytes_total += size
        message.bytes_max = max(message.bytes_max, size)

    def _first_of(self, tag: str) -> MessageTally:
        message = self.messages[tag] = MessageTally()
        return message

    def _first_to(self, path: str) -> QueueTally:
        return self.queues.setdefault(path, QueueTally())

    def _drop(self, event: TraceEvent, actor: ActorTally) -> None:
        actor.answer(event)
        self.dead_letters[event.detail] += 1
        if (sent := self._on_their_way.pop(event.msg_id, None)) is not None:
            queue = sent[1]
            if event.detail not in _NEVER_IN:
                queue.look()
            queue.length -= 1

    def _refuse(self, event: TraceEvent, _actor: ActorTally) -> None:
        key = event.type, event.detail
        if key not in self.refusals and len(self.refusals) >= REFUSALS_MAX:
            key = event.type, OTHER_REFUSALS  # texts may hold times, so that no two are the same
        self.refusals[key] += 1

    def _error(self, event: TraceEvent, _actor: ActorTally) -> None:
        self.errors[event.type] += 1
        self.first_errors.setdefault(event.type, (event.actor, event.detail))

    def _full(self, event: TraceEvent, _actor: ActorTally) -> None:
        self.full[event.detail.partition(" ")[0]] += 1

    def _wait(self, event: TraceEvent, _actor: ActorTally) -> None:
        if event[10]:
            self._open_waits[event[10]] = event

    def _wait_end(self, event: TraceEvent, _actor: ActorTally) -> None:
        wait = self._open_waits.pop(event[10], None)
        expired = event[7] == "Expired"
        if wait is not None:
            waits = self._waits_like(event, wait[7])
            waits.add(wait, event[0], event[7])
            waits.expired += expired
        elif expired:
            self._waits_like(event, "").expired += 1

    def _waits_like(self, event: TraceEvent, reason: str) -> WaitTally:
        key = event[2], event[6], reason
        waits = self.waits.get(key)
        if waits is None:
            waits = self.waits[key] = WaitTally()
        return waits

    def _job(self, event: TraceEvent, _actor: ActorTally) -> None:
        (self.jobs.get(event[6]) or self._first_job(event[6])).begun += 1

    def _job_end(self, event: TraceEvent, actor: ActorTally) -> None:
        times, job = JobTimes.of(event), self.jobs.get(event.type) or self._first_job(event.type)
        actor.job_end(times)
        if times is not None:
            job.queued_s.append(times.queued_s)
            job.worked_s.append(times.worked_s)
        elif event.detail.startswith("left behind"):
            job.left_behind += 1

    def _first_job(self, name: str) -> JobTally:
        job = self.jobs[name] = JobTally()
        return job

    def _blocked(self, event: TraceEvent, _actor: ActorTally) -> None:
        seconds, where = blockage(event)
        blocked = self.blocked.setdefault(event.actor, BlockedTally())
        blocked.count += 1
        blocked.total_s += seconds
        if seconds >= blocked.longest_s:
            blocked.longest_s, blocked.where = seconds, where


def blockage(event: TraceEvent) -> tuple[float, str]:
    """For how many seconds before this event the event loop was blocked, and where; 0 if it does not say."""
    found = _BLOCKED.match(event.detail)
    return (float(found[1]), found[2] or "") if found is not None else (0.0, event.detail)


_TAKES: Final = {
    "start": "_start",
    "end": "_end",
    "restart": "_restart",
    "send": "_send",
    "receive": "_receive",
    "done": "_done",
    "reply": "_reply",
    "drop": "_drop",
    "refuse": "_refuse",
    "error": "_error",
    "full": "_full",
    "wait": "_wait",
    "wait_end": "_wait_end",
    "job": "_job",
    "job_end": "_job_end",
    "blocked": "_blocked",
}
