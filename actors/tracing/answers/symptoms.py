"""What a person asks about, found in a trace: a message, an actor, an error."""

from __future__ import annotations

import difflib
import itertools
from typing import TYPE_CHECKING, Final

from actors.tracing.answers.evidence import Moment, failed
from actors.tracing.answers.links import Below
from actors.tracing.answers.waiting import held_up
from actors.tracing.answers.words import clipped
from actors.tracing.events import TraceQueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.tracing.answers.evidence import Evidence, Message
    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["actor_named", "find"]

# In these kinds a word of an error may stand; they are rare, so most of a file need not be read for them.
ERROR_KINDS: Final = ("error", "end", "refuse", "drop", "full", "state", "blocked", "fault", "restart")
WAIT_KINDS: Final = ("wait_end", "job_end")
TROUBLE_KINDS: Final = ("error", "end", "refuse", "drop", "full")
NEAREST_MAX: Final = 3
SHOWN_MAX: Final = 8
# In so many of the latest events an actor's waits that came to nothing are looked for.
TROUBLE_LOOKS_MAX: Final = 50_000
# Code outside the tree has no errors of its own: so many of its latest waits may have ended in one.
ANSWERS_MAX: Final = 64
# A word is taken for a slip of the pen from this likeness on, without a search through all waits.
LIKENESS: Final = 0.75
# A program that is told so may go on, so no error may have this name in the trace.
SAID_AS: Final = {"mailboxfull": "full"}
ORDERLY: Final = ("stopped", "shutdown", "its parent ended")


def find(evidence: Evidence, symptom: str) -> Below:
    """What is to be explained: of a message its fate, of an actor its last trouble, of an error the newest.

    Raises:
        TraceQueryError: there is no such thing in the trace.
    """
    symptom = symptom.strip()
    if symptom.removeprefix("#").isdecimal():
        return _of_message(evidence, int(symptom.removeprefix("#")))
    actor = actor_named(evidence.trace, symptom)
    if actor:
        return _of_actor(evidence, actor)
    error = next(_with(evidence.trace, symptom, ERROR_KINDS), None) if symptom else None
    if error is None and symptom and not _near(evidence.trace, symptom):
        error = next(_with(evidence.trace, symptom, WAIT_KINDS), None)
    if error is None:
        raise TraceQueryError(_nothing(evidence.trace, symptom))
    if error.kind in {"state", "restart", "fault", "blocked"}:
        return Below("shown", Moment.of(error), error.actor, error)
    return Below.of(error)


def actor_named(trace: Trace, name: str) -> str:
    """The path of the actor with this path, or whose path ends so; empty when there is none.

    Raises:
        TraceQueryError: there are several.
    """
    if name in trace.actors:
        return name
    ending = "/" + name.strip("/")
    found = [actor for actor in trace.actors if actor.endswith(ending)] if name.strip("/") else []
    if len(found) > 1:
        raise TraceQueryError(f"{name!r} is the name of {len(found)} actors: {_listed(found)}")
    return found[0] if found else ""


def _of_message(evidence: Evidence, number: int) -> Below:
    message = evidence.message(number)
    if not message.known:
        raise TraceQueryError(f"no message {number} in this trace: {_numbers(evidence.trace)}")
    return _trouble_of(evidence, message) or _fate_of(evidence, message)


def _trouble_of(evidence: Evidence, message: Message) -> Below | None:
    if message.wait_end is not None and evidence.in_vain(message.wait_end):
        return Below.of(message.wait_end, message.number)
    for event in (message.error, message.drop):
        if event is not None:
            return Below.of(event)
    return None


def _fate_of(evidence: Evidence, message: Message) -> Below:
    """Of a message that nothing went wrong with so far: still under way, or done."""
    if message.wait is not None and message.wait_end is None:
        return Below("wait", evidence.end, message.wait.actor, message.wait, message.number)
    shown = message.done or message.wait_end or message.full or message.receive or message.send
    if shown is None:
        shown = message.reply or message.refuse or message.wait
    if shown is None:
        raise TraceQueryError(f"of message {message.number} the trace has nothing that can be told")
    if message.done is None and message.reply is None and message.receiver:
        return Below("underway", evidence.end, message.receiver, shown, message.number)
    return Below("shown", Moment.of(shown), shown.actor, shown, message.number)


