"""A run in numbers: every number against a plain recount, and what people are shown."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.tracing import JobTimes, Trace, TraceEvent, Usage, summarise, usage
from actors.tracing.answers.quantiles import Quantiles
from actors.tracing.answers.tables import bytes_in_words, counted, duration, table
from tests.helpers.synthetic_trace import synthetic_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXACT = settings(max_examples=60, deadline=None)
LONG = list(synthetic_events(8_000))  # in which spheres are lost, and jobs left behind


def event(time_s: float, kind: str, actor: str = "/a", **fields: Any) -> TraceEvent:
    usual: dict[str, Any] = {"incarnation": 1, "msg_id": 0, "cause_id": 0, "type": "", "detail": ""}
    return TraceEvent(time_s, kind, actor, **(usual | fields))


def outside(time_s: float, kind: str, **fields: Any) -> TraceEvent:
    return event(time_s, kind, "outside", incarnation=0, **fields)


def small_run() -> list[TraceEvent]:
    """Two messages for one actor, of which it handles one, with a job; a second wait does not end."""
    return [
        event(10, "start", type="Echo", detail="m:Echo"),
        outside(11, "wait", type="/a", detail="reply to t.echo", wait_id=1),
        outside(11, "send", type="t.echo", detail="/a", msg_id=1, size=100, wait_id=1),
        outside(11.5, "wait", type="/a", detail="reply to t.echo", wait_id=2),
        outside(11.5, "send", type="t.echo", detail="/a", msg_id=2, size=300, wait_id=2),
        event(12, "receive", type="t.echo", detail="outside", msg_id=1, size=100),
        event(12, "wait", type="job work", detail="its result", cause_id=1, wait_id=3),
        event(12, "job", type="work", cause_id=1, wait_id=3),
        event(15, "wait_end", type="job work", detail="answered", cause_id=1, wait_id=3),
        event(15, "job_end", type="work", detail=str(JobTimes(1.0, 2.0)), cause_id=1, wait_id=3),
        event(16, "reply", type="t.note", detail="outside", msg_id=1, cause_id=1, size=50),
        event(16, "done", type="t.echo", msg_id=1),
        outside(16, "wait_end", type="/a", detail="answered", wait_id=1),
        event(20, "a kind of later versions", type="?", detail="?"),
    ]


def test_a_small_run() -> None:
    found = summarise(Trace.of(small_run()))
    assert (found.begin_s, found.span_s, found.events) == (10, 10, 14)
    assert (found.messages, found.answers, found.messages_per_s) == (2, 1, 0.2)
    assert (found.waits, found.waits_open, found.waits_expired) == (3, 1, 0)
    (actor,) = found.actors
    assert (actor.actor, actor.class_name, actor.incarnations, actor.restarts) == ("/a", "Echo", 1, 0)
    assert (actor.handled, actor.queued_max, actor.queued) == (1, 2, 1)
    assert actor.usage == Usage(busy_s=2.0, waiting_s=2.0, idle_s=6.0)
    assert actor.shares == pytest.approx(Usage(0.2, 0.2, 0.6))
    echo, note = found.message_types
    assert (echo.type, echo.sent, echo.answers, echo.bytes_total, echo.bytes_max) == (
        "t.echo",
        2,
        0,
        400,
        300,
    )
    assert echo.queued == Quantiles(1, 1.0, 1.0, 1.0, 1.0)
    assert echo.handled == Quantiles(1, 4.0, 4.0, 4.0, 4.0)
    assert (note.type, note.sent, note.answers, note.bytes_total) == ("t.note", 0, 1, 50)
    (job,) = found.jobs
    assert (job.name, job.begun, job.left_behind) == ("work", 1, 0)
    assert (job.queued.max_s, job.worked.max_s) == (1.0, 2.0)
    open_wait, job_wait = found.longest_waits
    assert (open_wait.waiter, open_wait.target, open_wait.reason) == ("outside", "/a", "reply to t.echo")
    assert (open_wait.longest_s, open_wait.since_s, open_wait.outcome) == (8.5, 1.5, "")
    assert (open_wait.times, open_wait.open) == (2, 1)
    assert (job_wait.longest_s, job_wait.outcome) == (3.0, "answered")


def test_what_went_wrong_comes_before_the_tables_the_gravest_first() -> None:
    run = [
        *small_run(),
        event(21, "error", type="ValueError", detail="as\nasked", msg_id=2),
        event(21, "error", type="KeyError", msg_id=2),
        event(21, "error", type="KeyError", msg_id=2, detail="'x'"),
        event(21, "restart", detail="in 0.1 s"),
        event(21, "full", "/b", type="t.echo", detail="/a holds 256 messages: refused", msg_id=9),
        outside(21, "drop", type="t.echo", detail="mailbox full", msg_id=9),
        event(21, "refuse", type="t.echo", detail="/a waits for /b"),
        event(
            21, "job_end", type="work", detail="left behind after 30.000 s, progress: none, at w.py:1 in f"
        ),
        event(22, "wait", type="/a/b", detail="reply to t.echo", wait_id=7),
        event(23, "wait_end", type="/a/b", detail="Expired", wait_id=7),
        event(24, "blocked", "/a", incarnation=0, detail="no answer for 1.250 s; at w.py:7 in hold"),
        event(25, "blocked", "/a", incarnation=0, detail="no answer for 0.750 s; at w.py:8 in hold"),
    ]
    found = summarise(Trace.of(run))
    lines = found.lines()
    assert lines[:9] == [
        "15.0 s: 2 actors, 26 events, 2 messages (0 per s), 1 answer",
        "the event loop was blocked by /a 2 times, 2.00 s; the longest 1.25 s, at w.py:7 in hold",
        "jobs left behind in their threads: work (1)",
        "mailboxes found full: /a 1 time",
        "errors in handlers: KeyError (2), ValueError (1); the first KeyError in /a: ",
        "1 wait expired: /a for /a/b (reply to t.echo; 1)",
        "1 restart: /a (1)",
        "1 refusal: t.echo: /a waits for /b (1)",
        "1 dead letter: mailbox full (1)",
    ]
    assert found.restarts == 1
    assert "  /a" in lines[12]


def test_a_run_without_troubles_says_so() -> None:
    run = [*small_run(), outside(20, "wait_end", type="/a", detail="given up", wait_id=2)]
    assert summarise(Trace.of(run)).lines()[1] == "nothing went wrong"


def test_a_run_in_which_somebody_still_waits_says_so() -> None:
    assert summarise(Trace.of(small_run())).lines()[1] == (
        "nothing went wrong, but 1 wait is open at the end of the trace (`stuck` shows it)"
    )


def test_an_empty_trace() -> None:
    found = summarise(Trace.of([]))
    assert found.lines() == ["0 s: 0 actors, 0 events, 0 messages (0 per s), 0 answers", "nothing went wrong"]


def test_what_is_missing_is_said() -> None:
    trace = Trace.of(small_run())
    trace.rotated, trace.damage = True, "cut off after 13 events"
    assert summarise(trace).lines()[2:4] == [
        "the beginning of the run is not in the trace any more",
        "the trace is damaged: cut off after 13 events",
    ]


def test_as_dict_is_json_and_complete() -> None:
    found = summarise(Trace.of(synthetic_events(20_000, spheres=20))).as_dict()
    again = json.loads(json.dumps(found))
    assert again == found
    assert len(again["actors"]) == 21
    assert set(again["actors"][0]["usage"]) == {"busy_s", "waiting_s", "idle_s"}
    assert set(again["actors"][0]["shares"]) == {"busy_s", "waiting_s", "idle_s"}
    assert set(again["message_types"][0]["handled"]) == {"times", "total_s", "p50_s", "p99_s", "max_s"}
    assert again["messages_per_s"] > 0


def test_a_report_fits_on_two_screens_whatever_there_is() -> None:
    lines = summarise(Trace.of(synthetic_events(60_000, spheres=200))).lines()
    assert len(lines) < 70
    assert max(map(len, lines)) < 250
    assert any(line.strip().startswith("and ") and line.endswith(" more") for line in lines)


def test_a_mailbox_was_never_longer_than_it_can_be() -> None:
    def sent(msg_id: int) -> TraceEvent:
        return outside(msg_id, "send", type="t.note", detail="/a", msg_id=msg_id)

    dropped = [
        *(sent(1), sent(2)),
        *(sent(3), outside(3, "drop", type="t.note", detail="mailbox full", msg_id=3)),
        *(sent(4), outside(4, "drop", type="t.note", detail="dropped as the oldest", msg_id=1)),
        event(5, "receive", type="t.note", msg_id=2),
        event(6, "done", type="t.note", msg_id=2),
        event(7, "drop", type="t.note", detail="actor ended", msg_id=4),
    ]
    (actor,) = summarise(Trace.of(dropped)).actors
    assert (actor.queued_max, actor.queued) == (2, 0)


def test_a_refused_message_is_not_at_hand_for_ever() -> None:
    refused = [
        event(0, "start"),
        event(1, "receive", type="t.x", msg_id=1),
        event(1, "reply", type="actors.failure", msg_id=1),
        outside(11, "send", type="t.x", detail="/b", msg_id=2),
    ]
    (actor,) = summarise(Trace.of(refused)).actors
    assert actor.usage == usage(refused)["/a"] == Usage(0.0, 0.0, 11.0)


def test_texts_of_refusals_are_bounded() -> None:
    refusals = [event(at, "refuse", type="t.x", detail=f"since {at}") for at in range(1000)]
    found = summarise(Trace.of(refusals))
    assert len(found.refusals) == 201
    assert (found.refusals[0].why, found.refusals[0].count) == ("others", 800)
    assert sum(each.count for each in found.refusals) == 1000


# Every number against a plain recount


def test_the_long_run_has_all_kinds_of_troubles() -> None:
    assert {"error", "restart", "full", "drop", "blocked"} <= {each.kind for each in LONG}
    assert any(each.kind == "wait_end" and each.detail == "Expired" for each in LONG)


def nearest_rank(times_s: Iterable[float], hundredths: int) -> float:
    """The shortest time that so many in a hundred do not exceed, found by trying."""
    times = sorted(times_s)
    return next(
        (each for each in times if 100 * sum(other <= each for other in times) >= hundredths * len(times)),
        0.0,
    )


@given(st.lists(st.floats(0, 100), max_size=250))
def test_quantiles_are_exact(times_s: list[float]) -> None:
    found = Quantiles.of(times_s)
    assert found.times == len(times_s)
    assert found.p50_s == nearest_rank(times_s, 50)
    assert found.p99_s == nearest_rank(times_s, 99)
    assert found.max_s == max(times_s, default=0.0)
    assert found.total_s == pytest.approx(sum(times_s))


@st.composite
def runs(draw: st.DrawFn) -> list[TraceEvent]:
    """A stretch of a training, of which events may be lost, with kinds that nobody knows."""
    spheres, seed = draw(st.integers(1, 6)), draw(st.integers(0, 1000))
    count, first = draw(st.integers(0, 1500)), draw(st.integers(0, 1200))
    events = list(synthetic_events(first + count, spheres=spheres, seed=seed, steps_in_epoch=3))[first:]
    lost = draw(st.sets(st.integers(0, max(0, count - 1)), max_size=40))
    strange = draw(st.sets(st.integers(0, max(0, count - 1)), max_size=5))
    return [
        each._replace(kind="a kind of later versions") if at in strange else each
        for at, each in enumerate(events)
        if at not in lost
    ]


def times_of(
    events: list[TraceEvent], first: str, second: str, key: Callable[[TraceEvent], Any]
) -> dict[Any, float]:
    """Key -> seconds from the first event of one kind to the first after it of the other."""
    begun: dict[Any, float] = {}
    found: dict[Any, float] = {}
    for each in events:
        if each.kind == first:
            begun.setdefault(key(each), each.time_s)
        elif each.kind == second and key(each) in begun and key(each) not in found:
            found[key(each)] = each.time_s - begun[key(each)]
    return found


@EXACT
@example(LONG)
@given(runs())
def test_messages_are_counted_as_a_plain_recount_does(events: list[TraceEvent]) -> None:
    found = summarise(Trace.of(events))
    sent = [each for each in events if each.kind == "send"]
    answers = [each for each in events if each.kind == "reply"]
    assert (found.messages, found.answers) == (len(sent), len(answers))
    assert {each.type: each.sent for each in found.message_types if each.sent} == Counter(
        each.type for each in sent
    )
    assert {each.type: each.answers for each in found.message_types if each.answers} == Counter(
        each.type for each in answers
    )
    assert sum(each.bytes_total for each in found.message_types) == sum(each.size for each in sent + answers)
    types = {each.msg_id: each.type for each in events if each.kind == "receive"}
    queued = times_of(events, "send", "receive", lambda each: each.msg_id)
    for summary in found.message_types:
        times_s = [seconds for msg_id, seconds in queued.items() if types[msg_id] == summary.type]
        assert summary.queued == pytest.approx(Quantiles.of(times_s))
        sizes = [each.size for each in sent + answers if each.type == summary.type]
        assert summary.bytes_max == max(sizes, default=0)


@EXACT
@example(LONG)
@given(runs())
def test_handlers_are_timed_as_a_plain_recount_does(events: list[TraceEvent]) -> None:
    found = summarise(Trace.of(events))
    # A handler whose end was lost does not go on in the next one of its actor.
    handled = times_of(events, "receive", "done", lambda each: (each.actor, each.msg_id))
    types = {each.msg_id: each.type for each in events if each.kind == "done"}
    for summary in found.message_types:
        times_s = [seconds for (_, msg_id), seconds in handled.items() if types[msg_id] == summary.type]
        assert summary.handled == pytest.approx(Quantiles.of(times_s))
    received = Counter(each.actor for each in events if each.kind == "receive")
    assert {each.actor: each.handled for each in found.actors if each.handled} == received


@EXACT
@example(LONG)
@given(runs())
def test_actors_are_counted_as_a_plain_recount_does(events: list[TraceEvent]) -> None:
    found = summarise(Trace.of(events))
    used = usage(events)
    assert {each.actor for each in found.actors} <= {each.actor for each in events if each.actor[:1] == "/"}
    for actor in found.actors:
        own = [each for each in events if each.actor == actor.actor]
        assert actor.restarts == sum(each.kind == "restart" for each in own)
        starts = [each for each in own if each.kind == "start"]
        if starts:
            assert (actor.incarnations, actor.class_name) == (starts[-1].incarnation, starts[-1].type)
        assert actor.usage == pytest.approx(used[actor.actor])
        lengths, waiting = [0], set[int]()
        for each in events:
            if each.kind == "send" and each.detail == actor.actor:
                waiting.add(each.msg_id)
            elif each.kind in {"receive", "drop"}:
                waiting.discard(each.msg_id)
            lengths.append(len(waiting))
        assert (actor.queued_max, actor.queued) == (max(lengths), len(waiting))


@EXACT
@example(LONG)
@given(runs())
def test_waits_and_troubles_are_counted_as_a_plain_recount_does(events: list[TraceEvent]) -> None:
    found = summarise(Trace.of(events))
    waits = {each.wait_id: each for each in events if each.kind == "wait"}
    ended = {each.wait_id: each for each in events if each.kind == "wait_end"}
    assert found.waits == len(waits)
    assert found.waits_open == len(waits.keys() - ended.keys())
    assert found.waits_expired == sum(each.detail == "Expired" for each in ended.values())
    lasted: dict[Any, list[float]] = {}
    for wait_id, wait in waits.items():
        until_s = ended[wait_id].time_s if wait_id in ended else events[-1].time_s
        lasted.setdefault((wait.actor, wait.type, wait.detail), []).append(until_s - wait.time_s)
    longest = sorted((max(times_s) for times_s in lasted.values()), reverse=True)[:10]
    assert [each.longest_s for each in found.longest_waits if each.times] == pytest.approx(longest)
    for each in found.longest_waits:
        if each.times:
            times_s = lasted[each.waiter, each.target, each.reason]
            assert each.times == len(times_s)
            assert each.longest_s == pytest.approx(max(times_s))
            assert each.total_s == pytest.approx(sum(times_s))
    kinds = Counter(each.kind for each in events)
    assert sum(each.count for each in found.errors) == kinds["error"]
    assert sum(found.dead_letters.values()) == kinds["drop"]
    assert sum(found.full.values()) == kinds["full"]
    assert sum(each.count for each in found.blocked) == kinds["blocked"]


@EXACT
@example(LONG)
@given(runs())
def test_jobs_are_counted_as_a_plain_recount_does(events: list[TraceEvent]) -> None:
    found = summarise(Trace.of(events))
    ends = [each for each in events if each.kind == "job_end"]
    for job in found.jobs:
        own = [each for each in ends if each.type == job.name]
        times = [JobTimes.of(each) for each in own]
        assert job.begun == sum(each.kind == "job" and each.type == job.name for each in events)
        assert job.left_behind == sum(each.detail.startswith("left behind") for each in own)
        assert job.queued == pytest.approx(Quantiles.of(each.queued_s for each in times if each))
        assert job.worked == pytest.approx(Quantiles.of(each.worked_s for each in times if each))
    assert {each.name for each in found.jobs} == {
        each.type for each in events if each.kind in {"job", "job_end"}
    }


# Words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (5e-8, "0 s"),
        (5e-7, "< 1 µs"),
        (1e-6, "1.0 µs"),
        (0.0000384, "38 µs"),
        (0.00124, "1.2 ms"),
        (0.5, "500 ms"),
        (1.234, "1.23 s"),
        (30.0, "30.0 s"),
        (119.9, "119.9 s"),
        (150.0, "2.5 min"),
        (86_400.0, "24.0 h"),
    ],
)
def test_seconds_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5120.0 GiB")],
)
def test_bytes_in_words(size: int, words: str) -> None:
    assert bytes_in_words(size) == words


def test_counted() -> None:
    assert [counted(number, "wait") for number in (0, 1, 2000)] == ["0 waits", "1 wait", "2,000 waits"]


def test_a_table_is_aligned_and_cut() -> None:
    assert table(("", "n"), [("abc", "1"), ("d", "20"), ("e", "3")], 2) == [
        "        n",
        "  abc   1",
        "  d    20",
        "  and 1 more",
    ]
    assert table(("", "n"), [], 2) == []
