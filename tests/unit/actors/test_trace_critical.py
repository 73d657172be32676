"""The critical path, by hand where it is known."""

from __future__ import annotations

import json

import pytest

from actors.tracing import CriticalPath, JobTimes, Trace, TraceQueryError, critical
from tests.helpers.synthetic_trace import synthetic_events
from tests.helpers.written_trace import WrittenRun


def path_of(found: CriticalPath) -> list[tuple[float, float, str, str]]:
    """From when on, for how long, who, and doing what."""
    return [(part.begin_s, part.seconds, part.actor, part.what) for part in found.segments]


def one_after_the_other() -> WrittenRun:
    """A handler that asks one actor, which does a job; and then waits for something outside."""
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.send(1, "/root", 1, "/root/a", 2, "t.ask")
    run.receive(3, "/root/a", 2, "t.ask")
    run.job(4, "/root/a", 2, 3, "work", JobTimes(1.0, 4.0), 10)
    run.reply(11, "/root/a", 2, "t.ask")
    run.wait_end(12, "/root", 1, "/root/a", 2)
    run.add(13, "wait", "/root", cause_id=1, type="foreign awaitable", detail="a socket", wait_id=4)
    run.wait_end(15, "/root", 1, "foreign awaitable", 4)
    run.reply(15.5, "/root", 1, "t.go")
    return run


def test_the_path_leads_through_asks_jobs_mailboxes_and_what_is_outside() -> None:
    found = critical(one_after_the_other().trace())
    assert path_of(found) == [
        (0, 1, "/root", "handler of t.go"),
        (1, 2, "/root/a", "in its mailbox"),
        (3, 1, "/root/a", "handler of t.ask"),
        (4, 1, "/root/a", "job work, queued for a thread"),
        (5, 4, "/root/a", "job work"),
        (9, 1, "/root/a", "handler of t.ask"),  # the event loop came late for the result
        (10, 1, "/root/a", "handler of t.ask"),
        (11, 2, "/root", "handler of t.go"),  # the answer was there, the asker was not
        (13, 2, "/root", "waiting for outside: a socket"),
        (15, 0.5, "/root", "handler of t.go"),
    ]
    assert [part.message for part in found.segments] == [1, 2, 2, 2, 2, 2, 2, 1, 1, 1]
    assert (found.seconds, found.culprit, found.saved_s) == (15.5, "/root/a", None)
    assert [(item.actor, item.what, item.seconds, item.segments) for item in found.items] == [
        ("/root/a", "job work", 4, 1),
        ("/root", "handler of t.go", 3.5, 3),
        ("/root/a", "handler of t.ask", 3, 3),
        ("/root/a", "in its mailbox", 2, 1),
        ("/root", "waiting for outside: a socket", 2, 1),
        ("/root/a", "job work, queued for a thread", 1, 1),
    ]
    assert sum(item.share for item in found.items) == pytest.approx(1)


def gather(
    ends_s: dict[str, float],
    sizes: dict[str, int] | None = None,
    *,
    looks_s: float = 0.0,
    rounds: int = 1,
) -> WrittenRun:
    """A handler that asks several at once, and looks at the answers `looks_s` after the last."""
    run, number, begin_s = WrittenRun(), 1, 0.0
    run.receive(0, "/root", 1, "t.go")
    for _ in range(rounds):
        asks: list[tuple[str, int]] = []
        for actor, end_s in ends_s.items():
            number += 1
            run.send(begin_s, "/root", 1, actor, number, "t.ask", (sizes or {}).get(actor, 10))
            run.receive(begin_s, actor, number, "t.ask")
            run.reply(begin_s + end_s, actor, number, "t.ask")
            asks.append((actor, number))
        until_s = begin_s + max(ends_s.values()) + looks_s
        for actor, ask in asks:
            run.wait_end(until_s, "/root", 1, actor, ask)
        begin_s = until_s
    run.reply(begin_s, "/root", 1, "t.go")
    return run


def test_of_several_asks_the_one_that_is_answered_last_counts_even_if_all_are_looked_at_later() -> None:
    found = critical(gather({"/root/a": 9.0, "/root/b": 3.0, "/root/c": 5.0}, looks_s=1.0).trace())
    assert path_of(found) == [(0, 9, "/root/a", "handler of t.ask"), (9, 1, "/root", "handler of t.go")]
    assert (found.culprit, found.culprit_s, found.saved_s) == ("/root/a", 9, 4)
    assert found.comparisons["/root/a"][:4] == ("t.ask", 2, 1.0, 9 / 4)