def _of_actor(evidence: Evidence, actor: str) -> Below:
    """Its open wait, or else what went wrong with it last; what it does now when nothing did."""
    waits = evidence.open_waits(evidence.end, actor)
    trouble = _trouble_in(evidence.trace, actor)
    if not actor.startswith("/"):
        trouble = _failed_answer(evidence, actor, trouble)
    if trouble is None or (waits and waits[0].time_s >= trouble.time_s):
        held = held_up(evidence, waits, evidence.end)
        if held is not None:
            return held
    if trouble is not None:
        return Below.of(trouble)
    ended = next(evidence.before(evidence.end, (actor,), ("end", "start")), None)
    if ended is not None and ended.kind == "end":
        return Below.of(ended)
    return Below("doing", evidence.end, actor)


def _trouble_in(trace: Trace, actor: str) -> TraceEvent | None:
    """The newest event that shows that something went wrong with an actor."""
    rare = next(filter(_is_trouble, trace.select(actors={actor}, kinds=TROUBLE_KINDS, backwards=True)), None)
    waits = trace.select(
        actors={actor}, kinds=WAIT_KINDS, backwards=True, looks_max=TROUBLE_LOOKS_MAX,
        since_s=rare.time_s if rare is not None else trace.begin_s,
    )  # fmt: skip
    vain = next(filter(_is_trouble, waits), None)
    return vain if rare is None or (vain is not None and vain.time_s > rare.time_s) else rare


def _is_trouble(event: TraceEvent) -> bool:
    if event.kind == "end":
        return not event.detail.startswith(ORDERLY)
    if event.kind == "wait_end":
        return failed(event) and event.detail != "given up"
    if event.kind == "drop":  # what is left unread at an end is no trouble of its own
        return event.detail not in {"actor ended", "actor stopping"}
    return event.kind != "job_end" or event.detail.startswith("left behind")


def _failed_answer(evidence: Evidence, actor: str, trouble: TraceEvent | None) -> TraceEvent | None:
    """The latest wait that ended in an error as its answer, if it is newer than other trouble."""
    waits = evidence.before(evidence.end, (actor,), ("wait_end",))
    for wait in itertools.islice(waits, ANSWERS_MAX):
        if trouble is not None and wait.time_s < trouble.time_s:
            break
        if evidence.in_vain(wait):
            return wait
    return trouble


def _with(trace: Trace, text: str, kinds: tuple[str, ...]) -> Iterator[TraceEvent]:
    wanted = text.casefold()
    wanted = SAID_AS.get(wanted, wanted)
    for event in trace.select(kinds=kinds, backwards=True):
        if event.kind in {"state", "restart"} and not event.detail:
            continue
        if event.kind == "job_end" and event.detail.startswith("queued "):
            continue  # one that went well
        if wanted == event.kind or wanted in event.type.casefold() or wanted in event.detail.casefold():
            yield event


def _near(trace: Trace, symptom: str) -> list[str]:
    """Actors and errors that are nearly named so."""
    errors = {
        event.type for event in trace.select(kinds={"error"}, backwards=True, looks_max=TROUBLE_LOOKS_MAX)
    }
    names = {name: actor for actor in trace.actors for name in (actor, actor.rpartition("/")[2])}
    names |= {error: error for error in errors}
    return [names[name] for name in difflib.get_close_matches(symptom, names, NEAREST_MAX, LIKENESS)]


def _nothing(trace: Trace, symptom: str) -> str:
    """What there is instead."""
    said = f"no actor and no error is named {symptom!r} in this trace"
    near = _near(trace, symptom)
    if near:
        return f"{said}: nearest {_listed(near)}"
    if not trace.actors:
        return f"{said}: it is empty"
    errors = [event.type for event in trace.select(kinds={"error"}, backwards=True)]
    there = f"its actors: {_listed(list(trace.actors))}"
    return f"{said}; {there}; " + (f"its errors: {_listed(errors)}" if errors else "it has no errors")


def _listed(names: list[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return ", ".join(clipped(name) for name in names[:SHOWN_MAX]) + more


def _numbers(trace: Trace) -> str:
    first = next(trace.select(kinds={"send"}), None)
    last = next(trace.select(kinds={"send"}, backwards=True), None)
    if first is None or last is None:
        return "it has no messages"
    return f"it has messages from {first.msg_id} to {last.msg_id}"
