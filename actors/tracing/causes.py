"""From a symptom down to its root: what each kind of trouble follows from.

Each function below explains one kind of trouble, and names what to explain next; `EXPLAIN` is the table of
them. All are pure: evidence in, a link out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from actors.tracing.evidence import SOON_S, Moment, blocked_s, failed
from actors.tracing.words import clipped, message_name, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.tracing.events import TraceEvent
    from actors.tracing.evidence import Evidence, Message

__all__ = ["LINKS_MAX", "Below", "Link", "chain", "held_up", "job_words"]

LINKS_MAX: Final = 32
# A loop that was blocked for this part of a wait is what the wait came to nothing for.
BLOCKED_SHARE: Final = 0.5
# Errors that only pass on what has gone wrong below, so that their text says nothing of its own.
PASSED_ON: Final = frozenset({"AskFailed", "ActorDown", "Expired", "EpochFailed", "TimeoutError"})
REFUSALS: Final = frozenset(
    {"WrongState", "NotHandled", "MailboxFull", "UpwardAsk", "InsideTree", "WaitCycle", "Refused"}
    | {"SpawnOutsideParent", "SystemClosed", "JobsExhausted", "IllegalTransition"}
)
# With these an actor refuses what it is sent; the others are refused to whoever sends.
BY_CONTRACT: Final = frozenset({"WrongState", "NotHandled"})
ORDERLY_ENDS: Final = ("stopped", "shutdown")
_PROGRESS: Final = re.compile(r"progress: (.*?)(?=[;,] at \S+:\d+ in |$)")
_PLACE: Final = re.compile(r"at (\S+:\d+ in \S+)")
_LOST: Final = re.compile(r"(/[^\s:]+) is lost")
_GONE: Final = re.compile(r"(/[^\s:]+) is (?:gone|stopping|down)")


@dataclass(frozen=True, slots=True)
class Below:
    """What is to be explained next.

    Attributes:
        kind: of the trouble, a key of `EXPLAIN`.
        at: the moment for which it is asked.
        actor: who has it.
        event: the event that shows it, None when no single one does.
        number: the message whose handler or fate it is about, 0 for none.
    """

    kind: str
    at: Moment
    actor: str
    event: TraceEvent | None = None
    number: int = 0

    @classmethod
    def of(cls, event: TraceEvent, number: int = 0, kind: str = "") -> Below:
        """The trouble that an event shows."""
        return cls(kind or event.kind, Moment.of(event), event.actor, event, number or event.msg_id)


@dataclass(frozen=True, slots=True)
class Link:
    """One member of a chain of causes.

    Attributes:
        text: what happened, as a clause.
        kind: `expired`, `given_up`, `down`, `failed`, `refused`, `ended`, `dropped`, `full`, `waiting`, `job`,
            `blocked`, `busy`, `idle` or `unknown`.
        actor: to whom.
        event: which shows it; None when nothing in the trace does.
        msg_id: the message it is about, 0 for none.
        type: tag of that message, name of the job, class of the error.
        limit_s: seconds that were given, 0 for no such thing.
        lasted_s: seconds that it lasted.
        receiver: the other one, if there is one: who was asked, told or waited for.
        below: what it follows from; None at the root.
    """

    text: str
    kind: str
    actor: str
    event: TraceEvent | None = None
    msg_id: int = 0
    type: str = ""
    limit_s: float = 0.0
    lasted_s: float = 0.0
    receiver: str = ""
    below: Below | None = None


def chain(evidence: Evidence, symptom: Below) -> list[Link]:
    """The links from a symptom to its root, at most `LINKS_MAX`."""
    links: list[Link] = []
    seen: set[tuple[str, str, int, TraceEvent | None]] = set()
    below: Below | None = symptom
    while below is not None and len(links) < LINKS_MAX:
        key = (below.kind, below.actor, below.number, below.event)
        if key in seen:
            break
        seen.add(key)
        link = EXPLAIN[below.kind](evidence, below)
        if link.text:
            links.append(link)
        below = link.below
    return links


def job_words(name: str, actor: str, job_end: TraceEvent | None, lasted_s: float) -> str:
    """What became of a job, with the last that is known of it."""
    who = f"job {name} of {actor}"
    if job_end is None:
        return f"{who} had been at work for {seconds(lasted_s)}"
    if not job_end.detail:
        return f"{who} was never begun in {seconds(lasted_s)}: no thread was free"
    if not job_end.detail.startswith("left behind"):
        return f"{who} took {seconds(lasted_s)}"
    progress, place = _PROGRESS.search(job_end.detail), _PLACE.search(job_end.detail)
    words = f"{who} was abandoned after {seconds(lasted_s)}"
    if progress is not None:
        words += f"; its last progress: {progress[1]}"
    if place is not None:
        words += f"{',' if progress is not None else ';'} at {place[1]}"
    return words


def _wait_end(evidence: Evidence, below: Below) -> Link:
    """An ended wait that brought nothing."""
    end = below.event
    assert end is not None
    message = evidence.message(end.wait_id)
    if end.type.startswith("job "):
        return _job(evidence, message.wait or end, end)
    if message.send is None:
        return _other_wait(evidence, end, message)
    if not failed(end):
        return Link("", "", end.actor, below=_answer_below(message, end))
    return _ask_end(evidence, end, message)


def _answer_below(message: Message, end: TraceEvent) -> Below | None:
    """An answer that was an error: the error behind it."""
    if message.error is not None:
        return Below.of(message.error)
    return Below("reply", Moment.of(end), message.receiver, message.reply, message.number)


def _ask_end(evidence: Evidence, end: TraceEvent, message: Message) -> Link:
    name, target = message_name(message.number, message.tag), message.receiver
    lasted_s = end.time_s - message.since_s if message.since_s is not None else message.limit_s
    limit_s = message.limit_s or lasted_s
    at = Moment.of(end)
    what = f"{name} from {end.actor} to {target}"
    if end.detail == "ActorDown":
        ended = evidence.latest(at, target, "end")
        text, kind = f"{what} was lost with {target}", "down"
        below = Below.of(ended) if ended else Below("doing", at, target, number=message.number)
    elif end.detail in {"Expired", "given up"}:
        expired = end.detail == "Expired"
        text = f"{what} expired after {seconds(limit_s)}"
        if not expired:
            text = f"{what} was given up after {seconds(lasted_s)}"
        kind = "expired" if expired else "given_up"
        below = Below("doing", at, target, end, message.number)
    else:
        text, kind = f"{what} ended in {end.detail}", "refused"
        below = Below.of(message.full) if message.full else Below("doing", at, target, end, message.number)
    return Link(
        text, kind, end.actor, end, message.number, message.tag, limit_s, lasted_s, target, below
    )  # fmt: skip


def _other_wait(evidence: Evidence, end: TraceEvent, message: Message) -> Link:
    """A wait for a start, an end, an epoch, something foreign, or one of which the beginning is not known."""
    begin = message.wait or evidence.latest(Moment.of(end), end.actor, "wait")
    begin = begin if begin is not None and begin.type == end.type else None
    reason = begin.detail if begin is not None else "a wait"
    lasted_s = end.time_s - begin.time_s if begin is not None else 0.0
    limit_s = begin.limit_s if begin is not None else end.limit_s
    what = f"{end.actor} waited for {end.type} ({reason})"
    if end.detail == "Expired":
        text, kind = f"{what} until its {seconds(limit_s or lasted_s)} were over", "expired"
    elif end.detail == "given up":
        text, kind = f"{what} and gave up after {seconds(lasted_s)}", "given_up"
    else:
        text, kind = f"{what}, which ended in {end.detail}", "failed"
    below = None
    if end.type.startswith("/"):
        ended = evidence.latest(Moment.of(end), end.type, "end") if end.detail == "ActorDown" else None
        below = Below.of(ended) if ended else Below("doing", Moment.of(end), end.type, end)
    return Link(
        text, kind, end.actor, end, 0, reason, limit_s or lasted_s, lasted_s, end.type, below
    )  # fmt: skip


def _job(evidence: Evidence, wait: TraceEvent, end: TraceEvent | None, at: Moment | None = None) -> Link:
    name = wait.type.removeprefix("job ")
    job_end = evidence.job_end_of(wait)
    end = end or job_end
    if wait.kind == "wait_end":  # its beginning is not in the trace
        lasted_s = wait.limit_s
    else:
        end_s = end.time_s if end is not None else at.time_s if at is not None else evidence.end.time_s
        lasted_s = end_s - wait.time_s
    raised = end is not None and failed(end) and end.detail not in {"Expired", "given up"}
    text = job_words(name, wait.actor, job_end, lasted_s)
    if raised and end is not None:
        text = f"job {name} of {wait.actor} raised {end.detail}"
    shown = job_end or end or wait
    return Link(text, "job", wait.actor, shown, wait.cause_id, name, wait.limit_s, lasted_s)


def _error(evidence: Evidence, below: Below) -> Link:
    error = below.event
    assert error is not None
    message = evidence.message(error.msg_id)
    tag = message.tag
    name = message_name(error.msg_id, tag) if error.msg_id else "a hook"
    if error.type in BY_CONTRACT and error.msg_id and error.detail.startswith(f"{error.actor} "):
        refused = f"{error.actor} refused {name} with {error.type}: {clipped(error.detail)}"
        cause = _cause_of(evidence, error)
        return Link(refused, "refused", error.actor, error, error.msg_id, error.type, below=cause)
    cause = _cause_of(evidence, error)
    said = clipped(error.detail.removeprefix(f"{error.type}: "))
    said = f": {said}" if said and (cause is None or not _only_passed_on(error, cause)) else ""
    text = f"{error.actor} failed with {error.type}{said} while handling {name}"
    if not error.msg_id:
        text = f"{error.actor} failed with {error.type}{said}"
    return Link(text, "failed", error.actor, error, error.msg_id, error.type, below=cause)


def _only_passed_on(error: TraceEvent, cause: Below) -> bool:
    """Whether an error says nothing that the link below does not say."""
    if cause.event is not None and error.detail in cause.event.detail:
        return True
    return error.type in PASSED_ON and not error.detail.startswith("epoch ")


def _cause_of(evidence: Evidence, error: TraceEvent) -> Below | None:
    """What an error in a handler follows from: what went wrong below it last, if it did not go on after it."""
    newest = None
    for trouble in evidence.failed_below(error):
        newest = newest or trouble
        named = trouble.type in error.detail if trouble.type else False
        if trouble.kind != "wait_end":
            named = named or error.detail == trouble.detail or error.type in REFUSALS
        if named:
            return Below.of(trouble)
    if newest is None or not (error.type in PASSED_ON or _went_no_further(evidence, newest, error)):
        return None
    return Below.of(newest)


def _went_no_further(evidence: Evidence, trouble: TraceEvent, error: TraceEvent) -> bool:
    """Whether a handler began nothing new between what went wrong below it and its own error."""
    for event in evidence.before(Moment.of(error), (error.actor,), ("send", "wait", "job", trouble.kind)):
        if event == trouble or event.time_s < trouble.time_s:
            return True
        if event.kind in {"send", "wait", "job"}:
            return False
    return False


def _reply(_evidence: Evidence, below: Below) -> Link:
    text = f"{below.actor} answered message {below.number} with an error, of which the trace does not say more"
    return Link(text, "failed", below.actor, below.event, below.number)


def _end(evidence: Evidence, below: Below) -> Link:
    end = below.event
    assert end is not None
    life = f"{end.actor} (life {end.incarnation})" if end.incarnation > 1 else end.actor
    error = _error_behind(evidence, end)
    if error is not None:
        return Link(f"{life} ended", "ended", end.actor, end, 0, end.type, below=Below.of(error))
    cause = None
    if (lost := _LOST.search(end.detail)) is not None:
        child = evidence.latest(Moment.of(end), lost[1], "end")
        cause = Below.of(child) if child is not None else None
    elif "its parent ended" in end.detail:
        parent = evidence.next_of(Moment.of(end), end.actor.rpartition("/")[0], "end")
        cause = Below.of(parent) if parent is not None else None
    stopper = _stopper(evidence, end) if end.detail.startswith(ORDERLY_ENDS) else ""
    text = f"{life} ended: {clipped(end.detail)}{stopper}"
    return Link(text, "ended", end.actor, end, 0, end.type, below=cause)


def _error_behind(evidence: Evidence, end: TraceEvent) -> TraceEvent | None:
    """The error of the handler with which an actor ended."""
    event = evidence.latest(Moment.of(end), end.actor, "error", "start")
    if event is None or event.kind != "error" or event.incarnation != end.incarnation:
        return None
    return event if end.detail.startswith(event.type) else None


def _stopper(evidence: Evidence, end: TraceEvent) -> str:
    for wait in evidence.trace.select(
        kinds={"wait"}, until_s=end.time_s, backwards=True, looks_max=10_000
    ):  # fmt: skip
        if wait.type == end.actor and wait.detail == "its end":
            return f" by {wait.actor}" + (f" in message {wait.cause_id}" if wait.cause_id else "")
    return ""


def _drop(evidence: Evidence, below: Below) -> Link:
    drop = below.event
    assert drop is not None
    message = evidence.message(drop.msg_id)
    receiver = message.receiver
    name = message_name(drop.msg_id, message.tag or drop.type)
    at = Moment.of(drop)
    cause: Below | None = None
    if drop.detail.startswith("refused") and message.error is not None:
        cause = Below.of(message.error)
    elif drop.detail in {"no such actor", "actor stopping", "actor ended"}:
        ended = evidence.latest(at, receiver, "end") or evidence.next_of(at, receiver, "end")
        cause = Below.of(ended) if ended is not None else None
    elif message.wait_end is not None and failed(message.wait_end):
        return Link("", "", drop.actor, below=Below.of(message.wait_end))
    elif drop.detail in {"mailbox full", "dropped as the oldest", "handler ended: its deadline passed"}:
        cause = Below("doing", at, receiver, drop, drop.msg_id)
    to = f" to {receiver}" if receiver and receiver not in drop.detail else ""
    text = f"{name} from {message.sender or drop.actor}{to} was lost: {drop.detail}"
    kind = "full" if "full" in drop.detail or "oldest" in drop.detail else "dropped"
    return Link(text, kind, drop.actor, drop, drop.msg_id, drop.type, receiver=receiver, below=cause)


def _refuse(evidence: Evidence, below: Below) -> Link:
    refuse = below.event
    assert refuse is not None
    at, cause = Moment.of(refuse), None
    gone = _GONE.search(refuse.detail)
    if gone is not None:
        ended = evidence.latest(at, gone[1], "end")
        cause = Below.of(ended) if ended is not None else None
    text = f"{refuse.actor} was refused {refuse.type or 'to wait'}: {clipped(refuse.detail)}"
    receiver = gone[1] if gone is not None else ""
    return Link(
        text, "refused", refuse.actor, refuse, refuse.cause_id, refuse.type, receiver=receiver, below=cause
    )  # fmt: skip


def _full(evidence: Evidence, below: Below) -> Link:
    full = below.event
    assert full is not None
    receiver = full.detail.split(" ", 1)[0]
    name = message_name(full.msg_id, full.type)
    text = f"{name} from {full.actor} found the mailbox of {receiver} full: {clipped(full.detail)}"
    cause = Below("doing", Moment.of(full), receiver, full, full.msg_id)
    return Link(text, "full", full.actor, full, full.msg_id, full.type, receiver=receiver, below=cause)


def _open(evidence: Evidence, below: Below) -> Link:
    """A wait that was under way at a moment."""
    wait, at = below.event, below.at
    assert wait is not None
    lasted_s = at.time_s - wait.time_s
    if wait.type.startswith("job "):
        return _job(evidence, wait, evidence.end_of(wait), at)
    message = evidence.message(wait.wait_id)
    if message.send is not None:
        name = message_name(message.number, message.tag)
        what = f"{wait.actor} was waiting for {message.receiver} to answer {name}, for {seconds(lasted_s)}"
        below = Below("doing", at, message.receiver, below.event, message.number)
        return Link(
            what, "waiting", wait.actor, wait, message.number, message.tag,
            message.limit_s, lasted_s, message.receiver, below,
        )  # fmt: skip
    what = f"{wait.actor} was waiting for {wait.type} ({wait.detail}), for {seconds(lasted_s)}"
    cause = Below("doing", at, wait.type, wait) if wait.type.startswith("/") else None
    return Link(
        what, "waiting", wait.actor, wait, 0, wait.detail, wait.limit_s, lasted_s, wait.type, cause
    )  # fmt: skip


def _doing(evidence: Evidence, below: Below) -> Link:
    """What an actor was doing at a moment at which somebody had waited for it in vain."""
    actor, at, message = below.actor, below.at, evidence.message(below.number)
    since_s = message.since_s if message.since_s is not None else at.time_s
    blocked = _blocked(evidence, since_s, at.time_s)
    if blocked is not None:
        return blocked
    if message.full is not None and message.receive is None and below.event is not message.full:
        return _full(evidence, Below.of(message.full))
    last = evidence.handling(at, actor)
    if last is not None and (cut := _just_cut_off(evidence, last, at)) is not None:
        below, at, last = replace(below, at=Moment.of(last)), Moment.of(last), cut
    if last is None:
        return Link(f"nothing is known of {actor} at that time", "unknown", actor)
    if last.kind in {"end", "restart"}:
        ended = last if last.kind == "end" else evidence.latest(Moment.of(last), actor, "end")
        return _end(evidence, Below.of(ended or last))
    unread = message.receive is None and message.known
    if last.kind == "done" or (last.kind == "start" and not evidence.open_waits(at, actor)):
        return _idle(actor, at, last, message, unread=unread)
    return _busy(evidence, below, last, unread=unread and last.msg_id != message.number)


def _just_cut_off(evidence: Evidence, last: TraceEvent, at: Moment) -> TraceEvent | None:
    """The beginning of a handler that ended just now without an answer: with the wait for it, not before."""
    if last.kind != "done" or last.time_s < at.time_s - SOON_S:
        return None
    message = evidence.message(last.msg_id)
    return message.receive if message.drop is not None and message.reply is None else None


def _blocked(evidence: Evidence, since_s: float, until_s: float) -> Link | None:
    found = evidence.blocked_during(since_s, until_s)
    if found is None:
        return None
    event, overlap_s = found
    return _held_loop(event) if overlap_s >= BLOCKED_SHARE * (until_s - since_s) else None


def _held_loop(event: TraceEvent) -> Link:
    place = _PLACE.search(event.detail)
    where = f" at {place[1]}" if place is not None else ""
    text = f"{event.actor} blocked the event loop for {seconds(blocked_s(event))}{where}"
    return Link(text, "blocked", event.actor, event, lasted_s=blocked_s(event))


def _idle(actor: str, at: Moment, last: TraceEvent, message: Message, *, unread: bool) -> Link:
    idle = f"{actor} had been idle for {seconds(at.time_s - last.time_s)}"
    if last.kind == "start":
        idle += " since its start"
    if unread:
        idle += f", and had not read {message_name(message.number, message.tag)}"
    return Link(idle, "idle", actor, last, last.msg_id, last.type)


def _busy(evidence: Evidence, below: Below, last: TraceEvent, *, unread: bool) -> Link:
    """An actor at work on a message: with what it is held up, and for whom it waits if it does."""
    actor, at = below.actor, below.at
    lasted_s = at.time_s - last.time_s
    waits = [wait for wait in evidence.open_waits(at, actor) if wait.incarnation == last.incarnation]
    cause = held_up(evidence, waits, at)
    name = message_name(last.msg_id, last.type) if last.kind == "receive" else "its start"
    if not unread and cause is not None:
        return Link("", "", actor, below=cause)
    if unread:
        text = f"{actor} had not read it, because it was at {name} for {seconds(lasted_s)}"
    else:
        text = f"{actor} was still at {name}, for {seconds(lasted_s)}"
        text += "" if cause else ", and waited for nothing that the trace knows"
    return Link(
        text, "busy", actor, last, last.msg_id, last.type, last.limit_s, lasted_s, below=cause
    )  # fmt: skip


def held_up(evidence: Evidence, waits: list[TraceEvent], at: Moment) -> Below | None:
    """Of the waits of one actor the one that held it up: a job before an answer, begun before queued."""
    if not waits:
        return None

    def weight(wait: TraceEvent) -> tuple[bool, bool, float]:
        message = evidence.message(wait.wait_id)
        job = wait.type.startswith("job ")
        received = message.received_s is not None and message.received_s <= at.time_s
        return (job, received, -wait.time_s)

    held = max(waits, key=weight)
    return Below("wait", at, held.actor, held, held.wait_id)


def _shown(evidence: Evidence, below: Below) -> Link:
    """Something with which nothing is wrong, or of which the trace does not know what it follows from."""
    event, message = below.event, evidence.message(below.number)
    assert event is not None
    if event.kind == "blocked":
        return _held_loop(event)
    if event.kind == "state":
        error = evidence.next_of(below.at, event.actor, "error", "receive")
        cause = Below.of(error) if error is not None and error.kind == "error" else None
        return Link(f"{event.actor} is {event.type}: {clipped(event.detail)}", "failed", event.actor, event, below=cause)
    if not message.known:
        return Link(f"{event.actor} {event.kind}: {clipped(event.detail)}", "unknown", event.actor, event)
    name = f"{message_name(message.number, message.tag)} from {message.sender} to {message.receiver}"
    ended = message.done or message.reply
    if ended is None or message.receive is None:
        return Link(f"{name} shows no trouble in this trace", "well", event.actor, event, message.number)
    took = seconds(ended.time_s - message.receive.time_s)
    return Link(f"{name} went well: it was handled in {took}", "well", event.actor, event, message.number, message.tag)


def _under_way(evidence: Evidence, below: Below) -> Link:
    """A message that nobody waits for and that is not done at the end."""
    message = evidence.message(below.number)
    since_s = message.since_s if message.since_s is not None else below.at.time_s
    stands = "is being handled" if message.receive is not None else "has not been read"
    what = f"{message_name(message.number, message.tag)} from {message.sender} to {message.receiver}"
    text = f"{what} {stands}, {seconds(below.at.time_s - since_s)} after it was sent"
    cause = Below("doing", below.at, message.receiver, below.event, message.number)
    return Link(text, "waiting", message.sender, below.event, message.number, message.tag, below=cause)


EXPLAIN: Final[Mapping[str, Callable[[Evidence, Below], Link]]] = {
    "wait_end": _wait_end,
    "wait": _open,
    "error": _error,
    "reply": _reply,
    "end": _end,
    "drop": _drop,
    "refuse": _refuse,
    "full": _full,
    "doing": _doing,
    "shown": _shown,
    "underway": _under_way,
}
