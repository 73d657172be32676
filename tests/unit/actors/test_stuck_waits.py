"""The open waits at the end of a trace, as a tree, and the leaf that holds them."""

from __future__ import annotations

from typing import Any

import pytest

from actors.tracing import Trace, TraceEvent, stuck, why


def event(time_s: float, kind: str, actor: str, type_: str = "", detail: str = "", **more: Any) -> TraceEvent:
    """An event of the first life of an actor."""
    more = {"msg_id": 0, "cause_id": 0, **more}
    life = int(actor.startswith("/"))
    return TraceEvent(time_s, kind, actor, life, type=type_, detail=detail, **more)


def ask(time_s: float, who: str, whom: str, number: int, cause: int = 0) -> list[TraceEvent]:
    """What an ask leaves behind when it is admitted."""
    more = {"cause_id": cause, "wait_id": number, "limit_s": 30.0}
    return [
        event(time_s, "wait", who, whom, "reply to ask", **more),
        event(time_s, "send", who, "ask", whom, msg_id=number, **more),
    ]


def begin(time_s: float, who: str, number: int, sender: str = "outside") -> TraceEvent:
    return event(time_s, "receive", who, "ask", sender, msg_id=number)


def chain() -> list[TraceEvent]:
    """Outside waits for /a, which waits for /a/b and /a/c; /a/b waits for a job."""
    return [
        *ask(1.0, "outside", "/a", 1),
        begin(1.5, "/a", 1),
        *ask(2.0, "/a", "/a/b", 2, cause=1),
        *ask(2.0, "/a", "/a/c", 3, cause=1),
        begin(2.5, "/a/b", 2, "/a"),
        begin(2.5, "/a/c", 3, "/a"),
        event(3.0, "wait", "/a/b", "job grind", "its result", cause_id=2, wait_id=4, limit_s=9.0),
        event(11.0, "state", "/z", "idle"),
    ]


def test_the_tree_goes_from_who_nobody_waits_for_down_to_the_job() -> None:
    answer = stuck(Trace.of(chain()))
    assert answer.lines() == [
        "everything waits for job grind: it has been at work for /a/b for 8.00 s",
        "/a/b has waited for it for 8.00 s (its result); 4 waits are open",
        "outside waits for /a (reply to ask) for 10.0 s, 20.0 s left",
        "  /a waits for /a/b (reply to ask) for 9.00 s, 21.0 s left",
        (
            "    /a/b waits for job grind (its result) for 8.00 s, 1.00 s left: "
            "it has been at work for /a/b for 8.00 s"
        ),
        (
            "  /a waits for /a/c (reply to ask) for 9.00 s, 21.0 s left: "
            "it has been handling message 3 (ask) for 8.50 s"
        ),
    ]
    assert answer.holder is not None
    assert answer.holder.target == "job grind"


def test_the_same_as_data() -> None:
    data = stuck(Trace.of(chain())).as_dict()
    assert data["open"] == 4
    assert data["holder"]["target"] == "job grind"
    assert data["waits"][0]["below"][0]["below"][0]["wait_id"] == 4
    assert data["waits"][0]["below"][1]["left_s"] == pytest.approx(21.0)


def test_a_later_now_makes_the_waits_longer_and_overdue() -> None:
    lines = stuck(Trace.of(chain()), now_s=41.0).lines()
    assert lines[0].endswith("for 38.0 s")
    assert "for 40.0 s, 10.0 s too long" in lines[2]
    assert stuck(Trace.of(chain()), now_s=2.0).end_s == 11.0, "not before its last event"


def test_in_a_run_that_goes_on_waits_last_until_now() -> None:
    trace = Trace.of(chain(), now_s=41.0)
    assert stuck(trace) == stuck(Trace.of(chain()), now_s=41.0)
    assert "for 40.0 s" in why(trace, "outside").sentence


