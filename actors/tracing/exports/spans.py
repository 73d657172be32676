"""A trace as intervals and arrows: handlers, jobs, waits, messages, and moments worth a mark.

Everything that draws a trace draws these. They are computed in one pass:

    found = spans(trace)
    found.actors    everybody, parents before children
    found.handlers  what each actor was at, message by message
    found.jobs      what its threads were at
    found.waits     whom it waited for
    found.messages  from whom to whom, when it was sent, taken, answered
    found.marks     states, starts and ends, errors, dead letters, refusals

Times are seconds on the clock of the trace. A time that the trace does not tell is None: an end that has not
come, or that was not recorded any more. What had begun before the first event begins with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from actors.tracing.events import TraceEvent
from actors.tracing.usage import JobTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors.tracing.reading import Trace

__all__ = [
    "MARK_KINDS",
    "Handler",
    "Job",
    "Mark",
    "Message",
    "Spans",
    "WaitSpan",
    "apart",
    "spans",
    "spans_of",
    "tree_order",
]

MARK_KINDS: Final = (
    *("state", "start", "end", "restart", "error", "drop", "refuse", "full"),
    *("snapshot", "restore", "fault", "blocked", "gap", "dump"),
)
"""Events that are moments: they become marks."""

TIE_S: Final = 2e-9  # enough for times to be apart when they are rounded to nanoseconds


@dataclass(slots=True)
class Handler:
    """One actor at one message.

    Attributes:
        actor: its path.
        incarnation: of that actor.
        msg_id: the message.
        type: its tag; empty if the trace does not tell.
        sender: who sent it; empty if the trace does not tell.
        begin_s: when the handler began, or the trace.
        end_s: when it returned or was ended.
        outcome: `answered`, `returned` (there was nothing to answer), `failed`, `ended` (with its actor or by
            its deadline), `refused`; empty when it goes on at the end of the trace.
        error: class and text of what it raised, or why it was ended.
        answered_s: when its answer reached whoever asked.
        limit_s: seconds that it was given, 0 for not told.
    """

    actor: str
    incarnation: int
    msg_id: int
    type: str
    sender: str
    begin_s: float
    end_s: float | None = None
    outcome: str = ""
    error: str = ""
    answered_s: float | None = None
    limit_s: float = 0.0


@dataclass(slots=True)
class Job:
    """Work in a thread.

    Attributes:
        actor: who has handed it over.
        incarnation: of that actor.
        msg_id: the message that was being handled, 0 for none.
        name: of the function.
        asked_s: when it was handed over.
        begin_s: when its thread began; with a job that was left behind or has no end yet, `asked_s`.
        end_s: when its thread was done with it, or it was left behind.
        left_behind: whether nobody waits for it any more, though it goes on.
        detail: what its end says, in words.
        wait_id: the wait for it, 0 for not told.
    """

    actor: str
    incarnation: int
    msg_id: int
    name: str
    asked_s: float
    begin_s: float
    end_s: float | None = None
    left_behind: bool = False
    detail: str = ""
    wait_id: int = 0


@dataclass(slots=True)
class WaitSpan:
    """An actor, or code outside the tree, waiting.

    Attributes:
        actor: who waits.
        incarnation: of that actor, 0 outside.
        wait_id: its number, of an ask that of the message; 0 for not told.
        msg_id: the message that was being handled, 0 for none.
        target: whom or what it waits for.
        reason: what for.
        begin_s: since when.
        end_s: until when.
        outcome: `answered`, `given up`, or the name of an error; empty when it goes on.
        limit_s: seconds that it was given, 0 for not told.
    """

    actor: str
    incarnation: int
    wait_id: int
    msg_id: int
    target: str
    reason: str
    begin_s: float
    end_s: float | None = None
    outcome: str = ""
    limit_s: float = 0.0


@dataclass(slots=True)
class Message:
    """A message on its way, and its answer.

    Attributes:
        msg_id: its number.
        type: its tag.
        sender: path of an actor, or the name of code outside the tree.
        receiver: path of an actor, or the name of code outside the tree.
        incarnation: of the sender, 0 outside.
        cause_id: the message that the sender was handling, 0 for none.
        sent_s: when it was sent; None if that is older than the trace.
        received_s: when a handler began with it.
        replied_s: when the answer was given.
        heard_s: when whoever asked went on with the answer.
        lost_s: when it, or its answer, became a dead letter.
        lost: why.
        size: bytes of it, 0 for not told.
        is_ask: whether an answer was awaited.
        reply_type: tag of the answer.
        reply_size: bytes of the answer.
    """

    msg_id: int
    type: str
    sender: str
    receiver: str
    incarnation: int = 0
    cause_id: int = 0
    sent_s: float | None = None
    received_s: float | None = None
    replied_s: float | None = None
    heard_s: float | None = None
    lost_s: float | None = None
    lost: str = ""
    size: int = 0
    is_ask: bool = False
    reply_type: str = ""
    reply_size: int = 0


@dataclass(slots=True)
class Mark:
    """A moment of one actor.

    Attributes:
        time_s: when.
        actor: who.
        incarnation: of that actor.
        kind: one of `MARK_KINDS`.
        text: what happened, in words.
        msg_id: the message that it is about or that was being handled, 0 for none.
    """

    time_s: float
    actor: str
    incarnation: int
    kind: str
    text: str
    msg_id: int = 0


@dataclass(slots=True)
class Spans:
    """All of a trace, each list in order of beginnings; messages in order of numbers seen.

    Attributes:
        begin_s: time of the first event.
        end_s: time of the last one.
        actors: everybody who has a part in it, code outside the tree first, parents before their children.
    """

    begin_s: float = 0.0
    end_s: float = 0.0
    actors: tuple[str, ...] = ()
    handlers: list[Handler] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    waits: list[WaitSpan] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


def spans(trace: Trace) -> Spans:
    """Read a trace once, and say what was going on when."""
    return spans_of(trace, trace.begin_s)


def spans_of(events: Iterable[TraceEvent], begin_s: float) -> Spans:
    """As `spans`, of events in the order in which they happened, of which the first is at `begin_s`."""
    builder = _Builder(begin_s)
    builder.take_all(events)
    return builder.finish()


def apart(events: Iterable[TraceEvent]) -> Iterator[TraceEvent]:
    """The events, each a little later than the one before if they are of the same time.

    Who sorts by time has causes before their effects then. What is of the same time here, as an answer and
    that it was heard, or all that a simulation does in a moment, has happened one after the other.
    """
    last_s = told_s = -math.inf  # of the event before, as it is passed on and as it came
    for event in events:
        time_s = event[0]
        if time_s >= told_s:
            told_s = time_s
            if time_s <= last_s:
                time_s = max(last_s + TIE_S, math.nextafter(last_s, math.inf))
                event = TraceEvent(time_s, *event[1:])  # noqa: PLW2901 - it is the same event
            last_s = time_s
        yield event


def tree_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of actors: code outside the tree first, parents before their children, else first come, first."""
    lines = {name: list(_line(name)) for name in names}
    ranks: dict[str, int] = {}
    for line in lines.values():
        for ancestor in line:
            ranks.setdefault(ancestor, len(ranks))
    # The ranks of a parent are the first of those of its children, and come before them.
    return tuple(sorted(lines, key=lambda name: (name.startswith("/"), [ranks[one] for one in lines[name]])))


