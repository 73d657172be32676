"""What waits came to nothing for: how they ended, and what was done meanwhile by whoever was waited for."""

from __future__ import annotations

import itertools
import operator
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from actors.tracing.answers.evidence import LOOKS_MAX, SOON_S, Moment, failed
from actors.tracing.answers.links import Below, Link, through
from actors.tracing.answers.tables import duration
from actors.tracing.answers.tally import blockage
from actors.tracing.answers.words import message_name
from actors.tracing.reading import ALL

if TYPE_CHECKING:
    from actors.tracing.answers.evidence import Evidence, Message
    from actors.tracing.events import TraceEvent

__all__ = ["doing", "ended_wait", "explain_job", "held_loop", "held_up", "open_wait"]

# A loop that was blocked for this part of a wait is what the wait came to nothing for.
BLOCKED_SHARE: Final = 0.5
# A message is read at once by whoever has nothing else to do. Below this, a machine may have been busy.
SILENT_S: Final = 0.05
# What is newer may not be in the file yet.
UNWRITTEN_S: Final = 2.0
_PROGRESS: Final = re.compile(r"progress: (.*?)(?=[;,] at \S+:\d+ in |$)")
_PLACE: Final = re.compile(r"at (\S+:\d+ in \S+)")


def ended_wait(evidence: Evidence, below: Below) -> Link:
    """An ended wait that brought nothing."""
    end = below.proof
    message = evidence.message(end.wait_id)
    if end.type.startswith("job "):
        return _job(evidence, message.wait, Moment.of(end)) if message.wait else _job_of_old(evidence, end)
    if message.send is None:
        return _other_wait(evidence, end, message)
    if not failed(end):
        return through(_answer_below(message))
    return _ask_end(evidence, end, message)


def _answer_below(message: Message) -> Below | None:
    """An answer that was an error: the error behind it."""
    event = message.error or message.reply
    return Below.of(event, message.number) if event is not None else None


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
        text = f"{what} expired after {duration(limit_s)}"
        if not expired:
            text = f"{what} was given up after {duration(lasted_s)}"
        kind = "expired" if expired else "given_up"
        below = Below("doing", at, target, end, message.number)
    else:
        text, kind = f"{what} ended in {end.detail}", "refused"
        below = Below.of(message.full) if message.full else Below("doing", at, target, end, message.number)
    return Link(text, kind, end.actor, end, message.number, message.tag, limit_s, lasted_s, target, below)


def _other_wait(evidence: Evidence, end: TraceEvent, message: Message) -> Link:
    """A wait for a start, an end, an epoch, something foreign, or one of which the beginning is not known."""
    begin = message.wait or evidence.latest(Moment.of(end), end.actor, "wait")
    if begin is not None and not (begin.type == end.type and begin.wait_id in {0, end.wait_id}):
        begin = None
    reason = begin.detail if begin is not None else "a wait"
    lasted_s = end.time_s - begin.time_s if begin is not None else 0.0
    limit_s = begin.limit_s if begin is not None else end.limit_s
    what = f"{end.actor} waited for {end.type} ({reason})"
    if end.detail == "Expired":
        given_s = limit_s or lasted_s
        its = f"its {duration(given_s)} were over" if given_s else "its time was over"
        text, kind = f"{what} until {its}", "expired"
    elif end.detail == "given up":
        text, kind = f"{what} and gave up after {duration(lasted_s)}", "given_up"
    else:
        text, kind = f"{what}, which ended in {end.detail}", "failed"
    below = None
    if end.type.startswith("/"):
        ended = evidence.latest(Moment.of(end), end.type, "end") if end.detail == "ActorDown" else None
        below = Below.of(ended) if ended else Below("doing", Moment.of(end), end.type, end)
    return Link(text, kind, end.actor, end, 0, reason, limit_s or lasted_s, lasted_s, end.type, below)


def _job(evidence: Evidence, wait: TraceEvent, at: Moment) -> Link:
    """A job, as its wait stood at a moment, or had ended by then."""
    name, end, job_end = wait.type.removeprefix("job "), evidence.end_of(wait), evidence.job_end_of(wait)
    if end is not None and end.time_s > at.time_s + SOON_S:
        end = job_end = None
    lasted_s = (end.time_s if end is not None else at.time_s) - wait.time_s
    text, below = _job_words(name, wait.actor, job_end, lasted_s), None
    if end is not None and failed(end) and end.detail not in {"Expired", "given up"}:
        text = f"job {name} of {wait.actor} raised {end.detail}"
    if job_end is not None and not job_end.detail:  # it was given up before a thread took it
        text = f"job {name} of {wait.actor} was never begun: no thread was free for {duration(lasted_s)}"
        holder = evidence.holder_of_a_thread(Moment.of(job_end))
        below = Below("job", at, holder.actor, holder, holder.wait_id) if holder is not None else None
    shown = job_end or end or wait
    return Link(text, "job", wait.actor, shown, wait.cause_id, name, wait.limit_s, lasted_s, below=below)