def test_what_would_have_helped_is_added_over_all_gathers() -> None:
    found = critical(gather({"/root/a": 9.0, "/root/b": 3.0, "/root/c": 5.0}, rounds=10).trace())
    (item,) = found.items
    assert (item.actor, item.seconds, item.segments, item.saved_s) == ("/root/a", 90, 10, 40)


def test_a_slow_actor_is_told_from_one_that_has_more_to_do() -> None:
    ends_s = {"/root/a": 9.0, "/root/b": 3.0, "/root/c": 3.0}
    whole, who, why = critical(gather(ends_s).trace()).lines()[:3]
    assert whole == "message 1 (t.go) in /root: 9.00 s, a critical path of 1 part"
    assert who == "100% of it is /root/a, 9.00 s: handler of t.ask 9.00 s"
    assert why == (
        "had it been as fast as the second slowest each time, the whole would be 6.00 s (67%) shorter; "
        "its t.ask was as large as its siblings', but took 3.0 times as long: it is slower"
    )
    skewed = critical(gather(ends_s, {"/root/a": 35}).trace()).lines()[:3]
    assert skewed[2].endswith(
        "; its t.ask was 3.5 times as large as its siblings' and took 3.0 times as long: it has more to do"
    )
    both = critical(gather(ends_s, {"/root/a": 15}).trace()).lines()[:3]
    assert both[2].endswith(": it has more to do, and is slower besides")
    ends_s["/root/a"] = 3.3
    large = critical(gather(ends_s, {"/root/a": 20}).trace()).lines()[:3]
    assert large[2].endswith("; its t.ask was 2.0 times as large as its siblings', but took no longer")
    unknown = critical(gather(ends_s | {"/root/a": 6.0}, dict.fromkeys(ends_s, 0)).trace()).lines()[:3]
    assert unknown[2].endswith("; its t.ask took 2.0 times as long as its siblings'")


def test_nested_gathers_save_no_more_than_the_outer_ones_allow() -> None:
    """Root asks a (ends at 20) and b (ends at 18); below a, c takes from 1 to 19, and d until 5."""
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.send(0, "/root", 1, "/root/a", 2, "t.ask")
    run.send(0, "/root", 1, "/root/b", 3, "t.ask")
    run.receive(0, "/root/a", 2, "t.ask")
    run.receive(0, "/root/b", 3, "t.ask")
    run.send(1, "/root/a", 2, "/root/a/c", 4, "t.ask")
    run.send(1, "/root/a", 2, "/root/a/d", 5, "t.ask")
    run.receive(1, "/root/a/c", 4, "t.ask")
    run.receive(1, "/root/a/d", 5, "t.ask")
    run.reply(5, "/root/a/d", 5, "t.ask")
    run.reply(18, "/root/b", 3, "t.ask")
    run.reply(19, "/root/a/c", 4, "t.ask")
    run.wait_end(19, "/root/a", 2, "/root/a/c", 4)
    run.wait_end(19, "/root/a", 2, "/root/a/d", 5)
    run.reply(20, "/root/a", 2, "t.ask")
    run.wait_end(20, "/root", 1, "/root/a", 2)
    run.wait_end(20, "/root", 1, "/root/b", 3)
    run.reply(20, "/root", 1, "t.go")
    found = critical(run.trace())
    assert [(item.actor, item.seconds, item.saved_s) for item in found.items] == [
        ("/root/a/c", 18, 2),  # alone it could save 14, but b ends at 18
        ("/root/a", 2, 2),
    ]


def test_who_is_queued_behind_a_slow_one_is_not_blamed_alone() -> None:
    """Of three actors with one thread, the last waits while the first is slow."""
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    begun_s = 0.0
    for number, (actor, seconds) in enumerate((("/root/a", 8.0), ("/root/b", 2.0), ("/root/c", 2.0)), 2):
        run.send(0, "/root", 1, actor, number, "t.ask")
        run.receive(0, actor, number, "t.ask")
        run.job(0, actor, number, number + 10, "work", JobTimes(begun_s, seconds), begun_s + seconds)
        begun_s += seconds
        run.reply(begun_s, actor, number, "t.ask")
        run.wait_end(begun_s, "/root", 1, actor, number)
    run.reply(12, "/root", 1, "t.go")
    found = critical(run.trace())
    assert path_of(found) == [
        (0, 10, "/root/c", "job work, queued for a thread"),
        (10, 2, "/root/c", "job work"),
    ]
    assert (found.culprit, found.held_up_by) == ("/root/c", "/root/a")
    assert found.lines()[2].endswith(
        "it was queued behind /root/a: its t.ask was as large as its siblings', but took 4.0 times as long: "
        "it is slower"
    )


