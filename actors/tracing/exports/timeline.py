"""A trace as Chrome trace events, which Perfetto and other viewers of timelines open.

Every actor has a row with its handlers, and below it one with its jobs. Further down follow rows with the
waits of each, and how full the mailboxes were. An arrow leads from each send to the handler that took the
message, and from its answer to whoever asked. All rows are threads of one process: Perfetto unfolds a process
that is alone.

Viewers draw an arrow from the end of one slice to the beginning of another. A handler may be at work for an
hour and send thousands of messages: what is sent, answered and heard are therefore slices of no length in
their handler, and the arrows are tied to these.

Source: "Trace Event Format", the Chromium project.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from actors.tracing.exports.export import replacing
from actors.tracing.exports.spans import apart, spans_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from actors.tracing.exports.spans import Handler, Job, Mark, Message, Spans, WaitSpan
    from actors.tracing.reading import Trace

__all__ = ["timeline", "write_timeline"]

PID: Final = 1
TID_FIRST: Final = PID + 1  # the thread with the number of its process would be called the main one

_CHUNK: Final = 1024
_MARK_LETTERS: Final = 80

_Json: TypeAlias = dict[str, Any]


class _Flow(NamedTuple):
    """One end of an arrow: `s` where it begins, `f` where it ends."""

    phase: str
    name: str
    number: int


@dataclass(slots=True)
class _Slice:
    """Something on a row, with the arrow that begins or ends there."""

    begin_s: float
    end_s: float
    name: str
    category: str
    args: _Json
    flow: _Flow | None = None


@dataclass(slots=True)
class _Row:
    """Slices that lie one after the other or inside one another, so that a viewer can stack them."""

    name: str
    slices: list[_Slice] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


def write_timeline(trace: Trace, path: Path) -> None:
    """Write a trace as a file of Chrome trace events.

    The file appears when it is complete, and replaces what was there.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    with replacing(path) as file:
        file.write('{"displayTimeUnit":"ms","otherData":{"producer":"actors.tracing"},"traceEvents":[\n')
        encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
        events, between = timeline(trace), ""
        while chunk := list(itertools.islice(events, _CHUNK)):
            file.write(between + encode(chunk)[1:-1])  # what is between the brackets of the list
            between = ",\n"
        file.write("\n]}\n")


def timeline(trace: Trace) -> Iterator[_Json]:
    """Yield the Chrome trace events of a trace. Times are microseconds since its first event."""
    found = spans_of(apart(trace), trace.begin_s)
    yield {"ph": "M", "name": "process_name", "pid": PID, "args": {"name": "actors"}}
    for tid, row in enumerate(itertools.chain(_actor_rows(found), _wait_rows(found)), TID_FIRST):
        yield from _drawn(row, tid, found.begin_s)
    yield from _mailboxes(found)


def _drawn(row: _Row, tid: int, origin_s: float) -> Iterator[_Json]:
    """One row. What arrows are tied to comes right before them: viewers take the slice that is open then."""
    where = {"pid": PID, "tid": tid}
    yield {"ph": "M", "name": "thread_name", **where, "args": {"name": row.name}}
    yield {"ph": "M", "name": "thread_sort_index", **where, "args": {"sort_index": tid}}
    for slice_ in row.slices:
        begin_us = _us(slice_.begin_s - origin_s)
        yield {
            "ph": "X",
            "name": slice_.name,
            "cat": slice_.category,
            "ts": begin_us,
            "dur": _us(slice_.end_s - origin_s, begin_us),
            **where,
            "args": slice_.args,
        }
        if (flow := slice_.flow) is not None:
            # Both ends of an arrow have the same name, category and number.
            arrow = {"ph": flow.phase, "name": flow.name, "cat": flow.name, "id": flow.number, "ts": begin_us}
            yield arrow | where | ({"bp": "e"} if flow.phase == "f" else {})
    for mark in row.marks:
        name = f"{mark.kind}: {mark.text}" if mark.text else mark.kind
        yield {
            "ph": "i",
            "s": "t",
            "name": name[:_MARK_LETTERS],
            "cat": mark.kind,
            "ts": _us(mark.time_s - origin_s),
            **where,
            "args": {"text": mark.text, "message": mark.msg_id},
        }