def _line(name: str) -> Iterator[str]:
    """The ancestors of an actor from the top down, and itself; code outside the tree has none."""
    if name.startswith("/"):
        yield from (name[:end] for end, letter in enumerate(name) if letter == "/" and end)
    yield name


# Who waits for what, while a handler is at what: finds a wait or job whose events do not have its number.
_Key = int | tuple[str, int, int, str]


class _Builder:
    """What the events so far have told."""

    def __init__(self, begin_s: float) -> None:
        self.found = Spans(begin_s)
        self._messages: dict[int, Message] = {}
        self._at: dict[str, Handler] = {}  # the latest handler of each actor, ended or not
        self._waits: dict[_Key, list[WaitSpan]] = {}
        self._jobs: dict[_Key, list[Job]] = {}
        self._seen: dict[str, None] = {}
        self._take: dict[str, Callable[[TraceEvent], None]] = {
            "send": self._send,
            "receive": self._receive,
            "done": self._done,
            "reply": self._reply,
            "wait": self._wait,
            "wait_end": self._wait_end,
            "job": self._job,
            "job_end": self._job_end,
            "error": self._error,
            "drop": self._drop,
            "end": self._end,
        }
        self._take |= {kind: self._mark for kind in MARK_KINDS if kind not in self._take}

    def take_all(self, events: Iterable[TraceEvent]) -> None:
        take, seen, known = self._take, self._seen, self._at
        event = None
        for event in events:
            actor = event[2]
            if actor not in seen:
                seen[actor] = None
            # A handler that has begun before the trace is known by what happens in it.
            if event[5] and event[3] and actor not in known and event[1] != "reply":
                self._begin(actor, event[3], event[5], "", "", self.found.begin_s)
            if (step := take.get(event[1])) is not None:
                step(event)
        self.found.end_s = self.found.begin_s if event is None else event[0]

    def finish(self) -> Spans:
        found = self.found
        for handler in self._at.values():
            if handler.end_s is None and handler.answered_s is not None:
                handler.end_s = handler.answered_s  # what is refused has no end of its own
        found.messages = list(self._messages.values())
        found.jobs.sort(key=lambda job: job.asked_s)
        found.waits.sort(key=lambda wait: wait.begin_s)
        ends = dict.fromkeys(end for message in found.messages for end in (message.sender, message.receiver))
        ends.pop("", None)
        found.actors = tree_order(self._seen | ends)
        return found

    def _begin(
        self, actor: str, incarnation: int, msg_id: int, type_: str, sender: str, time_s: float
    ) -> Handler:
        handler = self._at[actor] = Handler(actor, incarnation, msg_id, type_, sender, time_s)
        self.found.handlers.append(handler)
        return handler

    def _send(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, msg_id, cause_id, type_, receiver, _, size, wait_id, _, _ = event
        self._messages[msg_id] = Message(
            msg_id, type_, actor, receiver, incarnation, cause_id, time_s, size=size, is_ask=wait_id != 0
        )

    def _receive(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, msg_id, _, type_, sender, _, size, _, limit_s, _ = event
        before = self._at.get(actor)
        if before is not None and before.end_s is None:
            refused = before.answered_s is not None
            before.end_s = before.answered_s if refused else time_s
            before.outcome = before.outcome or ("refused" if refused else "ended")
        handler = self._at[actor] = Handler(
            actor, incarnation, msg_id, type_, sender, time_s, limit_s=limit_s
        )
        self.found.handlers.append(handler)
        message = self._messages.get(msg_id)
        if message is None:
            message = self._messages[msg_id] = Message(msg_id, type_, sender, actor, size=size)
        message.sender, message.receiver = message.sender or sender, message.receiver or actor
        message.received_s = time_s

    def _done(self, event: TraceEvent) -> None:
        actor, msg_id = event[2], event[4]
        handler = self._at.get(actor)
        if handler is None:
            handler = self._begin(actor, event[3], msg_id, event[6], "", self.found.begin_s)
        if handler.msg_id == msg_id and handler.end_s is None:
            handler.end_s = event[0]
            handler.type = handler.type or event[6]
            if not handler.outcome:
                handler.outcome = "returned" if handler.answered_s is None else "answered"

    def _reply(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, msg_id, _, type_, to, _, size, _, _, _ = event
        handler = self._at.get(actor)
        if handler is None:
            handler = self._begin(actor, incarnation, msg_id, "", to, self.found.begin_s)
        if handler.msg_id == msg_id:
            handler.answered_s = time_s
        message = self._messages.get(msg_id)
        if message is None:
            message = self._messages[msg_id] = Message(msg_id, handler.type, to, actor)
        message.sender, message.receiver = message.sender or to, message.receiver or actor
        message.is_ask = True
        message.replied_s = time_s
        message.reply_type = type_
        message.reply_size = size

    def _wait(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, _, cause_id, target, reason, _, _, wait_id, limit_s, _ = event
        wait = WaitSpan(actor, incarnation, wait_id, cause_id, target, reason, time_s, limit_s=limit_s)
        self.found.waits.append(wait)
        self._waits.setdefault(wait_id or (actor, incarnation, cause_id, target), []).append(wait)

    def _wait_end(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, _, cause_id, target, outcome, _, _, wait_id, _, _ = event
        if open_ := self._waits.get(wait_id or (actor, incarnation, cause_id, target)):
            wait = open_.pop(0)
        else:
            wait = WaitSpan(actor, incarnation, wait_id, cause_id, target, "", self.found.begin_s)
            self.found.waits.append(wait)
        wait.end_s, wait.outcome = time_s, outcome
        message = self._messages.get(wait_id)
        if message is not None and message.is_ask and message.replied_s is not None:
            message.heard_s = time_s

    def _job(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, _, cause_id, name, _, _, _, wait_id, _, _ = event
        job = Job(actor, incarnation, cause_id, name, time_s, time_s, wait_id=wait_id)
        self.found.jobs.append(job)
        self._jobs.setdefault(wait_id or (actor, incarnation, cause_id, name), []).append(job)

    def _job_end(self, event: TraceEvent) -> None:
        time_s, _, actor, incarnation, _, cause_id, name, detail, _, _, wait_id, _, _ = event
        times = JobTimes.of(event)
        if open_ := self._jobs.get(wait_id or (actor, incarnation, cause_id, name)):
            job = open_.pop(0)
        else:
            took_s = times.queued_s + times.worked_s if times is not None else 0.0
            asked_s = max(self.found.begin_s, time_s - took_s)
            job = Job(actor, incarnation, cause_id, name, asked_s, asked_s, wait_id=wait_id)
            self.found.jobs.append(job)
        job.detail, job.end_s = detail, time_s
        job.left_behind = detail.startswith("left behind")
        if times is not None:
            # The times were measured apart from those of the events: nothing ends after it was taken.
            job.begin_s = min(time_s, job.asked_s + times.queued_s)
            job.end_s = min(time_s, job.begin_s + times.worked_s)

    def _error(self, event: TraceEvent) -> None:
        handler = self._at.get(event[2])
        if handler is not None and handler.msg_id == event[4] and handler.end_s is None:
            handler.outcome, handler.error = "failed", _words(event)
        self._mark(event)

    def _drop(self, event: TraceEvent) -> None:
        self._mark(event)
        time_s, _, actor, _, msg_id, _, type_, reason, _, _, _, _, _ = event
        handler = self._at.get(actor)
        if handler is not None and handler.msg_id == msg_id and handler.end_s is None:
            if reason.startswith("handler ended"):
                handler.outcome, handler.error = "ended", reason
            elif reason.startswith("refused"):
                handler.end_s, handler.outcome, handler.error = time_s, "refused", reason
        message = self._messages.get(msg_id)
        if message is None:
            message = self._messages[msg_id] = Message(msg_id, type_, "", "")
        message.lost_s, message.lost = time_s, reason

    def _end(self, event: TraceEvent) -> None:
        handler = self._at.get(event[2])
        if handler is not None and handler.end_s is None:
            handler.end_s, handler.outcome = event[0], handler.outcome or "ended"
            handler.error = handler.error or event[7]
        self._mark(event)

    def _mark(self, event: TraceEvent) -> None:
        mark = Mark(event[0], event[2], event[3], event[1], _words(event), event[4] or event[5])
        self.found.marks.append(mark)


def _words(event: TraceEvent) -> str:
    return f"{event.type}: {event.detail}" if event.type and event.detail else event.type or event.detail