def test_a_restarted_child_was_down_and_then_asked_again() -> None:
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.send(0, "/root", 1, "/root/a", 2, "t.ask")
    run.receive(1, "/root/a", 2, "t.ask")
    run.add(4, "error", "/root/a", msg_id=2, cause_id=2, type="ValueError")
    run.reply(4, "/root/a", 2, "t.ask")
    run.wait_end(4, "/root", 1, "/root/a", 2)
    run.send(5, "/root", 1, "/root/a", 3, "t.ask")  # while it is still ending
    run.add(6, "end", "/root/a", type="A", detail="ValueError")
    run.add(9, "start", "/root/a", incarnation=2, type="A")
    run.receive(10, "/root/a", 3, "t.ask")
    run.reply(12, "/root/a", 3, "t.ask")
    run.wait_end(12, "/root", 1, "/root/a", 3)
    run.reply(12, "/root", 1, "t.go")
    assert path_of(critical(run.trace())) == [
        (0, 1, "/root/a", "in its mailbox"),
        (1, 3, "/root/a", "handler of t.ask"),
        (4, 1, "/root", "handler of t.go"),
        (5, 1, "/root/a", "in its mailbox"),
        (6, 3, "/root/a", "being started again"),
        (9, 1, "/root/a", "in its mailbox"),
        (10, 2, "/root/a", "handler of t.ask"),
    ]


def test_an_ask_whose_actor_ended_was_over_then() -> None:
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.send(0, "/root", 1, "/root/a", 2, "t.ask")
    run.send(0, "/root", 1, "/root/b", 3, "t.ask")
    run.add(2, "end", "/root/b", type="B", detail="killed")
    run.receive(0, "/root/a", 2, "t.ask")
    run.reply(7, "/root/a", 2, "t.ask")
    run.wait_end(7, "/root", 1, "/root/a", 2)
    run.wait_end(8, "/root", 1, "/root/b", 3, "ActorDown")
    run.reply(8, "/root", 1, "t.go")
    found = critical(run.trace())
    assert path_of(found) == [(0, 7, "/root/a", "handler of t.ask"), (7, 1, "/root", "handler of t.go")]
    assert found.saved_s == 5


def test_a_job_that_was_left_behind_was_waited_for_to_the_end() -> None:
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.add(1, "wait", "/root", cause_id=1, type="job work", detail="its result", wait_id=2)
    run.wait_end(31, "/root", 1, "job work", 2, "Expired")
    run.add(31, "job_end", "/root", cause_id=1, type="work", detail="left behind after 30.000 s", wait_id=2)
    run.reply(31, "/root", 1, "t.go")
    found = critical(run.trace())
    assert path_of(found)[1] == (1, 30, "/root", "job work, left behind")
    assert found.lines()[1] == (
        "100% of it is /root, 31.0 s: job work, left behind 30.0 s, handler of t.go 1.00 s"
    )


def test_a_spawn_leads_into_the_start_of_the_child() -> None:
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.add(0, "wait", "/root", cause_id=1, type="/root/a", detail="its start", wait_id=2)
    run.add(0, "start", "/root/a", type="A")
    run.job(1, "/root/a", 0, 3, "load", JobTimes(0.0, 5.0), 6)
    run.wait_end(7, "/root", 1, "/root/a", 2)
    run.reply(7, "/root", 1, "t.go")
    assert path_of(critical(run.trace())) == [
        (0, 1, "/root/a", "its start"),
        (1, 5, "/root/a", "job load"),
        (6, 1, "/root/a", "its start"),
    ]


def test_what_goes_on_beside_the_last_wait_is_not_on_the_path() -> None:
    """A job reads ahead while the handler waits for an answer."""
    run = WrittenRun()
    run.receive(0, "/root", 1, "t.go")
    run.send(0, "/root", 1, "/root/a", 2, "t.ask")
    run.job(1, "/root", 1, 3, "ahead", JobTimes(0.0, 3.0), 4)
    run.receive(0, "/root/a", 2, "t.ask")
    run.reply(9, "/root/a", 2, "t.ask")
    run.wait_end(9, "/root", 1, "/root/a", 2)
    run.reply(10, "/root", 1, "t.go")
    found = critical(run.trace())
    assert path_of(found) == [(0, 9, "/root/a", "handler of t.ask"), (9, 1, "/root", "handler of t.go")]
    assert found.saved_s is None, "a job is nobody to be compared with"


