"""What a trace says of one message, one wait or one actor at one moment; looked up, never read as a whole.

Every look is bounded by a number of events, so that a chain of causes in a trace of a million events needs
only the blocks around it. What lies further back counts as not in the trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.tracing.answers.tally import blockage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["LOOKS_MAX", "SOON_S", "Evidence", "Message", "Moment", "failed"]

LOOKS_MAX: Final = 30_000
OWN_LOOKS_MAX: Final = 100_000
# What an expiry brings to an end ends within this time: the timer fires once for all that is due.
SOON_S: Final = 0.005
OWN_KINDS: Final = (
    "send", "receive", "done", "error", "reply", "drop", "refuse", "full", "wait", "wait_end",
)  # fmt: skip
FAILURE_TAG: Final = "actors.failure"


class Moment(NamedTuple):
    """A place in a trace: that of an event; without one, behind all events of that time."""

    time_s: float
    event: TraceEvent | None = None

    @classmethod
    def of(cls, event: TraceEvent) -> Moment:
        """Where that event is."""
        return cls(event.time_s, event)


@dataclass(slots=True)
class Message:
    """The events of one message or wait, as far as the trace has them; the latest of each kind."""

    number: int
    send: TraceEvent | None = None
    receive: TraceEvent | None = None
    done: TraceEvent | None = None
    error: TraceEvent | None = None
    reply: TraceEvent | None = None
    drop: TraceEvent | None = None
    refuse: TraceEvent | None = None
    full: TraceEvent | None = None
    wait: TraceEvent | None = None
    wait_end: TraceEvent | None = None

    def take(self, event: TraceEvent) -> None:
        """Keep an event, if none of its kind is known."""
        if getattr(self, event.kind) is None:
            setattr(self, event.kind, event)

    @property
    def known(self) -> bool:
        """Whether there is any event of it."""
        return any(getattr(self, kind) is not None for kind in OWN_KINDS)

    @property
    def tag(self) -> str:
        """The tag of its class, empty when it is not known."""
        for event in (self.send, self.receive, self.done, self.full):
            if event is not None:
                return event.type
        return ""

    @property
    def sender(self) -> str:
        """Who has sent it, empty when it is not known."""
        if self.send is not None:
            return self.send.actor
        if self.receive is not None:
            return self.receive.detail
        return self.wait.actor if self.wait is not None else ""

    @property
    def receiver(self) -> str:
        """To whom it was sent, empty when it is not known."""
        if self.send is not None:
            return self.send.detail
        handled = self.receive or self.done or self.error
        return handled.actor if handled is not None else ""

    @property
    def limit_s(self) -> float:
        """Seconds that were given for its answer, 0 when it is not known."""
        for event in (self.send, self.wait, self.receive):
            if event is not None and event.limit_s:
                return event.limit_s
        return 0.0

    @property
    def since_s(self) -> float | None:
        """When it was sent."""
        first = self.send or self.wait or self.receive
        return first.time_s if first is not None else None

    @property
    def received_s(self) -> float | None:
        """When a handler began with it."""
        return self.receive.time_s if self.receive is not None else None


def failed(wait_end: TraceEvent) -> bool:
    """Whether a wait has ended in an error or in vain."""
    return wait_end.kind == "wait_end" and wait_end.detail not in {"", "answered"}


class Evidence:
    """Looks into a trace, each bounded.

    Args:
        trace: of the run.

    Attributes:
        trace: the same.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._messages: dict[int, Message] = {}

    @property
    def end(self) -> Moment:
        """The end of the trace; now, if the run goes on."""
        return Moment(self.trace.now_s)

    def message(self, number: int) -> Message:
        """What is known of a message or of a wait."""
        if number not in self._messages:
            message = self._messages[number] = Message(number)
            if number:
                self._gather(message)
        return self._messages[number]

    def _gather(self, message: Message) -> None:
        for event in self.trace.select(
            own={message.number}, kinds=OWN_KINDS, backwards=True, looks_max=OWN_LOOKS_MAX
        ):
            message.take(event)

    def before(self, at: Moment, actors: Collection[str], kinds: Collection[str]) -> Iterator[TraceEvent]:
        """Events of these actors before a moment, the newest first."""
        return self._around(at, actors, kinds, backwards=True)

    def after(self, at: Moment, actors: Collection[str], kinds: Collection[str]) -> Iterator[TraceEvent]:
        """Events of these actors after a moment, the oldest first."""
        return self._around(at, actors, kinds, backwards=False)

    def _around(
        self, at: Moment, actors: Collection[str], kinds: Collection[str], *, backwards: bool
    ) -> Iterator[TraceEvent]:
        # At one time there may be many events, above all in virtual time: the moment's own tells which of
        # them are on the wanted side, so it must be among those that are looked at.
        wanted_actors, wanted_kinds, passed = set(actors), set(kinds), at.event is None and backwards
        own = at.event
        for event in self.trace.select(
            actors=wanted_actors | ({own.actor} if own else set()),
            kinds=wanted_kinds | ({own.kind} if own else set()),
            since_s=-float("inf") if backwards else at.time_s,
            until_s=at.time_s if backwards else float("inf"),
            backwards=backwards,
            looks_max=LOOKS_MAX,
        ):
            if not passed and event.time_s == at.time_s:
                passed = event == own
                continue
            passed = True
            if event.actor in wanted_actors and event.kind in wanted_kinds:
                yield event

    def latest(self, at: Moment, actor: str, *kinds: str) -> TraceEvent | None:
        """The newest event of an actor before a moment."""
        return next(self.before(at, (actor,), kinds), None)

    def next_of(self, at: Moment, actor: str, *kinds: str) -> TraceEvent | None:
        """The first event of an actor after a moment."""
        return next(self.after(at, (actor,), kinds), None)

    def handling(self, at: Moment, actor: str) -> TraceEvent | None:
        """What an actor has done last before a moment: `receive` says that it handles that message then."""
        return self.latest(at, actor, "receive", "done", "start", "end", "restart")

    def open_waits(self, at: Moment, actor: str) -> list[TraceEvent]:
        """The waits of an actor that were under way at a moment, the oldest first.

        They are those that ended after it, for the most part within the same handler; when none did, those
        that had begun before it and had not ended.
        """
        begun, ended = set(), []
        for event in self.after(at, (actor,), ("wait", "wait_end", "receive", "done", "end")):
            if event.kind == "wait":
                begun.add(event.wait_id)
            elif event.kind != "wait_end":
                break
            elif event.wait_id not in begun:
                ended.append(event)
        found = [wait for event in ended if (wait := self._begin_of(event)) is not None]
        for wait in self._not_ended(at, actor):
            if wait not in found:
                found.append(wait)
        return sorted(found, key=lambda wait: wait.time_s)

    def _begin_of(self, wait_end: TraceEvent) -> TraceEvent | None:
        wait = self.message(wait_end.wait_id).wait
        if wait is not None:
            return wait
        for event in self.before(Moment.of(wait_end), (wait_end.actor,), ("wait",)):
            if event.type == wait_end.type and event.wait_id in {0, wait_end.wait_id}:
                return event
        return None

    def _not_ended(self, at: Moment, actor: str) -> Iterator[TraceEvent]:
        ended: set[tuple[int, str]] = set()
        for event in self.before(at, (actor,), ("wait", "wait_end", "receive", "start")):
            if event.kind in {"receive", "start"}:
                return
            if event.kind == "wait_end":
                # What ended in vain at this very time was under way: one expiry ends many waits.
                if not (failed(event) and event.time_s >= at.time_s - SOON_S):
                    ended.add((event.wait_id, event.type))
            elif (event.wait_id, event.type) not in ended:
                yield event

    def end_of(self, wait: TraceEvent) -> TraceEvent | None:
        """How a wait has ended."""
        if wait.wait_id:
            return self.message(wait.wait_id).wait_end
        for event in self.after(Moment.of(wait), (wait.actor,), ("wait_end",)):
            if event.type == wait.type:
                return event
        return None

    def job_end_of(self, wait: TraceEvent) -> TraceEvent | None:
        """The end of the job for which this was the wait."""
        name = wait.type.removeprefix("job ")
        for event in self.after(Moment.of(wait), (wait.actor,), ("job_end",)):
            if event.type == name and event.wait_id in {0, wait.wait_id}:
                return event
        return None

    def ends_awaited(self, end: TraceEvent) -> Iterator[TraceEvent]:
        """Who waited for an actor to end, the newest first."""
        for wait in self.trace.select(
            kinds={"wait"}, until_s=end.time_s, backwards=True, looks_max=LOOKS_MAX
        ):
            if wait.type == end.actor and wait.detail == "its end":
                yield wait

    def holder_of_a_thread(self, at: Moment) -> TraceEvent | None:
        """A job that was left behind, or still at work, when no thread was free: its latest event."""
        ended = set()
        jobs = self.trace.select(
            kinds={"job", "job_end"}, until_s=at.time_s, backwards=True, looks_max=LOOKS_MAX
        )
        for event in jobs:
            if event.detail.startswith("left behind"):
                return event
            if event.kind == "job_end":
                ended.add(event.wait_id)
            elif event.wait_id not in ended and (at.event is None or event.wait_id != at.event.wait_id):
                return event
        return None

    def failed_below(self, error: TraceEvent) -> Iterator[TraceEvent]:
        """What went wrong in a handler before it failed, the newest first: waits, and what was refused."""
        for event in self.before(Moment.of(error), (error.actor,), ("wait_end", "refuse", "full", "receive")):
            if event.kind == "receive":
                return
            if event.incarnation == error.incarnation and (event.kind != "wait_end" or self.in_vain(event)):
                yield event

    def in_vain(self, wait_end: TraceEvent) -> bool:
        """Whether a wait brought no answer: it ended in an error, or the answer was one."""
        if failed(wait_end):
            return True
        reply = self.message(wait_end.wait_id).reply if wait_end.wait_id else None
        return reply is not None and reply.type == FAILURE_TAG

    def blocked_during(self, since_s: float, until_s: float) -> tuple[TraceEvent, float] | None:
        """The longest time in which the event loop was blocked between two times, with its seconds then."""
        found: tuple[TraceEvent, float] | None = None
        # It is reported when it is over, which may be after all that was due in between.
        for event in self.trace.select(kinds={"blocked"}, since_s=since_s):
            begin_s = event.time_s - blockage(event)[0]
            if begin_s > until_s:
                break
            overlap_s = min(event.time_s, until_s) - max(begin_s, since_s)
            if overlap_s > 0 and (found is None or overlap_s > found[1]):
                found = event, overlap_s
        return found
