"""A trace as OpenTelemetry spans, read by the schema that OpenTelemetry itself publishes."""

from __future__ import annotations

import base64
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from actors.tracing import Trace, write_otel
from actors.tracing.exports.otel import otel_spans
from tests.helpers.told_traces import event, senseless, small_system

if TYPE_CHECKING:
    from pathlib import Path

A, B = "/a", "/a/b"
KIND = trace_pb2.Span.SpanKind
STATUS_ERROR = trace_pb2.Status.StatusCode.Value("STATUS_CODE_ERROR")
IDS = re.compile(r'"(traceId|spanId|parentSpanId)":"([0-9a-f]+)"')


def parsed(line: str) -> list[Any]:
    """The spans of a request. Its ids are hexadecimal, where Protobuf's own JSON has base64."""
    line = IDS.sub(lambda found: f'"{found[1]}":"{base64.b64encode(bytes.fromhex(found[2])).decode()}"', line)
    request = json_format.Parse(line, ExportTraceServiceRequest())
    (resource,) = request.resource_spans
    assert attributes(resource.resource) == {"service.name": "actors"}
    (scope,) = resource.scope_spans
    assert scope.scope.name == "actors.tracing"
    return list(scope.spans)


def exported(trace: Trace, path: Path) -> list[Any]:
    write_otel(trace, path)
    return [span for line in path.read_text().splitlines() for span in parsed(line)]