def _job_of_old(evidence: Evidence, end: TraceEvent) -> Link:
    """A job whose beginning is not in the trace."""
    job_end = evidence.job_end_of(end)
    shown = job_end if job_end is not None and job_end.detail else end
    name = end.type.removeprefix("job ")
    text = f"job {name} of {end.actor} ended in {end.detail}"
    if shown is not end:
        text = _job_words(name, end.actor, job_end, end.limit_s)
    return Link(text, "job", end.actor, shown, end.cause_id, name)


def explain_job(evidence: Evidence, below: Below) -> Link:
    """A job that holds a thread, or has ended."""
    event = below.proof
    wait = evidence.message(event.wait_id).wait
    if wait is not None:
        return _job(evidence, wait, below.at)
    job_end = event if event.kind == "job_end" else None
    text = _job_words(event.type, event.actor, job_end, event.limit_s)
    return Link(text, "job", event.actor, event, event.cause_id, event.type)


def _job_words(name: str, actor: str, job_end: TraceEvent | None, lasted_s: float) -> str:
    """What became of a job, with the last that is known of it."""
    who = f"job {name} of {actor}"
    if job_end is None:
        return f"{who} had been at work for {duration(lasted_s)}"
    if not job_end.detail.startswith("left behind"):
        return f"{who} took {duration(lasted_s)}" if lasted_s else f"{who} ended: {job_end.detail}"
    progress, place = _PROGRESS.search(job_end.detail), _PLACE.search(job_end.detail)
    words = f"{who} was abandoned" + (f" after {duration(lasted_s)}" if lasted_s else "")
    if progress is not None:
        words += f"; its last progress: {progress[1]}"
    if place is not None:
        words += f"{',' if progress is not None else ';'} at {place[1]}"
    return words


def open_wait(evidence: Evidence, below: Below) -> Link:
    """A wait that was under way at a moment."""
    wait, at = below.proof, below.at
    lasted_s = at.time_s - wait.time_s
    if wait.type.startswith("job "):
        return _job(evidence, wait, at)
    message = evidence.message(wait.wait_id)
    if message.send is not None:
        name = message_name(message.number, message.tag)
        what = f"{wait.actor} was waiting for {message.receiver} to answer {name}, for {duration(lasted_s)}"
        below = Below("doing", at, message.receiver, below.event, message.number)
        return Link(
            what,
            "waiting",
            wait.actor,
            wait,
            message.number,
            message.tag,
            message.limit_s,
            lasted_s,
            message.receiver,
            below,
        )
    what = f"{wait.actor} was waiting for {wait.type} ({wait.detail}), for {duration(lasted_s)}"
    cause = Below("doing", at, wait.type, wait) if wait.type.startswith("/") else None
    return Link(what, "waiting", wait.actor, wait, 0, wait.detail, wait.limit_s, lasted_s, wait.type, cause)


def doing(evidence: Evidence, below: Below) -> Link:
    """What an actor was doing at a moment at which somebody had waited for it in vain."""
    actor, at, message = below.actor, below.at, evidence.message(below.number)
    blocked = _blocked(evidence, message, actor, at)
    if blocked is not None:
        return blocked
    if message.full is not None and message.receive is None and below.event is not message.full:
        return through(Below.of(message.full))
    last = evidence.handling(at, actor)
    if last is not None and (cut := _just_cut_off(evidence, last, at)) is not None:
        below, at, last = replace(below, at=Moment.of(last)), Moment.of(last), cut
    if last is None:
        known = "nothing is known of it" if actor.startswith("/") else "it waited for nothing"
        return Link(f"{actor} is not seen to handle anything then: {known}", "unknown", actor)
    if last.kind in {"end", "restart"}:
        ended = last if last.kind == "end" else evidence.latest(Moment.of(last), actor, "end")
        return through(Below.of(ended or last, kind="end"))
    unread = message.receive is None and message.known
    if last.kind == "done" or (last.kind == "start" and not evidence.open_waits(at, actor)):
        return _idle(evidence, actor, at, last, message, unread=unread)
    return _busy(evidence, below, last, unread=unread and last.msg_id != message.number)


