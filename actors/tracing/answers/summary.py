"""A run in numbers: who did what, how long it took, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.answers.quantiles import Quantiles
from actors.tracing.answers.tables import bytes_in_words, counted, duration, plain, table
from actors.tracing.answers.tally import QueueTally, Tally
from actors.tracing.answers.troubles import troubles
from actors.tracing.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.tracing.answers.tally import ActorTally, BlockedTally, JobTally, MessageTally
    from actors.tracing.reading import Trace

__all__ = [
    "ActorSummary",
    "BlockedSummary",
    "FirstError",
    "JobSummary",
    "MessageSummary",
    "Refusal",
    "Summary",
    "WaitSummary",
    "blocked_summaries",
    "summarise",
]

_MOST: Final = 12
_LONGEST: Final = 10


@dataclass(frozen=True, slots=True)
class ActorSummary:
    """One actor, over all its incarnations.

    Attributes:
        actor: its path.
        class_name: of the last incarnation that was started; empty if no start is in the trace.
        incarnations: the highest number of a life.
        restarts: how often a supervisor started it again.
        handled: messages that its handlers began with.
        queued_max: the most messages that were in its mailbox, or on their way there.
        queued: as many of them at the end.
        usage: seconds busy, waiting and idle.
    """

    actor: str
    class_name: str
    incarnations: int
    restarts: int
    handled: int
    queued_max: int
    queued: int
    usage: Usage

    @property
    def shares(self) -> Usage:
        """Its usage as parts of the time for which it lived; all 0 if it lived for none."""
        lived_s = sum(self.usage)
        return Usage(*(seconds / lived_s for seconds in self.usage)) if lived_s else Usage()


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """The messages with one tag.

    Attributes:
        type: the tag.
        sent: how many were sent, and `answers` how many were answers to asks.
        bytes_total: of all of them, arrays included; `bytes_max` of the largest.
        queued: from sending to the beginning of the handler.
        handled: from there until the handler has ended.
    """

    type: str
    sent: int
    answers: int
    bytes_total: int
    bytes_max: int
    queued: Quantiles
    handled: Quantiles


@dataclass(frozen=True, slots=True)
class JobSummary:
    """The jobs with one name.

    Attributes:
        name: of the function.
        begun: how many were handed to threads, `left_behind` of them with nobody waiting for them any more.
        queued: until a thread began with it.
        worked: until it was done with it.
    """

    name: str
    begun: int
    left_behind: int
    queued: Quantiles
    worked: Quantiles


@dataclass(frozen=True, slots=True)
class BlockedSummary:
    """How often, and for how many seconds, one actor has kept the event loop from everything else.

    `where` says where it was the longest time.
    """

    actor: str
    count: int
    total_s: float
    longest_s: float
    where: str


@dataclass(frozen=True, slots=True)
class WaitSummary:
    """The waits of one actor for the same, for the same reason.

    Attributes:
        waiter: who waited, `target` for whom or what, and `reason` what for.
        times: how many of them there were, `open` of them not ended, `expired` of them in vain.
        total_s: all of them together.
        longest_s: the longest; until the last event if it has not ended.
        since_s: when that one began, counted from the first event.
        outcome: of that one, empty if it has not ended.
    """

    waiter: str
    target: str
    reason: str
    times: int
    open: int
    expired: int
    total_s: float
    longest_s: float
    since_s: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """How often something was not admitted, and why; of too many texts the rest is `others`."""

    type: str
    why: str
    count: int


@dataclass(frozen=True, slots=True)
class FirstError:
    """How often an exception of one class was raised by handlers, and where it was the first time."""

    type: str
    count: int
    actor: str
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers. Of every list the most important comes first.

    Attributes:
        begin_s: time of the first event, on the loop's clock.
        span_s: seconds from there to the last.
        events: how many there are.
        messages: how many were sent, `answers` not included.
        waits: how many there were, `waits_open` of them not ended, `waits_expired` of them in vain.
        actors: those in the tree, by the time that they had something at hand.
        message_types: by the time in their handlers.
        jobs: by the time of threads.
        full: path -> how often a message found that mailbox full.
        dead_letters: reason -> how many.
        expired: the waits of which some were in vain, by how many.
        longest_waits: at most ten, by the longest of those that are alike.
        rotated: whether the oldest events are not there any more.
        damage: of the trace, empty for none.
    """

    begin_s: float
    span_s: float
    events: int
    messages: int
    answers: int
    waits: int
    waits_open: int
    waits_expired: int
    actors: tuple[ActorSummary, ...]
    message_types: tuple[MessageSummary, ...]
    jobs: tuple[JobSummary, ...]
    blocked: tuple[BlockedSummary, ...]
    errors: tuple[FirstError, ...]
    expired: tuple[WaitSummary, ...]
    full: Mapping[str, int]
    dead_letters: Mapping[str, int]
    refusals: tuple[Refusal, ...]
    longest_waits: tuple[WaitSummary, ...]
    rotated: bool
    damage: str

    @property
    def messages_per_s(self) -> float:
        """Messages sent in a second, answers not included; 0 if there is no time between the events."""
        return self.messages / self.span_s if self.span_s else 0.0

    @property
    def restarts(self) -> int:
        """Of all actors."""
        return sum(actor.restarts for actor in self.actors)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON: times in seconds, sizes in bytes."""
        found: dict[str, Any] = plain(self)
        for actor, entry in zip(self.actors, found["actors"], strict=True):
            entry["shares"] = plain(actor.shares)
        return found | {"messages_per_s": self.messages_per_s, "restarts": self.restarts}

    def lines(self) -> list[str]:
        """For people: the whole in a line, then what went wrong, then tables, cut where they are long."""
        return [
            *self._head(),
            *_section("actors", self._actor_table()),
            *_section("messages", self._message_table()),
            *_section("jobs", self._job_table()),
            *_section("longest waits", self._wait_table()),
        ]

    def _head(self) -> list[str]:
        overview = (
            f"{duration(self.span_s)}: {counted(len(self.actors), 'actor')}, "
            f"{counted(self.events, 'event')}, {counted(self.messages, 'message')} "
            f"({self.messages_per_s:,.0f} per s), {counted(self.answers, 'answer')}"
        )
        return [
            overview,
            *(troubles(self) or [f"nothing went wrong{self._open()}"]),
            *(["the beginning of the run is not in the trace any more"] if self.rotated else []),
            *([f"the trace is damaged: {self.damage}"] if self.damage else []),
        ]

    def _open(self) -> str:
        """Nothing goes wrong in what hangs; but it does not end."""
        if not self.waits_open:
            return ""
        one = self.waits_open == 1
        verb, them = ("is", "it") if one else ("are", "them")
        waits = counted(self.waits_open, "wait")
        return f", but {waits} {verb} open at the end of the trace (`stuck` shows {them})"

    def _actor_table(self) -> list[str]:
        head = ("", "class", "lives", "handled", "queue", "at end", "busy", "waiting", "idle")
        rows = [
            (
                each.actor,
                each.class_name,
                str(each.incarnations),
                f"{each.handled:,}",
                f"{each.queued_max:,}",
                f"{each.queued:,}",
                *(f"{share:.0%}" for share in each.shares),
            )
            for each in self.actors
        ]
        return table(head, rows, _MOST)

    def _message_table(self) -> list[str]:
        head = ("", "sent", "answers", "bytes", "queued p50", "p99", "max", "handled p50", "p99", "max")
        rows = [
            (
                each.type,
                f"{each.sent:,}",
                f"{each.answers:,}",
                bytes_in_words(each.bytes_total),
                *_times(each.queued),
                *_times(each.handled),
            )
            for each in self.message_types
        ]
        return table(head, rows, _MOST)

    def _job_table(self) -> list[str]:
        head = ("", "begun", "left behind", "queued p50", "p99", "max", "worked p50", "p99", "max", "in all")
        rows = [
            (
                each.name,
                f"{each.begun:,}",
                f"{each.left_behind:,}",
                *_times(each.queued),
                *_times(each.worked),
                duration(each.worked.total_s),
            )
            for each in self.jobs
        ]
        return table(head, rows, _MOST)

    def _wait_table(self) -> list[str]:
        return [
            f"  {duration(wait.longest_s):>8}  {wait.waiter} for {wait.target} ({wait.reason}): "
            f"{wait.outcome or 'still open'}" + (f", the longest of {wait.times:,}" if wait.times > 1 else "")
            for wait in self.longest_waits
        ]


def _section(name: str, lines: list[str]) -> list[str]:
    """A table under its name, nothing for an empty one."""
    return ["", name, *lines] if lines else []


def _times(times: Quantiles) -> tuple[str, str, str]:
    if not times.times:
        return "", "", ""
    return duration(times.p50_s), duration(times.p99_s), duration(times.max_s)


def summarise(trace: Trace) -> Summary:
    """Count everything in a trace, in one pass.

    Quantiles are exact: each message and each job takes 16 bytes of memory, besides what actors, tags, names
    and open waits take.
    """
    tally = Tally()
    tally.take_all(trace)
    tally.stop(trace.end_s)
    waits = _waits(tally, trace.begin_s)
    return Summary(
        begin_s=trace.begin_s,
        span_s=trace.end_s - trace.begin_s,
        events=tally.events,
        messages=sum(each.sent for each in tally.messages.values()),
        answers=sum(each.answers for each in tally.messages.values()),
        waits=sum(each.times for each in waits),
        waits_open=sum(each.open for each in waits),
        waits_expired=sum(each.expired for each in waits),
        actors=_actors(tally),
        message_types=_message_types(tally.messages),
        jobs=_jobs(tally.jobs),
        blocked=blocked_summaries(tally.blocked),
        errors=tuple(
            FirstError(type_, count, *tally.first_errors[type_])
            for type_, count in tally.errors.most_common()
        ),
        expired=tuple(sorted((each for each in waits if each.expired), key=lambda each: -each.expired)),
        full=dict(tally.full.most_common()),
        dead_letters=dict(tally.dead_letters.most_common()),
        refusals=tuple(Refusal(*what, count) for what, count in tally.refusals.most_common()),
        longest_waits=tuple(sorted(waits, key=lambda each: -each.longest_s)[:_LONGEST]),
        rotated=trace.rotated,
        damage=trace.damage,
    )


def _actors(tally: Tally) -> tuple[ActorSummary, ...]:
    in_tree = [(path, actor) for path, actor in tally.actors.items() if path.startswith("/")]
    found = [_actor(path, actor, tally.queues.get(path) or QueueTally()) for path, actor in in_tree]
    return tuple(sorted(found, key=lambda each: (-each.usage.busy_s - each.usage.waiting_s, -each.handled)))


def _actor(path: str, actor: ActorTally, queue: QueueTally) -> ActorSummary:
    return ActorSummary(
        path,
        actor.class_name,
        actor.incarnations,
        actor.restarts,
        actor.handled,
        queue.length_max,
        queue.length,
        actor.usage(),
    )


def _message_types(messages: Mapping[str, MessageTally]) -> tuple[MessageSummary, ...]:
    found = (
        MessageSummary(
            tag,
            each.sent,
            each.answers,
            each.bytes_total,
            each.bytes_max,
            Quantiles.of(each.queued_s),
            Quantiles.of(each.handled_s),
        )
        for tag, each in messages.items()
    )
    return tuple(sorted(found, key=lambda each: (-each.handled.total_s, -each.sent - each.answers)))


def _jobs(jobs: Mapping[str, JobTally]) -> tuple[JobSummary, ...]:
    found = (
        JobSummary(
            name, each.begun, each.left_behind, Quantiles.of(each.queued_s), Quantiles.of(each.worked_s)
        )
        for name, each in jobs.items()
    )
    return tuple(sorted(found, key=lambda each: -each.worked.total_s))


def blocked_summaries(blocked: Mapping[str, BlockedTally]) -> tuple[BlockedSummary, ...]:
    """Who has blocked the event loop, the longest first."""
    found = (
        BlockedSummary(actor, each.count, each.total_s, each.longest_s, each.where)
        for actor, each in blocked.items()
    )
    return tuple(sorted(found, key=lambda each: -each.total_s))


def _waits(tally: Tally, begin_s: float) -> list[WaitSummary]:
    return [
        WaitSummary(
            *who,
            each.times,
            each.open,
            each.expired,
            each.total_s,
            each.longest_s,
            each.since_s - begin_s if each.times else 0.0,
            each.outcome,
        )
        for who, each in tally.waits.items()
    ]
