"""What errors, ends, refusals and lost messages follow from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from actors.tracing.answers.evidence import SOON_S, Moment, failed
from actors.tracing.answers.links import Below, Link, through
from actors.tracing.answers.tables import duration
from actors.tracing.answers.waiting import held_loop
from actors.tracing.answers.words import clipped, message_name

if TYPE_CHECKING:
    from actors.tracing.answers.evidence import Evidence, Message
    from actors.tracing.events import TraceEvent

__all__ = [
    "explain_drop",
    "explain_end",
    "explain_error",
    "explain_full",
    "explain_refuse",
    "explain_reply",
    "explain_shown",
    "explain_under_way",
]

# Errors that only pass on what has gone wrong below, so that their text says nothing of its own.
PASSED_ON: Final = frozenset({"AskFailed", "ActorDown", "Expired", "EpochFailed", "TimeoutError"})
REFUSALS: Final = frozenset(
    {"WrongState", "NotHandled", "MailboxFull", "UpwardAsk", "InsideTree", "WaitCycle", "Refused"}
    | {"SpawnOutsideParent", "SystemClosed", "JobsExhausted", "IllegalTransition"}
)
# With these an actor refuses what it is sent; the others are refused to whoever sends.
BY_CONTRACT: Final = frozenset({"WrongState", "NotHandled"})
ORDERLY_ENDS: Final = ("stopped", "shutdown")
_LOST: Final = re.compile(r"(/[^\s:]+) is lost")
_GONE: Final = re.compile(r"(/[^\s:]+) is (?:gone|stopping|down)")


def explain_error(evidence: Evidence, below: Below) -> Link:
    """A handler that raised, or a message that the actor's contract does not take."""
    error = below.proof
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
    """What an error in a handler follows from: what went wrong below it last, if it did not go on then."""
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


def explain_reply(_evidence: Evidence, below: Below) -> Link:
    """An answer that was an error, of which nothing else is left."""
    text = (
        f"{below.actor} answered message {below.number} with an error, of which the trace does not say more"
    )
    return Link(text, "failed", below.actor, below.event, below.number)


def explain_end(evidence: Evidence, below: Below) -> Link:
    """The end of an incarnation."""
    end = below.proof
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
    elif (fault := evidence.latest(Moment.of(end), end.actor, "fault", "start")) is not None:
        done_to_it = fault.kind == "fault" and fault.time_s >= end.time_s - SOON_S
        cause = Below("shown", Moment.of(fault), end.actor, fault) if done_to_it else None
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
    for wait in evidence.ends_awaited(end):
        return f" by {wait.actor}" + (f" in message {wait.cause_id}" if wait.cause_id else "")
    return ""


def explain_drop(evidence: Evidence, below: Below) -> Link:
    """A dead letter."""
    drop = below.proof
    message = evidence.message(drop.msg_id)
    receiver = message.receiver or (drop.actor if drop.detail.startswith("handler ended") else "")
    name = message_name(drop.msg_id, message.tag or drop.type)
    at = Moment.of(drop)
    cause: Below | None = None
    if drop.detail.startswith("refused") and message.error is not None:
        cause = Below.of(message.error)
    elif drop.detail in {"no such actor", "actor stopping", "actor ended"}:
        ended = evidence.latest(at, receiver, "end") or evidence.next_of(at, receiver, "end")
        cause = Below.of(ended) if ended is not None else None
    elif message.wait_end is not None and failed(message.wait_end):
        return through(Below.of(message.wait_end))
    elif receiver and drop.detail in {
        "mailbox full",
        "dropped as the oldest",
        "handler ended: its deadline passed",
    }:
        cause = Below("doing", at, receiver, drop, drop.msg_id)
    to = f" to {receiver}" if receiver and receiver not in drop.detail else ""
    sender = message.sender or (drop.actor if drop.actor != receiver else "")
    text = f"{name}{f' from {sender}' if sender else ''}{to} was lost: {drop.detail}"
    kind = "full" if "full" in drop.detail or "oldest" in drop.detail else "dropped"
    return Link(text, kind, drop.actor, drop, drop.msg_id, drop.type, receiver=receiver, below=cause)


def explain_refuse(evidence: Evidence, below: Below) -> Link:
    """A request that was not admitted."""
    refuse = below.proof
    at, cause = Moment.of(refuse), None
    gone = _GONE.search(refuse.detail)
    if gone is not None:
        ended = evidence.latest(at, gone[1], "end")
        cause = Below.of(ended) if ended is not None else None
    text = f"{refuse.actor} was refused {refuse.type or 'to wait'}: {clipped(refuse.detail)}"
    receiver = gone[1] if gone is not None else ""
    return Link(
        text, "refused", refuse.actor, refuse, refuse.cause_id, refuse.type, receiver=receiver, below=cause
    )


def explain_full(_evidence: Evidence, below: Below) -> Link:
    """A mailbox without room."""
    full = below.proof
    receiver = full.detail.split(" ", 1)[0]
    name = message_name(full.msg_id, full.type)
    text = f"{name} from {full.actor} found the mailbox of {receiver} full: {clipped(full.detail)}"
    cause = Below("doing", Moment.of(full), receiver, full, full.msg_id)
    return Link(text, "full", full.actor, full, full.msg_id, full.type, receiver=receiver, below=cause)


def explain_shown(evidence: Evidence, below: Below) -> Link:
    """Something with which nothing is wrong, or of which the trace does not know what it follows from."""
    event, message = below.proof, evidence.message(below.number)
    if event.kind == "blocked":
        return held_loop(event)
    if event.kind == "fault":
        text = f"the simulation did this to {event.actor}: {clipped(event.detail)}"
        return Link(text, "fault", event.actor, event)
    if event.kind == "state":
        error = evidence.next_of(below.at, event.actor, "error", "receive")
        cause = Below.of(error) if error is not None and error.kind == "error" else None
        return Link(
            f"{event.actor} is {event.type}: {clipped(event.detail)}",
            "failed",
            event.actor,
            event,
            below=cause,
        )
    if not message.known:
        return Link(f"{event.actor} {event.kind}: {clipped(event.detail)}", "unknown", event.actor, event)
    waited = message.wait or message.wait_end
    if not message.receiver and waited is not None:  # the number of a wait that is for no message
        what = f"wait {message.number}: {waited.actor} waited for {waited.type}, without trouble"
        return Link(what, "well", event.actor, event)
    return _went_well(event, message)


def _went_well(event: TraceEvent, message: Message) -> Link:
    name = f"{message_name(message.number, message.tag)} from {message.sender} to {message.receiver}"
    ended = message.done or message.reply
    if ended is None or message.receive is None:
        return Link(f"{name} shows no trouble in this trace", "well", event.actor, event, message.number)
    took = duration(ended.time_s - message.receive.time_s)
    return Link(
        f"{name} went well: it was handled in {took}", "well", event.actor, event, message.number, message.tag
    )


def explain_under_way(evidence: Evidence, below: Below) -> Link:
    """A message that nobody waits for and that is not done at the end."""
    message = evidence.message(below.number)
    since_s = message.since_s if message.since_s is not None else below.at.time_s
    stands = "is being handled" if message.receive is not None else "has not been read"
    what = f"{message_name(message.number, message.tag)} from {message.sender} to {message.receiver}"
    text = f"{what} {stands}, {duration(below.at.time_s - since_s)} after it was sent"
    cause = Below("doing", below.at, message.receiver, below.event, message.number)
    return Link(text, "waiting", message.sender, below.event, message.number, message.tag, below=cause)