def _short(tag: str) -> str:
    """The last part of a tag, which is what there is room for; all of it is among the details."""
    return tag.rpartition(".")[2]


def _us(time_s: float, since_us: float = 0.0) -> float:
    """Microseconds, to the nanosecond: viewers count in these, and compare ends with beginnings."""
    return max(0.0, round((round(time_s * 1e9) - round(since_us * 1e3)) / 1e3, 3))


def _actor_rows(found: Spans) -> Iterator[_Row]:
    """Of each actor, parents before children, the row of its messages and that of its jobs."""
    messages: dict[str, list[_Slice]] = {actor: [] for actor in found.actors}
    sent = {message.msg_id: message for message in found.messages if message.sent_s is not None}
    taken: set[int] = set()  # messages to whose handler an arrow leads
    for handler in found.handlers:
        message = sent.get(handler.msg_id) if handler.msg_id not in taken else None
        if message is not None and message.sent_s is not None and message.sent_s > handler.begin_s:
            message = None  # an arrow back in time would be an error
        if message is not None:
            taken.add(message.msg_id)
        messages[handler.actor].append(_handled(handler, found.end_s, message))
    for message in found.messages:
        for actor, moment in _moments(message, taken):
            messages[actor].append(moment)
    jobs: dict[str, list[_Slice]] = {}
    for job in found.jobs:
        jobs.setdefault(job.actor, []).append(_at_work(job, found.end_s))
    marks: dict[str, list[Mark]] = {}
    for mark in found.marks:
        marks.setdefault(mark.actor, []).append(mark)
    for actor in found.actors:
        rows = _rows(actor, messages[actor]) or [_Row(actor)]
        rows[0].marks = marks.get(actor, [])
        yield from rows
        yield from map(_with_queue, _rows(f"{actor} jobs", jobs.get(actor, ())))


def _wait_rows(found: Spans) -> Iterator[_Row]:
    waits: dict[str, list[_Slice]] = {}
    for wait in found.waits:
        waits.setdefault(wait.actor, []).append(_waiting(wait, found.end_s))
    for actor in found.actors:
        yield from _rows(f"{actor} waits", waits.get(actor, ()))


def _rows(name: str, slices: Iterable[_Slice]) -> list[_Row]:
    """Share slices out among as few rows as they need to lie beside or inside one another.

    Each goes to the first row where it fits. A viewer would cut off or drop what does not.
    """
    rows: list[_Row] = []
    open_s: list[list[float]] = []  # of each row, the ends of the slices that are open, the innermost last
    for slice_ in sorted(slices, key=lambda one: (one.begin_s, -one.end_s)):
        number = _fitting(open_s, slice_)
        if number == len(rows):
            rows.append(_Row(name))
            open_s.append([])
        rows[number].slices.append(slice_)
        open_s[number].append(slice_.end_s)
    return rows


def _fitting(open_s: list[list[float]], slice_: _Slice) -> int:
    for number, ends_s in enumerate(open_s):
        while ends_s and ends_s[-1] <= slice_.begin_s:
            ends_s.pop()
        if not ends_s or slice_.end_s <= ends_s[-1]:
            return number
    return len(open_s)


def _with_queue(row: _Row) -> _Row:
    """Cut each job in two: in the queue for a thread, and at work."""
    slices = []
    for job in row.slices:
        begin_s = job.args.pop("begin_s")
        if begin_s > job.begin_s:
            slices.append(_Slice(job.begin_s, begin_s, "queued", "queue", {"job": job.name} | job.args))
        slices.append(_Slice(begin_s, job.end_s, job.name, "job", job.args))
    slices.sort(key=lambda part: (part.begin_s, -part.end_s))  # one that took no time may lie in a queue
    return _Row(row.name, slices)