def test_a_blocked_loop_is_told_of_first_if_it_is_much_of_the_time() -> None:
    run = one_after_the_other()
    run.add(16, "blocked", "/root/a", incarnation=0, detail="no answer for 4.000 s; at a.py:7 in hold")
    run.add(99, "blocked", "/root/b", incarnation=0, detail="no answer for 4.000 s; at b.py:7 in hold")
    lines = critical(run.trace()).lines()
    assert lines[1] == (
        "the event loop was blocked by /root/a 1 time, 4.00 s; the longest 4.00 s, at a.py:7 in hold"
    )
    run.events[-2] = run.events[-2]._replace(detail="no answer for 1.000 s; at a.py:7 in hold")
    lines = critical(run.trace()).lines()
    assert lines[3].startswith("the event loop was blocked by /root/a")


# What is asked for


def epochs() -> WrittenRun:
    """Two epochs of /root; below it, /root/a takes part; a third one has begun."""
    run = WrittenRun()
    for epoch, begin_s in ((1, 0.0), (2, 10.0), (3, 20.0)):
        handler = 10 * epoch
        run.receive(begin_s, "/root", handler, "t.train")
        run.add(begin_s + 1, "state", "/root", cause_id=handler, type=f"running({epoch})")
        run.send(begin_s + 2, "/root", handler, "/root/a", handler + 1, "t.begin")
        run.receive(begin_s + 2, "/root/a", handler + 1, "t.begin")
        run.add(begin_s + 2, "state", "/root/a", cause_id=handler + 1, type=f"running({epoch})")
        if epoch == 3:
            run.add(begin_s + 6, "watch", "/root")
            break
        run.reply(begin_s + 4, "/root/a", handler + 1, "t.begin")
        run.wait_end(begin_s + 4, "/root", handler, "/root/a", handler + 1)
        run.add(begin_s + 5, "state", "/root/a", type=f"epoch_done({epoch})")
        run.add(begin_s + 6, "state", "/root", cause_id=handler, type=f"epoch_done({epoch})")
        run.reply(begin_s + 8, "/root", handler, "t.train")
    return run


def test_the_last_epoch_that_has_ended_in_the_topmost_actor_unless_another_is_asked_for() -> None:
    trace = epochs().trace()
    last = critical(trace)
    assert (last.stretch.epoch, last.stretch.actor, last.stretch.message) == (2, "/root", 20)
    assert path_of(last) == [
        (11, 1, "/root", "handler of t.train"),
        (12, 2, "/root/a", "handler of t.begin"),
        (14, 2, "/root", "handler of t.train"),
    ]
    assert last.lines()[0] == "epoch 2 of /root: 5.00 s, a critical path of 3 parts"
    first = critical(trace, epoch=1)
    assert (first.stretch.begin_s, first.stretch.end_s) == (1, 6)


def test_an_epoch_that_has_not_ended_is_looked_at_up_to_the_end_of_the_trace() -> None:
    found = critical(epochs().trace(), epoch=3)
    assert path_of(found) == [
        (21, 1, "/root", "handler of t.train"),
        (22, 4, "/root/a", "handler of t.begin"),
    ]
    assert found.lines()[0].endswith("; it had not ended when the trace does")


def test_an_epoch_that_failed_says_why() -> None:
    run = epochs()
    run.add(30, "state", "/root", cause_id=30, type="epoch_done(3)", detail="a sphere is lost")
    assert critical(run.trace()).lines()[0] == (
        "epoch 3 of /root: 9.00 s, a critical path of 1 part; it failed: a sphere is lost"
    )


def test_a_life_that_was_cut_short_comes_after_one_that_ended_the_epoch() -> None:
    run = epochs()
    run.add(27, "state", "/root", type="shutdown(3)")
    run.add(28, "state", "/root", incarnation=2, type="running(3)")
    run.add(32, "state", "/root", incarnation=2, type="epoch_done(3)")
    found = critical(run.trace(), epoch=3)
    assert (found.stretch.begin_s, found.stretch.end_s) == (28, 32)


