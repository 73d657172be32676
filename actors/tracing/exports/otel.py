"""A trace as OpenTelemetry spans, in the JSON encoding of OTLP.

The conventions for messaging are followed, see docs/decisions/0058-exports-of-traces.md. A tell is a producer
and a consumer; an ask, whose sender waits, is a client and a server. The handler has the send as its parent
and links to it; what the handler sends, and the jobs that it hands over, have the handler as theirs. What
comes of one message that nothing in the trace has caused is one OpenTelemetry trace.

Each line of the file is a complete request of at most `SPANS_IN_REQUEST` spans, as the file exporter of
OpenTelemetry writes them: a small file is one request that can be posted as it is.

Sources: "OpenTelemetry Protocol File Exporter", "Semantic Conventions for Messaging Spans".
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors.tracing.exports.export import replacing
from actors.tracing.exports.spans import Message, spans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.tracing.exports.spans import Handler, Job, Mark, Spans, WaitSpan
    from actors.tracing.reading import Trace

__all__ = ["SPANS_IN_REQUEST", "otel_spans", "write_otel"]

SPANS_IN_REQUEST: Final = 10_000
"""About 8 MB: a collector takes 20 by default."""

SYSTEM: Final = "actors"
SERVICE: Final = "actors"
FAILURE: Final = "actors.failure"

# Span kinds and the status code of OTLP; its JSON has their numbers.
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5
ERROR: Final = 2

_Json: TypeAlias = dict[str, Any]


def write_otel(trace: Trace, path: Path) -> None:
    """Write a trace as a file of OTLP requests in JSON, one a line.

    The file appears when it is complete, and replaces what was there. The same trace gives the same bytes.
    Times are those of the wall clock when the trace knows it, else they count from 1970.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
    resource = {"attributes": _attributes({"service.name": SERVICE})}
    begin = f'{{"resourceSpans":[{{"resource":{encode(resource)},"scopeSpans":[{{"scope":'
    begin += encode({"name": "actors.tracing"}) + ',"spans":'
    with replacing(path) as file:
        found = otel_spans(trace)
        chunk = list(itertools.islice(found, SPANS_IN_REQUEST))
        while chunk or not file.tell():  # an empty trace is a request without spans
            file.write(f"{begin}{encode(chunk)}}}]}}]}}\n")
            chunk = list(itertools.islice(found, SPANS_IN_REQUEST))


def otel_spans(trace: Trace) -> Iterator[_Json]:
    """Yield the OpenTelemetry spans of a trace: sends, handlers, jobs, waits, moments outside of handlers."""
    found = spans(trace)
    export = _Export(found, f"{trace.wall_s!r} {trace.begin_s!r}", round(trace.wall_s * 1e9))
    for message in found.messages:
        if message.sent_s is not None:
            yield export.sent(message, message.sent_s)
    for number, handler in enumerate(found.handlers):
        yield export.handled(number, handler)
    for number, job in enumerate(found.jobs):
        yield export.worked(number, job)
    for number, wait in enumerate(found.waits):
        if wait.wait_id not in export.messages and not wait.target.startswith("job "):
            yield export.waited(number, wait)
    for number, mark in enumerate(found.marks):
        if mark.msg_id not in export.handlers:
            yield export.marked(number, mark)