def attributes(of: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def by_name(spans: list[Any]) -> dict[str, Any]:
    names = Counter(span.name for span in spans)
    return {span.name: span for span in spans if names[span.name] == 1}


def story(*events: Any) -> Trace:
    return Trace.of(events)


TELL = (
    event(1.0, "send", A, "t.tell", B, msg_id=1, size=70),
    event(2.0, "receive", B, "t.tell", A, msg_id=1, size=70),
    event(2.5, "send", B, "t.next", "/c", msg_id=2, cause_id=1),
    event(3.0, "done", B, "t.tell", msg_id=1),
)


def test_a_tell_is_a_producer_and_a_consumer_that_links_to_it(tmp_path: Path) -> None:
    spans = by_name(exported(story(*TELL), tmp_path / "spans"))
    tell, process = spans[f"tell {B}"], spans[f"process {B}"]
    assert (tell.kind, process.kind) == (KIND.SPAN_KIND_PRODUCER, KIND.SPAN_KIND_CONSUMER)
    assert (len(tell.trace_id), len(tell.span_id), tell.parent_span_id) == (16, 8, b"")
    assert process.parent_span_id == tell.span_id
    assert [(link.trace_id, link.span_id) for link in process.links] == [(tell.trace_id, tell.span_id)]
    assert (tell.start_time_unix_nano, tell.end_time_unix_nano) == (1_000_000_000, 1_000_000_000)
    assert (process.start_time_unix_nano, process.end_time_unix_nano) == (2_000_000_000, 3_000_000_000)
    both = {
        "messaging.system": "actors",
        "messaging.destination.name": B,
        "messaging.message.id": "1",
        "messaging.message.body.size": 70,
        "messaging.actors.message.type": "t.tell",
    }
    sends = {"messaging.operation.name": "tell", "messaging.operation.type": "send", "messaging.client.id": A}
    assert attributes(tell) == both | sends
    takes = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
    takes |= {"messaging.client.id": B, "messaging.actors.outcome": "returned"}
    assert attributes(process) == both | takes | {"messaging.actors.incarnation": 1}
    assert tell.status.code == process.status.code == 0


def test_what_a_handler_sends_is_below_it_and_in_the_same_trace(tmp_path: Path) -> None:
    spans = by_name(exported(story(*TELL), tmp_path / "spans"))
    assert spans["tell /c"].parent_span_id == spans[f"process {B}"].span_id
    assert spans["tell /c"].trace_id == spans[f"process {B}"].trace_id


def test_an_ask_is_a_client_that_waits_and_a_server(tmp_path: Path) -> None:
    events = (
        event(1.0, "wait", A, B, "reply to t.ask", wait_id=1),
        event(1.0, "send", A, "t.ask", B, msg_id=1, wait_id=1),
        event(2.0, "receive", B, "t.ask", A, msg_id=1),
        event(2.5, "state", B, "running(1)", cause_id=1),
        event(3.0, "reply", B, "t.answer", A, msg_id=1, cause_id=1),
        event(3.5, "done", B, "t.ask", msg_id=1),
        event(4.0, "wait_end", A, B, "answered", wait_id=1),
    )
    found = exported(story(*events), tmp_path / "spans")
    assert len(found) == 2, "the wait is the client"
    ask, process = by_name(found)[f"ask {B}"], by_name(found)[f"process {B}"]
    assert (ask.kind, process.kind) == (KIND.SPAN_KIND_CLIENT, KIND.SPAN_KIND_SERVER)
    assert (ask.start_time_unix_nano, ask.end_time_unix_nano) == (1_000_000_000, 4_000_000_000)
    assert process.parent_span_id == ask.span_id
    assert attributes(ask)["messaging.message.conversation_id"] == "1"
    assert attributes(process)["messaging.actors.outcome"] == "answered"
    (moment,) = process.events
    assert (moment.name, moment.time_unix_nano) == ("state", 2_500_000_000)
    assert attributes(moment)["messaging.actors.detail"] == "running(1)"


def test_what_fails_is_an_error_with_its_exception(tmp_path: Path) -> None:
    events = (
        event(1.0, "wait", A, B, "reply to t.ask", wait_id=1),
        event(1.0, "send", A, "t.ask", B, msg_id=1, wait_id=1),
        event(2.0, "receive", B, "t.ask", A, msg_id=1),
        event(3.0, "error", B, "ValueError", "three: too many", msg_id=1, cause_id=1),
        event(3.0, "reply", B, "actors.failure", A, msg_id=1, cause_id=1),
        event(3.0, "done", B, "t.ask", msg_id=1),
        event(3.0, "wait_end", A, B, "answered", wait_id=1),
    )
    spans = by_name(exported(story(*events), tmp_path / "spans"))
    for name in (f"ask {B}", f"process {B}"):
        status = spans[name].status
        assert (status.code, status.message) == (STATUS_ERROR, "ValueError: three: too many")
        assert attributes(spans[name])["error.type"] == "ValueError"
    (moment,) = spans[f"process {B}"].events
    assert moment.name == "exception"
    assert attributes(moment) == {"exception.type": "ValueError", "exception.message": "three: too many"}


def test_expired_asks_and_dead_letters_are_errors(tmp_path: Path) -> None:
    events = (
        event(1.0, "wait", A, B, "reply to t.ask", wait_id=1),
        event(1.0, "send", A, "t.ask", B, msg_id=1, wait_id=1),
        event(2.0, "wait_end", A, B, "Expired", wait_id=1),
        event(3.0, "send", A, "t.tell", "/c", msg_id=2),
        event(3.0, "drop", A, "t.tell", "no such actor", msg_id=2),
    )
    spans = by_name(exported(story(*events), tmp_path / "spans"))
    assert (spans[f"ask {B}"].status.code, spans[f"ask {B}"].status.message) == (STATUS_ERROR, "Expired")
    assert spans["tell /c"].status.message == "dead letter: no such actor"
    assert attributes(spans["tell /c"])["error.type"] == "dead letter"
    assert attributes(spans["drop /a"])["messaging.actors.detail"] == "t.tell: no such actor"


def test_jobs_and_other_waits_are_internal_and_below_the_handler(tmp_path: Path) -> None:
    events = (
        event(1.0, "receive", B, "t.tell", "outside", msg_id=1),
        event(2.0, "wait", B, "job f", "its result", cause_id=1, wait_id=5),
        event(2.0, "job", B, "f", cause_id=1, wait_id=5),
        event(4.0, "job_end", B, "f", "queued 0.500000 s, worked 1.000000 s", cause_id=1, wait_id=5),
        event(4.0, "wait_end", B, "job f", "answered", cause_id=1, wait_id=5),
        event(4.0, "job", B, "g", cause_id=1, wait_id=6),
        event(5.0, "job_end", B, "g", "left behind after 1 s", cause_id=1, wait_id=6),
        event(5.0, "wait", B, "foreign awaitable", "the web", cause_id=1, wait_id=7),
        event(6.0, "wait_end", B, "foreign awaitable", "Expired", cause_id=1, wait_id=7),
    )
    found = exported(story(*events), tmp_path / "spans")
    spans = by_name(found)
    assert set(spans) == {f"process {B}", "f", "g", "wait for foreign awaitable"}
    process = spans.pop(f"process {B}")
    assert process.parent_span_id == b""
    assert not process.links
    assert process.end_time_unix_nano == 6_000_000_000, "it goes on: to the end of the trace"
    for span in spans.values():
        assert (span.kind, span.parent_span_id) == (KIND.SPAN_KIND_INTERNAL, process.span_id)
    assert (spans["f"].start_time_unix_nano, spans["f"].end_time_unix_nano) == (2_000_000_000, 3_500_000_000)
    assert attributes(spans["f"])["messaging.actors.queued_s"] == pytest.approx(0.5)
    assert spans["g"].status.message == "left behind after 1 s"
    assert attributes(spans["wait for foreign awaitable"])["error.type"] == "Expired"


def test_times_are_those_of_the_wall_clock_when_it_is_known(tmp_path: Path) -> None:
    trace = story(*TELL)
    trace.wall_s = 1.7e9
    spans = by_name(exported(trace, tmp_path / "spans"))
    assert spans[f"tell {B}"].start_time_unix_nano == 1_700_000_001_000_000_000


def test_each_line_is_a_request_that_a_collector_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.tracing.exports.otel.SPANS_IN_REQUEST", 3)
    path = tmp_path / "spans"
    for count, expected in [(1, [1]), (3, [3]), (7, [3, 3, 1])]:
        write_otel(story(*(event(1.0, "state", A, "idle") for _ in range(count))), path)
        assert [len(parsed(line)) for line in path.read_text().splitlines()] == expected


def test_of_a_system_that_ran_every_message_and_handler_is_a_span(tmp_path: Path) -> None:
    trace = small_system()
    spans = exported(trace, tmp_path / "spans")
    kinds = Counter(event.kind for event in trace)
    sends = KIND.SPAN_KIND_PRODUCER, KIND.SPAN_KIND_CLIENT
    assert sum(span.kind in sends for span in spans) == kinds["send"]
    takes = KIND.SPAN_KIND_CONSUMER, KIND.SPAN_KIND_SERVER
    handlers = [span for span in spans if span.kind in takes]
    assert len(handlers) == kinds["receive"]
    ids = {span.span_id: span for span in spans}
    for span in handlers:
        sent = ids[span.parent_span_id]
        assert (sent.kind == KIND.SPAN_KIND_CLIENT) == (span.kind == KIND.SPAN_KIND_SERVER)
        assert sent.trace_id == span.trace_id
    assert len({span.trace_id for span in handlers if span.parent_span_id}) > 1, "one for each first cause"


def test_the_same_trace_gives_the_same_bytes_and_another_run_other_ids(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_otel(small_system(), tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    later = story(*(one._replace(time_s=one.time_s + 1) for one in small_system()))
    ours = {span["spanId"] for span in otel_spans(small_system())}
    assert ours.isdisjoint(span["spanId"] for span in otel_spans(later))


@given(senseless())
def test_any_trace_is_read_by_the_schema(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.mktemp("otel") / "spans.jsonl"
    spans = exported(trace, path)
    ids = [span.span_id for span in spans]
    assert len(set(ids)) == len(ids)
    for span in spans:
        assert (len(span.trace_id), len(span.span_id)) == (16, 8)
        assert span.name
        assert 0 <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.parent_span_id in {b"", *ids}
        assert all(link.span_id in ids for link in span.links)


def test_an_empty_trace_is_a_request_without_spans(tmp_path: Path) -> None:
    assert exported(story(), tmp_path / "spans") == []
    assert len((tmp_path / "spans").read_text().splitlines()) == 1