def test_nothing_open_says_so() -> None:
    closed = [*ask(1.0, "outside", "/a", 1), event(2.0, "wait_end", "outside", "/a", "answered", wait_id=1)]
    answer = stuck(Trace.of(closed))
    assert answer.lines() == ["no wait is open at the end of the trace (3 events)"]
    assert answer.holder is None
    assert answer.as_dict()["holder"] is None
    assert stuck(Trace.of([])).lines() == ["no wait is open at the end of the trace (0 events)"]


@pytest.mark.parametrize(
    ("events", "doing"),
    [
        (ask(2.0, "outside", "/a", 5), "it is idle, 2 messages queued"),
        ([], "it is idle, 1 message queued"),
        ([begin(2, "/a", 1)], "it has been handling message 1 (ask) for 3.00 s"),
        ([begin(2, "/a", 9)], "it has been handling message 9 (ask) for 3.00 s, 1 message queued"),
        ([event(2, "end", "/a", "A", "ValueError: no")], "it has ended: ValueError: no"),
        ([event(2, "start", "/a", "A")], "it is idle, 1 message queued"),
        ([begin(2, "/a", 1), event(3, "done", "/a", "ask", msg_id=1)], "it is idle"),
    ],
)
def test_a_leaf_says_what_the_last_one_does(events: list[TraceEvent], doing: str) -> None:
    known = [event(0, "start", "/a", "A")]
    trace = Trace.of([*known, *ask(1.0, "outside", "/a", 1), *events, event(5.0, "state", "/z", "idle")])
    assert stuck(trace).lines()[0].endswith(f" /a: {doing}")


def test_an_actor_that_starts_is_said_to_start() -> None:
    start = event(1.0, "wait", "outside", "/a", "its start", wait_id=1, limit_s=30.0)
    trace = Trace.of([start, event(1.0, "start", "/a", "A"), event(3.0, "state", "/z", "idle")])
    assert stuck(trace).lines()[0] == "everything waits for /a: it has been starting for 2.00 s"


def test_who_is_waited_for_by_many_is_shown_once_below_the_oldest() -> None:
    lines = stuck(Trace.of([*chain(), *ask(11.0, "outside", "/a", 8)])).lines()
    assert lines[0].startswith("the longest chain of waits ends at job grind: ")
    assert sum("job grind (its result)" in line for line in lines) == 1
    assert lines[-1] == "outside waits for /a (reply to ask) for 0 s, 30.0 s left: it waits itself, see there"


def test_a_trace_that_begins_in_the_middle_is_coped_with() -> None:
    """The wait of outside for /a began before the trace does, and so did the life of everybody."""
    lines = stuck(Trace.of(chain()[3:])).lines()
    assert lines[0] == "the longest chain of waits ends at job grind: it has been at work for /a/b for 8.00 s"
    assert lines[2].startswith("/a waits for /a/b ")
    lines = stuck(
        Trace.of([*ask(1.0, "outside", "/a", 1), event(2.0, "wait_end", "/q", "/r", wait_id=77)])
    ).lines()
    assert lines[0] == "everything waits for /a: the trace does not say what it does"


def test_a_circle_in_a_damaged_trace_ends_too() -> None:
    lines = stuck(Trace.of([*ask(1.0, "/a", "/b", 1), *ask(2.0, "/b", "/a", 2)])).lines()
    assert any("/a waits for /b" in line for line in lines)
    assert any("/b waits for /a" in line for line in lines)


def test_waits_without_numbers_are_told_apart_by_who_and_whom() -> None:
    begun = [event(1.0, "wait", "/a", whom, "its end", cause_id=3) for whom in ("/a/b", "/a/c")]
    ended = event(2.0, "wait_end", "/a", "/a/b", "answered", cause_id=3)
    answer = stuck(Trace.of([*begun, ended]))
    assert [root.target for root in answer.roots] == ["/a/c"]
    assert answer.roots[0].left_s is None