def _just_cut_off(evidence: Evidence, last: TraceEvent, at: Moment) -> TraceEvent | None:
    """The beginning of a handler that ended just now without an answer: with the wait for it, not before."""
    if last.kind != "done" or last.time_s < at.time_s - SOON_S:
        return None
    message = evidence.message(last.msg_id)
    return message.receive if message.drop is not None and message.reply is None else None


def _blocked(evidence: Evidence, message: Message, actor: str, at: Moment) -> Link | None:
    """Who held the event loop while a message was waited for, if somebody did."""
    since_s, until_s = message.since_s if message.since_s is not None else at.time_s, at.time_s
    found = evidence.blocked_during(since_s, until_s)
    if found is not None:
        event, overlap_s = found
        return held_loop(event) if overlap_s >= BLOCKED_SHARE * (until_s - since_s) else None
    overdue = 0 < message.limit_s < until_s - since_s - SILENT_S
    if not overdue and message.known and message.receive is None:
        last = evidence.handling(at, actor)
        overdue = last is not None and last.kind == "done"
    return _silence(evidence, since_s, until_s) if overdue else None


def _silence(evidence: Evidence, since_s: float, until_s: float) -> Link | None:
    """The event loop was blocked and nobody has said so, as when that was shorter than the watchdog's time.

    To be asked of a time in which something should have happened: an idle actor had a message to read, or
    a deadline passed. When nothing happened to anybody, whoever ran last has held the loop.
    """
    if evidence.trace.partial:
        return None
    events = [*evidence.trace.select(since_s=since_s, until_s=until_s, looks_max=LOOKS_MAX)]
    gaps = [(after.time_s - event.time_s, event) for event, after in itertools.pairwise(events)]
    if events and until_s - events[-1].time_s > UNWRITTEN_S:  # it may hold the loop until now
        gaps.append((until_s - events[-1].time_s, events[-1]))
    silent_s, last = max(gaps, key=operator.itemgetter(0), default=(0.0, None))
    least_s = max(SILENT_S, BLOCKED_SHARE * (until_s - since_s))
    if last is None or last.kind != "receive" or silent_s < least_s:
        return None
    who = f"{last.actor} seems to have blocked the event loop in {message_name(last.msg_id, last.type)}"
    text = f"nothing happened for {duration(silent_s)}: {who}"
    return Link(text, "blocked", last.actor, last, last.msg_id, last.type, lasted_s=silent_s)


def held_loop(event: TraceEvent) -> Link:
    """The event loop was blocked."""
    place = _PLACE.search(event.detail)
    where = f" at {place[1]}" if place is not None else ""
    text = f"{event.actor} blocked the event loop for {duration(blockage(event)[0])}{where}"
    return Link(text, "blocked", event.actor, event, lasted_s=blockage(event)[0])


def _idle(
    evidence: Evidence, actor: str, at: Moment, last: TraceEvent, message: Message, *, unread: bool
) -> Link:
    idle = f"{actor} had been idle for {duration(at.time_s - last.time_s)}"
    if last.kind == "start":
        idle += " since its start"
    if evidence.trace.level != ALL:
        what = f"what {actor} did then is not in the trace, which has only the level {evidence.trace.level}"
        return Link(what, "unknown", actor)
    if unread:
        idle += f", and had not read {message_name(message.number, message.tag)}"
    if evidence.trace.sample < 1:
        idle += ", as far as a sample of the messages tells"
    return Link(idle, "idle", actor, last, last.msg_id, last.type)


def _busy(evidence: Evidence, below: Below, last: TraceEvent, *, unread: bool) -> Link:
    """An actor at work on a message: with what it is held up, and for whom it waits if it does."""
    actor, at = below.actor, below.at
    lasted_s = at.time_s - last.time_s
    waits = [wait for wait in evidence.open_waits(at, actor) if wait.incarnation == last.incarnation]
    cause = held_up(evidence, waits, at)
    name = message_name(last.msg_id, last.type) if last.kind == "receive" else "its start"
    if not unread and cause is not None:
        return through(cause)
    if unread:
        text = f"{actor} had not read it, because it was at {name} for {duration(lasted_s)}"
    else:
        text = f"{actor} was still at {name}, for {duration(lasted_s)}"
        text += "" if cause else ", and waited for nothing that the trace knows"
    return Link(text, "busy", actor, last, last.msg_id, last.type, last.limit_s, lasted_s, below=cause)


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