class _Export:
    """What spans need to know of each other.

    Args:
        found: the trace.
        run: different for another run; numbers of spans are made from it.
        origin_ns: Unix time in nanoseconds at which the clock of the trace showed 0.
    """

    def __init__(self, found: Spans, run: str, origin_ns: int) -> None:
        self.messages = {message.msg_id: message for message in found.messages if message.sent_s is not None}
        # Where a message was handled twice, which no actor does, the first time counts.
        self.handlers = {handler.msg_id: handler for handler in reversed(found.handlers)}
        self._outcomes = {wait.wait_id: wait for wait in found.waits if wait.wait_id}
        self._events: dict[int, list[Mark]] = {}
        for mark in found.marks:
            self._events.setdefault(mark.msg_id, []).append(mark)
        self._roots: dict[int, int] = {}
        for message in found.messages:
            cause = message.cause_id
            self._roots[message.msg_id] = self._roots.get(cause, cause) if cause else message.msg_id
        self._run = run
        self._origin_ns = origin_ns
        self._end_s = found.end_s

    def sent(self, message: Message, sent_s: float) -> _Json:
        wait = self._outcomes.get(message.msg_id) if message.is_ask else None
        end_s = sent_s
        if wait is not None:
            end_s = self._end_s if wait.end_s is None else max(sent_s, wait.end_s)
        kind = CLIENT if message.is_ask else PRODUCER
        span = self._span(message.msg_id, "send", message.msg_id, kind, sent_s, end_s)
        name = "ask" if message.is_ask else "tell"
        span["name"] = _text(f"{name} {message.receiver}")
        values = _of_message(message, message.receiver) | {
            "messaging.operation.name": name,
            "messaging.operation.type": "send",
            "messaging.client.id": message.sender,
        }
        self._below(span, message.cause_id)
        problem = f"dead letter: {message.lost}" if message.lost else ""
        if not problem and wait is not None and wait.outcome not in {"answered", ""}:
            problem = wait.outcome
        elif not problem and message.reply_type == FAILURE:
            handler = self.handlers.get(message.msg_id)
            problem = handler.error if handler is not None and handler.error else FAILURE
        self._fail(span, values, problem)
        span["attributes"] = _attributes(values)
        return span

    def handled(self, number: int, handler: Handler) -> _Json:
        message = self.messages.get(handler.msg_id)
        is_ask = handler.answered_s is not None or (message is not None and message.is_ask)
        kind = SERVER if is_ask else CONSUMER
        span = self._span(handler.msg_id, "process", handler.msg_id, kind, handler.begin_s, handler.end_s)
        if self.handlers[handler.msg_id] is not handler:
            span["spanId"] = self._span_id("process again", number)
        span["name"] = _text(f"process {handler.actor}")
        known = message or Message(handler.msg_id, handler.type, handler.sender, handler.actor, is_ask=is_ask)
        values = _of_message(known, handler.actor) | {
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.client.id": handler.actor,
            "messaging.actors.incarnation": handler.incarnation,
            "messaging.actors.outcome": handler.outcome or "goes on",
        }
        if message is not None:
            span["parentSpanId"] = self._span_id("send", message.msg_id)
            span["links"] = [{"traceId": span["traceId"], "spanId": span["parentSpanId"]}]
        span["events"] = [self._event(mark) for mark in self._events.get(handler.msg_id, ())]
        self._fail(span, values, handler.error if handler.outcome != "answered" else "")
        span["attributes"] = _attributes(values)
        return span

    def worked(self, number: int, job: Job) -> _Json:
        span = self._span(job.msg_id, "job", number, INTERNAL, job.asked_s, job.end_s)
        span["name"] = _text(job.name) or "a job"
        self._below(span, job.msg_id)
        values = _of_actor(job.actor, job.incarnation) | {
            "messaging.actors.queued_s": job.begin_s - job.asked_s
        }
        self._fail(span, values, job.detail if job.left_behind else "")
        span["attributes"] = _attributes(values)
        return span

    def waited(self, number: int, wait: WaitSpan) -> _Json:
        span = self._span(wait.msg_id, "wait", number, INTERNAL, wait.begin_s, wait.end_s)
        span["name"] = _text(f"wait for {wait.target}")
        self._below(span, wait.msg_id)
        values = _of_actor(wait.actor, wait.incarnation) | {"messaging.actors.reason": wait.reason}
        self._fail(span, values, wait.outcome if wait.outcome not in {"answered", "given up"} else "")
        span["attributes"] = _attributes(values)
        return span

    def marked(self, number: int, mark: Mark) -> _Json:
        span = self._span(mark.msg_id, "mark", number, INTERNAL, mark.time_s, mark.time_s)
        span["name"] = _text(f"{mark.kind} {mark.actor}")
        values = _of_actor(mark.actor, mark.incarnation) | {"messaging.actors.detail": mark.text}
        span["attributes"] = _attributes(values)
        return span

    def _span(
        self, msg_id: int, kind: str, number: int, span_kind: int, begin_s: float, end_s: float | None
    ) -> _Json:
        return {
            "traceId": self._hash("trace", self._roots.get(msg_id, msg_id), 16),
            "spanId": self._span_id(kind, number),
            "name": kind,
            "kind": span_kind,
            "startTimeUnixNano": self._nanos(begin_s),
            "endTimeUnixNano": self._nanos(self._end_s if end_s is None else end_s),
        }

    def _below(self, span: _Json, msg_id: int) -> None:
        """Make a span the child of the handler of a message, if there is one."""
        if msg_id in self.handlers:
            span["parentSpanId"] = self._span_id("process", msg_id)

    def _fail(self, span: _Json, values: _Json, problem: str) -> None:
        if problem:
            span["status"] = {"code": ERROR, "message": _text(problem)}
            values["error.type"] = problem.partition(":")[0]

    def _event(self, mark: Mark) -> _Json:
        if mark.kind == "error":
            type_, _, text = mark.text.partition(": ")
            values = {"exception.type": type_, "exception.message": text}
            return {
                "timeUnixNano": self._nanos(mark.time_s),
                "name": "exception",
                "attributes": _attributes(values),
            }
        values = {"messaging.actors.actor": mark.actor, "messaging.actors.detail": mark.text}
        return {
            "timeUnixNano": self._nanos(mark.time_s),
            "name": mark.kind,
            "attributes": _attributes(values),
        }

    def _nanos(self, time_s: float) -> str:
        return str(self._origin_ns + round(time_s * 1e9))

    def _span_id(self, kind: str, number: int) -> str:
        return self._hash(kind, number, 8)

    def _hash(self, kind: str, number: int, size: int) -> str:
        return hashlib.blake2b(f"{self._run} {kind} {number}".encode(), digest_size=size).hexdigest()


def _text(text: str) -> str:
    """Text without halves of characters, which a parser of requests refuses."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _of_message(message: Message, destination: str) -> _Json:
    values: _Json = {
        "messaging.system": SYSTEM,
        "messaging.destination.name": destination,
        "messaging.message.id": str(message.msg_id),
        "messaging.actors.message.type": message.type,
    }
    if message.size:
        values["messaging.message.body.size"] = message.size
    if message.is_ask:
        values["messaging.message.conversation_id"] = str(message.msg_id)
    return values


def _of_actor(actor: str, incarnation: int) -> _Json:
    return {"messaging.actors.actor": actor, "messaging.actors.incarnation": incarnation}


def _attributes(values: _Json) -> list[_Json]:
    """As OTLP has them: each value says its type, and integers are text."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: float | str) -> _Json:
    if isinstance(value, str):
        return {"stringValue": _text(value)}
    return {"intValue": str(value)} if isinstance(value, int) else {"doubleValue": value}