def test_one_message_is_looked_at_from_its_receipt_to_its_end() -> None:
    found = critical(epochs().trace(), message=11)
    assert path_of(found) == [(2, 2, "/root/a", "handler of t.begin")]
    assert found.lines()[0] == "message 11 (t.begin) in /root/a: 2.00 s, a critical path of 1 part"
    assert critical(epochs().trace(), message=31).stretch.ended is False


def test_without_epochs_it_is_the_longest_handler_of_a_topmost_actor() -> None:
    run = one_after_the_other()
    run.receive(20, "/root", 9, "t.short")
    run.reply(21, "/root", 9, "t.short")
    assert critical(run.trace()).stretch.message == 1


def test_a_trace_that_begins_in_the_middle() -> None:
    events = [event for event in one_after_the_other().events if event.time_s >= 10]
    found = critical(Trace.of(events), message=1)
    assert path_of(found) == [
        (10, 1, "/root/a", "handler of t.ask"),
        (11, 2, "/root", "handler of t.go"),
        (13, 2, "/root", "waiting for outside: a socket"),
        (15, 0.5, "/root", "handler of t.go"),
    ]
    assert found.lines()[0].endswith("; its beginning is not in the trace")
    middle = [event for event in epochs().events if event.time_s >= 13]
    assert critical(Trace.of(middle), epoch=2).stretch.begun is False


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"epoch": 7}, "there is no epoch 7 in the trace: it has 1, 2, 3"),
        ({"message": 99}, "there is no message 99 in the trace: its handlers had messages 10 to 31"),
        ({"message": 50}, "message 50, t.lost from /root to /root/b, was never handled here"),
        ({"message": 10, "epoch": 1}, "a critical path is that of an epoch or of a message, not of both"),
    ],
)
def test_what_is_not_there_is_said(asked: dict[str, int], answer: str) -> None:
    run = epochs()
    run.add(25, "send", "/root", type="t.lost", detail="/root/b", msg_id=50)
    with pytest.raises(TraceQueryError) as raised:
        critical(run.trace(), **asked)
    assert str(raised.value) == answer


def test_an_empty_trace_has_none() -> None:
    for asked, answer in (
        ({}, "no handler has run in this trace, so there is no critical path in it"),
        ({"epoch": 1}, "there is no epoch 1 in the trace: it has none"),
        ({"message": 1}, "there is no message 1 in the trace: no handler has run in it"),
    ):
        with pytest.raises(TraceQueryError) as raised:
            critical(Trace.of([]), **asked)
        assert str(raised.value) == answer


def test_as_dict_is_json_and_complete() -> None:
    found = critical(Trace.of(synthetic_events(30_000)))
    given_out = found.as_dict()
    again = json.loads(json.dumps(given_out))
    assert again == given_out
    assert len(again["segments"]) == len(found.segments)
    assert again["segments"][0].keys() == {"begin_s", "seconds", "actor", "what", "message"}
    assert again["comparisons"][found.culprit]["verdict"]
    assert again["stretch"]["epoch"] == found.stretch.epoch


@pytest.mark.parametrize("sphere", [0, 3, 11])
def test_a_slow_sphere_of_a_training_is_named(sphere: int) -> None:
    found = critical(Trace.of(synthetic_events(40_000, slow={sphere: 8.0})))
    assert found.culprit == f"/root/sphere-{sphere}"
    assert found.lines()[2].endswith("it is slower")
    assert found.saved_s is not None
    assert found.saved_s > 0.3 * found.seconds


def test_a_trace_without_messages_has_no_critical_path() -> None:
    lower = Trace(one_after_the_other().trace()._blocks, level="waits")
    with pytest.raises(TraceQueryError, match="was told to keep only waits"):
        critical(lower)


def test_what_is_not_in_the_sample_is_not_taken_for_time_of_its_own() -> None:
    run = WrittenRun()
    run.add(0, "state", "/root", cause_id=1, type="running(1)")
    run.add(9, "state", "/root", cause_id=1, type="epoch_done(1)")
    assert critical(run.trace()).seconds == 9
    with pytest.raises(TraceQueryError, match="epoch 1 of /root is not in the sample"):
        critical(Trace(run.trace()._blocks, sample=0.5))
    sampled = Trace(one_after_the_other().trace()._blocks, sample=0.5)
    assert critical(sampled) == critical(one_after_the_other().trace())
