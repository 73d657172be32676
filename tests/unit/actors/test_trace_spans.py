"""A trace as intervals and arrows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tracing import Spans, Trace, TraceEvent, spans
from actors.tracing.exports.spans import Handler, Job, Mark, Message, WaitSpan, tree_order
from tests.helpers.told_traces import event, senseless, small_system

A, B = "/a", "/a/b"


def ask(time_s: float, number: int, sender: str = A, receiver: str = B, cause: int = 0) -> Trace:
    """A whole ask, which is taken after a second, answered after three, and heard at once."""
    return Trace.of(
        [
            event(
                time_s,
                "wait",
                sender,
                receiver,
                "reply to t.ask",
                wait_id=number,
                cause_id=cause,
                limit_s=9.0,
            ),
            event(
                *(time_s, "send", sender, "t.ask", receiver),
                msg_id=number,
                cause_id=cause,
                wait_id=number,
                size=70,
            ),
            event(time_s + 1, "receive", receiver, "t.ask", sender, msg_id=number, size=70, limit_s=8.0),
            event(time_s + 3, "reply", receiver, "t.answer", sender, msg_id=number, cause_id=number, size=50),
            event(time_s + 3, "done", receiver, "t.ask", msg_id=number),
            event(time_s + 3, "wait_end", sender, receiver, "answered", wait_id=number, cause_id=cause),
        ]
    )


def test_an_ask_is_a_message_a_handler_and_a_wait() -> None:
    found = spans(ask(10.0, 7, cause=4))
    assert found.actors == (A, B)
    assert (found.begin_s, found.end_s) == (10.0, 13.0)
    assert found.handlers[1:] == [
        Handler(B, 1, 7, "t.ask", A, 11.0, 13.0, "answered", answered_s=13.0, limit_s=8.0)
    ]
    assert found.waits == [WaitSpan(A, 1, 7, 4, B, "reply to t.ask", 10.0, 13.0, "answered", 9.0)]
    assert found.messages == [
        Message(
            *(7, "t.ask", A, B, 1, 4, 10.0, 11.0, 13.0, 13.0),
            size=70,
            is_ask=True,
            reply_type="t.answer",
            reply_size=50,
        )
    ]
    assert found.jobs == []
    assert found.marks == []


def test_a_handler_that_began_before_the_trace_begins_with_it() -> None:
    """It is known by what happens in it, by its answer, or by its end."""
    in_it = spans(ask(10.0, 7, cause=4)).handlers[0]
    assert in_it == Handler(A, 1, 4, "", "", 10.0)
    by_its_end = Trace.of([event(5.0, "state", A, "idle"), event(6.0, "done", A, "t.tell", msg_id=3)])
    assert spans(by_its_end).handlers == [Handler(A, 1, 3, "t.tell", "", 5.0, 6.0, "returned")]
    by_its_answer = [
        event(5.0, "reply", A, "t.answer", "outside", msg_id=3, cause_id=3),
        event(5.0, "done", A, "t.ask", msg_id=3),
    ]
    found = spans(Trace.of(by_its_answer))
    assert found.handlers == [Handler(A, 1, 3, "t.ask", "outside", 5.0, 5.0, "answered", answered_s=5.0)]
    assert [(one.sender, one.receiver, one.sent_s) for one in found.messages] == [("outside", A, None)]


@pytest.mark.parametrize(
    ("last", "outcome", "end_s"),
    [
        (event(3.0, "done", A, "t.tell", msg_id=1), "returned", 3.0),
        (event(3.0, "end", A, "Actor", "killed"), "ended", 3.0),
        (event(3.0, "receive", A, "t.tell", "outside", msg_id=2), "ended", 3.0),
        (event(3.0, "state", A, "idle"), "", None),
        (event(3.0, "drop", A, "t.tell", "refused: WrongState", msg_id=1), "refused", 3.0),
    ],
)
def test_a_handler_ends_with_its_return_with_its_actor_or_when_the_next_begins(
    last: TraceEvent, outcome: str, end_s: float | None
) -> None:
    first = spans(Trace.of([event(1.0, "receive", A, "t.tell", "outside", msg_id=1), last])).handlers[0]
    assert (first.outcome, first.end_s) == (outcome, end_s)


def test_a_handler_that_raises_has_failed_and_says_how() -> None:
    events = [
        event(1.0, "receive", A, "t.ask", "outside", msg_id=1),
        event(2.0, "error", A, "ValueError", "three is too many", msg_id=1, cause_id=1),
        event(2.0, "reply", A, "actors.failure", "outside", msg_id=1, cause_id=1),
        event(2.0, "done", A, "t.ask", msg_id=1),
    ]
    found = spans(Trace.of(events))
    assert found.handlers[0].outcome == "failed"
    assert found.handlers[0].error == "ValueError: three is too many"
    assert found.marks == [Mark(2.0, A, 1, "error", "ValueError: three is too many", 1)]


def test_a_job_is_queued_then_at_work_then_its_result_is_taken() -> None:
    events = [
        event(1.0, "job", A, "f", cause_id=3, wait_id=8),
        event(1.5, "job", A, "f", cause_id=3, wait_id=9),
        event(4.0, "job_end", A, "f", "queued 0.250000 s, worked 2.000000 s", cause_id=3, wait_id=9),
        event(5.0, "job_end", A, "f", "left behind after 4 s", cause_id=3, wait_id=8),
        event(6.0, "job", A, "g", cause_id=3, wait_id=10),
    ]
    lost, done, open_ = spans(Trace.of(events)).jobs
    assert done == Job(
        A, 1, 3, "f", 1.5, 1.75, 3.75, detail="queued 0.250000 s, worked 2.000000 s", wait_id=9
    )
    assert lost == Job(A, 1, 3, "f", 1.0, 1.0, 5.0, True, "left behind after 4 s", 8)
    assert open_ == Job(A, 1, 3, "g", 6.0, 6.0, wait_id=10)


def test_a_job_that_was_asked_for_before_the_trace_is_dated_back_but_not_before_it() -> None:
    detail = "queued 1.000000 s, worked 2.000000 s"
    ended = event(9.0, "job_end", A, "f", detail, wait_id=8)
    for begin_s, asked_s, works_s in [(5.0, 6.0, 7.0), (8.5, 8.5, 9.0)]:
        job = spans(Trace.of([event(begin_s, "state", A, "idle"), ended])).jobs[0]
        assert (job.asked_s, job.begin_s, job.end_s) == (asked_s, works_s, 9.0)


def test_waits_and_jobs_without_numbers_are_told_apart_by_who_and_for_what() -> None:
    events = [
        event(1.0, "wait", A, "/x", "its end"),
        event(2.0, "wait", A, "/y", "its end"),
        event(3.0, "wait_end", A, "/y", "answered"),
        event(4.0, "wait_end", A, "/x", "Expired"),
        event(5.0, "wait_end", A, "/z", "given up"),
    ]
    waits = spans(Trace.of(events)).waits
    found = {(wait.target, wait.begin_s, wait.end_s, wait.outcome) for wait in waits}
    assert found == {("/x", 1, 4, "Expired"), ("/y", 2, 3, "answered"), ("/z", 1, 5, "given up")}


def test_a_dead_letter_is_a_lost_message() -> None:
    events = [
        event(1.0, "send", A, "t.tell", B, msg_id=1),
        event(1.5, "drop", A, "t.tell", "no such actor", msg_id=1),
    ]
    found = spans(Trace.of(events))
    assert [(one.lost_s, one.lost, one.received_s) for one in found.messages] == [
        (1.5, "no such actor", None)
    ]
    assert [(mark.kind, mark.text) for mark in found.marks] == [("drop", "t.tell: no such actor")]


def test_kinds_of_newer_versions_are_passed_over() -> None:
    assert spans(Trace.of([event(1.0, "tomorrow", A)])) == Spans(1.0, 1.0, (A,))


def test_an_empty_trace_has_nothing_in_it() -> None:
    assert spans(Trace.of([])) == Spans()


def test_parents_come_before_children_and_outsiders_before_all() -> None:
    names = ["/b/x", "/b", "out", "/a/x/y", "/b/w", "/a", "/a/x", "/b/x/z"]
    assert tree_order(names) == ("out", "/b", "/b/x", "/b/x/z", "/b/w", "/a", "/a/x", "/a/x/y")


@given(st.permutations(["out", "/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f/g"]))
def test_whatever_comes_first_a_tree_is_told_from_above(names: list[str]) -> None:
    found = tree_order(names)
    assert sorted(found) == sorted(names)
    for name in names:
        below = [other for other in found if other.startswith(f"{name}/")]
        at = found.index(name) + 1
        assert sorted(found[at : at + len(below)]) == sorted(below)


def test_a_system_that_ran_is_told_without_gaps() -> None:
    found = spans(small_system())
    assert found.actors == ("outside", "/top", "/top/child")
    taken = [message for message in found.messages if message.received_s is not None]
    assert len(taken) == len(found.handlers)
    assert all(handler.end_s is not None and handler.outcome for handler in found.handlers)
    assert all(wait.end_s is not None and wait.outcome for wait in found.waits)
    outcomes = {(handler.type, handler.outcome) for handler in found.handlers}
    assert {("cast.relay", "answered"), ("cast.fail", "failed"), ("cast.sleep", "ended")} <= outcomes
    echo = next(message for message in found.messages if message.type == "cast.echo")
    relay = next(message for message in found.messages if message.type == "cast.relay")
    assert (echo.sender, echo.receiver, echo.cause_id) == ("/top", "/top/child", relay.msg_id)
    assert [message.lost for message in found.messages if message.type == "cast.note"] == ["no such actor"]


@given(senseless())
def test_what_is_told_of_any_trace_lies_within_it(trace: Trace) -> None:
    found = spans(trace)
    assert set(trace.actors) <= set(found.actors)
    assert len(set(found.actors)) == len(found.actors)
    intervals: list[Handler | WaitSpan | Job] = [*found.handlers, *found.waits, *found.jobs]
    for one in intervals:
        assert found.begin_s <= one.begin_s
        assert one.end_s is None or one.begin_s <= one.end_s <= found.end_s
        assert one.actor in found.actors
    assert all(job.asked_s <= job.begin_s for job in found.jobs)
    assert [job.asked_s for job in found.jobs] == sorted(job.asked_s for job in found.jobs)
    assert [wait.begin_s for wait in found.waits] == sorted(wait.begin_s for wait in found.waits)
    for message in found.messages:
        assert {message.sender, message.receiver} - {""} <= set(found.actors)
        assert message.heard_s is None or message.replied_s is not None
    assert all(mark.actor in found.actors for mark in found.marks)