def _handled(handler: Handler, end_s: float, message: Message | None) -> _Slice:
    """A handler, and the end of the arrow from the send of its message, if that is known."""
    args: _Json = {
        "message": handler.msg_id,
        "type": handler.type,
        "sender": handler.sender,
        "cause": 0 if message is None else message.cause_id,
        "incarnation": handler.incarnation,
        "outcome": handler.outcome or "goes on",
    }
    if handler.error:
        args["error"] = handler.error
    if handler.limit_s:
        args["limit_s"] = handler.limit_s
    flow = None if message is None else _Flow("f", "message", 2 * handler.msg_id)
    end_s = end_s if handler.end_s is None else handler.end_s
    return _Slice(handler.begin_s, end_s, _short(handler.type) or "a message", "message", args, flow)


def _moments(message: Message, taken: set[int]) -> Iterator[tuple[str, _Slice]]:
    """What happens to a message on the rows of who sends and who answers it."""
    number, sender, receiver = message.msg_id, message.sender, message.receiver
    if message.sent_s is not None:
        args: _Json = {"message": number, "type": message.type, "to": receiver, "cause": message.cause_id}
        args["size"] = message.size
        if message.lost:
            args["lost"] = message.lost
        flow = _Flow("s", "message", 2 * number) if number in taken else None
        yield sender, _moment(message.sent_s, f"send {_short(message.type)}", "send", args, flow)
    if message.replied_s is None:
        return
    name = _short(message.reply_type) or "answer"
    # An arrow back in time would be an error.
    heard = bool(sender) and message.heard_s is not None and message.heard_s >= message.replied_s
    args = {"message": number, "type": message.reply_type, "to": sender, "size": message.reply_size}
    flow = _Flow("s", "answer", 2 * number + 1) if heard else None
    yield receiver, _moment(message.replied_s, f"answer {name}", "reply", args, flow)
    if heard and message.heard_s is not None:
        flow = _Flow("f", "answer", 2 * number + 1)
        yield sender, _moment(message.heard_s, f"heard {name}", "reply", {"message": number}, flow)


def _moment(time_s: float, name: str, category: str, args: _Json, flow: _Flow | None) -> _Slice:
    return _Slice(time_s, time_s, name, category, args, flow)


def _at_work(job: Job, end_s: float) -> _Slice:
    args: _Json = {"message": job.msg_id, "detail": job.detail, "begin_s": job.begin_s}
    name = f"{job.name} (left behind)" if job.left_behind else job.name
    return _Slice(job.asked_s, end_s if job.end_s is None else job.end_s, name, "job", args)


def _waiting(wait: WaitSpan, end_s: float) -> _Slice:
    args: _Json = {
        "wait": wait.wait_id,
        "message": wait.msg_id,
        "target": wait.target,
        "reason": wait.reason,
        "outcome": wait.outcome or "goes on",
    }
    if wait.limit_s:
        args["limit_s"] = wait.limit_s
    end_s = end_s if wait.end_s is None else wait.end_s
    return _Slice(wait.begin_s, end_s, f"{wait.target.rpartition('/')[2]}: {wait.reason}", "wait", args)


def _mailboxes(found: Spans) -> Iterator[_Json]:
    """How many messages there were in each mailbox, whenever that changed."""
    readers = {handler.actor for handler in found.handlers}
    changes: dict[str, list[tuple[float, int]]] = {actor: [] for actor in found.actors if actor in readers}
    for message in found.messages:
        left_s = message.lost_s if message.received_s is None else message.received_s
        if message.sent_s is not None and message.receiver in changes:
            changes[message.receiver].append((message.sent_s, 1))
            if left_s is not None:
                changes[message.receiver].append((max(left_s, message.sent_s), -1))
    for actor, steps in changes.items():
        count = 0
        for time_s, group in itertools.groupby(sorted(steps), key=lambda step: step[0]):
            count += sum(step for _, step in group)
            yield {
                "ph": "C",
                "name": f"{actor} mailbox",
                "pid": PID,
                "ts": _us(time_s - found.begin_s),
                "args": {"messages": count},
            }
