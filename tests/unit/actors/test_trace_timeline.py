"""A trace as Chrome trace events."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from actors import ProtocolError
from actors.tracing import Trace, timeline, write_timeline
from tests.helpers.told_traces import event, senseless, small_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.tracing import TraceEvent

Json = dict[str, Any]
A, B = "/a", "/a/b"


def of(phase: str, events: list[Json]) -> list[Json]:
    return [found for found in events if found["ph"] == phase]


def rows(events: list[Json]) -> dict[int, str]:
    return {found["tid"]: found["args"]["name"] for found in events if found["name"] == "thread_name"}


def nanos(found: Json) -> tuple[int, int]:
    """When a slice begins and ends."""
    begin_ns = round(found["ts"] * 1000)
    return begin_ns, begin_ns + round(found["dur"] * 1000)


def check(events: list[Json]) -> None:
    """What a viewer relies on."""
    there = rows(events)
    assert len(there) == len([found for found in events if found["name"] == "thread_name"])
    slices: dict[int, list[Json]] = defaultdict(list)
    for found in events:
        if found["ph"] != "M":
            assert found["ts"] >= 0
            assert found.get("tid", min(there, default=0)) in there
        if found["ph"] == "X":
            assert found["dur"] >= 0
            slices[found["tid"]].append(found)
    for row in slices.values():
        check_nested(row)
    check_arrows(events)


def check_nested(row: list[Json]) -> None:
    """Each slice lies beside another or inside it, and they come in that order."""
    open_ns: list[int] = []
    before_ns = 0
    for found in row:
        begin_ns, end_ns = nanos(found)
        assert begin_ns >= before_ns
        before_ns = begin_ns
        while open_ns and open_ns[-1] <= begin_ns:
            open_ns.pop()
        assert not open_ns or end_ns <= open_ns[-1]
        open_ns.append(end_ns)


def check_arrows(events: list[Json]) -> None:
    """Each arrow has both its ends, each right behind the slice that it is tied to, and leads on in time."""
    ends: dict[int, dict[str, Json]] = defaultdict(dict)
    for before, found in zip([{}, *events], events, strict=False):
        if found["ph"] in "sf":
            assert (before["ph"], before["ts"], before["tid"]) == ("X", found["ts"], found["tid"])
            assert found["ph"] not in ends[found["id"]]
            ends[found["id"]][found["ph"]] = found
            assert (found.get("bp") == "e") == (found["ph"] == "f")
    for pair in ends.values():
        begin, end = pair["s"], pair["f"]
        assert (begin["name"], begin["cat"]) == (end["name"], end["cat"])
        assert begin["ts"] <= end["ts"]


@given(senseless())
def test_any_trace_becomes_one_that_a_viewer_can_read(trace: Trace) -> None:
    check(list(timeline(trace)))


def test_a_job_that_took_no_time_beside_one_in_the_queue_keeps_the_order() -> None:
    events = [
        event(0.0, "job_end", A, "f"),
        event(0.0, "job_end", A, "f", "queued 0.500000 s, worked 2.000000 s"),
    ]
    check(list(timeline(Trace.of(events))))


def test_of_a_system_that_ran_no_arrow_is_missing() -> None:
    events = list(timeline(small_system()))
    check(events)
    received = [found for found in small_system() if found.kind == "receive"]
    replied = [found for found in small_system() if found.kind == "reply"]
    arrows = Counter(found["cat"] for found in of("s", events))
    assert arrows == {"message": len(received), "answer": len(replied)}
    assert all(
        arrow["ts"] > 0 and isinstance(arrow["id"], int) for arrow in [*of("s", events), *of("f", events)]
    )


def test_what_a_simulation_does_at_the_same_time_is_told_one_after_the_other() -> None:
    """Arrows that take no time would be lost: viewers sort by time, and rows come one after the other."""
    events = list(timeline(small_system()))
    begins = {found["id"]: found["ts"] for found in of("s", events)}
    assert all(begins[found["id"]] < found["ts"] for found in of("f", events))


def test_an_actor_has_a_row_and_below_it_one_for_its_jobs() -> None:
    events = [
        event(1.0, "send", A, "t.ask", B, msg_id=1, wait_id=1),
        event(2.0, "receive", B, "t.ask", A, msg_id=1),
        event(3.0, "job", B, "f", cause_id=1, wait_id=2),
        event(3.0, "job", B, "g", cause_id=1, wait_id=3),
        event(6.0, "job_end", B, "f", "queued 1.000000 s, worked 1.500000 s", cause_id=1, wait_id=2),
        event(7.0, "job_end", B, "g", "left behind after 4 s", cause_id=1, wait_id=3),
        event(8.0, "state", A, "idle"),
    ]
    found = list(timeline(Trace.of(events)))
    check(found)
    names = rows(found)
    assert list(names.values()) == [A, B, f"{B} jobs", f"{B} jobs"]
    assert sorted(names) == list(names)
    slices = {
        (names[one["tid"]], one["cat"], one["name"]): (one["ts"] / 1e6, one["dur"] / 1e6)
        for one in of("X", found)
    }
    assert slices[B, "message", "ask"] == (1.0, 6.0)  # it goes on
    assert slices[f"{B} jobs", "queue", "queued"] == pytest.approx((2.0, 1.0))
    assert slices[f"{B} jobs", "job", "f"] == pytest.approx((3.0, 1.5))
    assert slices[f"{B} jobs", "job", "g (left behind)"] == pytest.approx((2.0, 4.0))
    ask = next(one for one in of("X", found) if one["name"] == "ask")
    assert ask["args"] | {"type": "t.ask", "message": 1, "sender": A, "outcome": "goes on"} == ask["args"]


def test_moments_are_marks_on_the_row_of_who_they_happened_to() -> None:
    events = [
        event(1.0, "state", A, "running(1)"),
        event(2.0, "error", A, "ValueError", "no", msg_id=3),
        event(3.0, "drop", B, "t.tell", "mailbox full", msg_id=4),
        event(4.0, "restart", B, detail="in 0.1 s"),
        event(5.0, "blocked", B, detail="no answer for 1.203 s; at f.py:1 in f"),
    ]
    found = list(timeline(Trace.of(events)))
    names = rows(found)
    marks = [(one["ts"] / 1e6, names[one["tid"]], one["name"], one["s"]) for one in of("i", found)]
    assert marks == [
        (0.0, A, "state: running(1)", "t"),
        (1.0, A, "error: ValueError: no", "t"),
        (2.0, B, "drop: t.tell: mailbox full", "t"),
        (3.0, B, "restart: in 0.1 s", "t"),
        (4.0, B, "blocked: no answer for 1.203 s; at f.py:1 in f", "t"),
    ]


def test_mailboxes_are_counted() -> None:
    events = [
        event(1.0, "send", A, "t.tell", B, msg_id=1),
        event(2.0, "send", A, "t.tell", B, msg_id=2),
        event(3.0, "receive", B, "t.tell", A, msg_id=1),
        event(4.0, "send", A, "t.tell", "outside/1", msg_id=3),
        event(5.0, "drop", B, "t.tell", "actor stopping", msg_id=2),
    ]
    counters = of("C", list(timeline(Trace.of(events))))
    assert [(one["name"], one["ts"] / 1e6, one["args"]) for one in counters] == [
        (f"{B} mailbox", 0.0, {"messages": 1}),
        (f"{B} mailbox", 1.0, {"messages": 2}),
        (f"{B} mailbox", 2.0, {"messages": 1}),
        (f"{B} mailbox", 4.0, {"messages": 0}),
    ]


def test_waits_have_rows_of_their_own_as_many_as_they_need() -> None:
    events = [
        event(1.0, "wait", A, "/a/b", "its end", wait_id=1, limit_s=5.0),
        event(2.0, "wait", A, "/a/c", "its end", wait_id=2),
        event(3.0, "wait_end", A, "/a/b", "answered", wait_id=1),
        event(4.0, "wait", A, "/a/d", "its end", wait_id=3),
        event(5.0, "wait_end", A, "/a/c", "Expired", wait_id=2),
    ]
    found = list(timeline(Trace.of(events)))
    check(found)
    names = rows(found)
    assert list(names.values()) == [A, f"{A} waits", f"{A} waits"]
    first = min(tid for tid, name in names.items() if name == f"{A} waits")
    waits = [(one["tid"] - first, one["name"], one["args"]["outcome"]) for one in of("X", found)]
    assert waits == [
        (0, "b: its end", "answered"),
        (0, "d: its end", "goes on"),
        (1, "c: its end", "Expired"),
    ]


@given(senseless())
def test_what_is_written_is_what_is_told(tmp_path_factory: pytest.TempPathFactory, trace: Trace) -> None:
    path = tmp_path_factory.mktemp("timeline") / "timeline.json"
    write_timeline(trace, path)
    read = json.loads(path.read_bytes())
    assert read["traceEvents"] == list(timeline(trace))
    assert read["otherData"] == {"producer": "actors.tracing"}
    assert list(path.parent.iterdir()) == [path]


class Broken(Trace):
    """Can be read up to its middle."""

    def __iter__(self) -> Iterator[TraceEvent]:
        yield from list(super().__iter__())[: len(self) // 2]
        raise ProtocolError("it has changed since it was opened")


def test_a_file_that_cannot_be_completed_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "timeline.json"
    path.write_text("as it was")
    with pytest.raises(ProtocolError, match="has changed"):
        write_timeline(Broken.of(small_system()), path)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_timeline(small_system(), tmp_path / "missing" / "timeline.json")


def test_an_answer_that_was_heard_before_it_was_given_has_no_arrow() -> None:
    ask = [
        event(0.0, "wait", "/a", "/b", "reply to ask", wait_id=1),
        event(0.0, "send", "/a", "ask", "/b", msg_id=1, wait_id=1),
        event(0.5, "receive", "/b", "ask", "/a", msg_id=1),
    ]
    heard = event(1.0, "wait_end", "/a", "/b", "answered", wait_id=1)
    answered = event(2.0, "reply", "/b", "answer", "/a", msg_id=1, wait_id=1)
    for ends, arrows in (([heard, answered], 0), ([answered._replace(time_s=0.9), heard], 1)):
        drawn = list(timeline(Trace.of([*ask, *ends])))
        check(drawn)
        assert sum(found["ph"] == "s" and found["name"] == "answer" for found in drawn) == arrows
