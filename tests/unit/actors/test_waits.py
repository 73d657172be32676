"""Laws 2 and 5 in parts: a wait is a record with an end, and one heap brings the ends."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import time
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorError, Expired, Wait, Witness
from actors.errors import EndlessWait
from actors.tracing import Tracer
from actors.waits import COMPACT_AT, OUTSIDE, Deadlines, Origin, WaitTable, clock_of, find_path
from tests.helpers.virtual_loop import Deadlock, run_virtual, settle, virtual

A = Origin("/a", 1)


def _table() -> tuple[WaitTable, Deadlines]:
    deadlines = Deadlines(asyncio.get_running_loop())
    return WaitTable(asyncio.get_running_loop(), deadlines), deadlines


def _wait(deadline_s: float, witness: Any = Witness.MONITOR) -> Wait:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return Wait(1, A, "/b", "a reply", 0.0, deadline_s, witness, future)


class Bell:
    """Notes when it rings; may raise then."""

    def __init__(self, rung: list[str], name: str, error: Exception | None = None) -> None:
        self.rung = rung
        self.name = name
        self.error = error
        self.open = True

    def on_deadline(self) -> None:
        """Ring."""
        self.open = False
        self.rung.append(self.name)
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize("deadline_s", [math.inf, -math.inf, math.nan])
def test_a_wait_without_a_finite_deadline_cannot_be_built(deadline_s: float) -> None:
    @virtual
    async def scenario() -> None:
        with pytest.raises(EndlessWait, match="/a cannot wait for /b without end"):
            _wait(deadline_s)
        table, deadlines = _table()
        with pytest.raises(EndlessWait, match="without end"):
            table.open(A, "/b", "a reply", deadline_s, Witness.TIMER)
        assert list(table) == []
        assert len(deadlines) == 0

    scenario()


@pytest.mark.parametrize("witness", [None, "monitor", 0])
def test_a_wait_without_a_witness_cannot_be_built(witness: object) -> None:
    @virtual
    async def scenario() -> None:
        with pytest.raises(EndlessWait, match="nothing is known to end it"):
            _wait(1.0, witness)

    scenario()


@virtual
async def test_a_wait_says_all_that_is_known_of_it() -> None:
    wait = _wait(2.0, Witness.JOB_SLOT)
    assert (wait.wait_id, wait.origin, wait.target, wait.reason) == (1, A, "/b", "a reply")
    assert (wait.since_s, wait.deadline_s, wait.witness) == (0.0, 2.0, Witness.JOB_SLOT)


def test_an_endless_wait_is_an_error_of_the_runtime_and_of_the_value() -> None:
    assert issubclass(EndlessWait, ActorError)
    assert issubclass(EndlessWait, ValueError)


@virtual
async def test_a_wait_ends_once() -> None:
    wait = _wait(1.0)
    assert wait.succeed("first")
    assert not wait.succeed("second")
    assert not wait.fail(LookupError())
    wait.on_deadline()
    assert not wait.open
    assert await wait.future == "first"


@virtual
async def test_a_wait_that_fails_and_is_never_looked_at_is_silent() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))
    assert _wait(1.0).fail(LookupError())
    gc.collect()  # asyncio complains when a future is collected whose error nobody has seen
    assert reported == []


@virtual
async def test_a_future_cannot_hold_stop_iteration_but_a_wait_ends_all_the_same() -> None:
    wait = _wait(1.0)
    assert wait.fail(StopIteration("value"))
    with pytest.raises(RuntimeError, match="StopIteration was raised: value"):
        await wait.future


@virtual
async def test_expiry_says_who_waited_for_whom_why_and_since_when() -> None:
    table, _ = _table()
    await asyncio.sleep(1.5)
    wait = table.open(A, "/b", "reply to x", 3.5, Witness.MONITOR)
    with pytest.raises(Expired) as caught:
        await wait.future
    assert str(caught.value) == "/a waited for /b (reply to x) and was given 2 s"
    assert asyncio.get_running_loop().time() == 3.5


def test_the_clock_is_the_loops_own_unless_that_is_an_ordinary_one() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert clock_of(loop) is time.monotonic
    finally:
        loop.close()

    async def scenario() -> None:
        virtual_loop = asyncio.get_running_loop()
        assert clock_of(virtual_loop) == virtual_loop.time

    run_virtual(scenario)


@virtual
async def test_deadlines_come_in_order_and_equal_ones_as_they_were_set() -> None:
    deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()
    for name, when_s in [("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0)]:
        deadlines.add(when_s, Bell(rung, name))
    await asyncio.sleep(2.5)
    assert rung == ["a", "b1", "b2"]
    assert len(deadlines) == 1
    await asyncio.sleep(1)
    assert rung[-1] == "c"


@virtual
async def test_one_that_was_closed_does_not_come() -> None:
    deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()
    bell = Bell(rung, "closed")
    deadlines.add(1.0, bell)
    deadlines.add(2.0, Bell(rung, "open"))
    bell.open = False
    await asyncio.sleep(3)
    assert rung == ["open"]


@virtual
async def test_a_deadline_in_the_past_comes_at_once() -> None:
    deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()
    await asyncio.sleep(5)
    deadlines.add(1.0, Bell(rung, "late"))
    await asyncio.sleep(0.001)
    assert rung == ["late"]


@virtual
async def test_what_a_deadline_sets_itself_comes_too() -> None:
    deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()

    class Chain(Bell):
        def on_deadline(self) -> None:
            super().on_deadline()
            deadlines.add(asyncio.get_running_loop().time() + 1, Bell(rung, "next"))

    deadlines.add(1.0, Chain(rung, "first"))
    await asyncio.sleep(3)
    assert rung == ["first", "next"]


@virtual
async def test_one_that_raises_does_not_take_the_others_along() -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    deadlines, rung = Deadlines(loop), list[str]()
    deadlines.add(1.0, Bell(rung, "first", LookupError("a fault")))
    deadlines.add(1.0, Bell(rung, "second"))
    deadlines.add(2.0, Bell(rung, "third"))
    await asyncio.sleep(3)
    assert rung == ["first", "second", "third"]
    assert [(context["message"], str(context["exception"])) for context in reported] == [
        ("a deadline failed", "a fault")
    ]


def _held(deadlines: Deadlines) -> int:
    """How many deadlines are kept, open or not."""
    young = [number for number in deadlines.waits if number > deadlines._taken_in]
    return len(deadlines._heap) + len(young)


@virtual
async def test_the_heap_stays_within_twice_the_open_ones() -> None:
    table, deadlines = _table()
    kept = [table.open(A, "/b", "kept", 1e6, Witness.TIMER) for _ in range(10)]
    for _ in range(5000):
        table.close(table.open(A, "/b", "short", 1e6, Witness.TIMER))
        assert _held(deadlines) <= 2 * len(kept) + 2 * COMPACT_AT
    assert len(deadlines) == len(kept)


@virtual
async def test_the_heap_stays_within_twice_the_open_ones_when_they_have_lasted_for_a_while() -> None:
    """The timer fires between, so that what is closed is in the heap by then; and the oldest goes first."""
    table, deadlines = _table()
    loop, rung = asyncio.get_running_loop(), list[str]()
    is_open = [table.open(A, "/b", "kept", 1e6 + number, Witness.TIMER) for number in range(10)]
    for number in range(1000):
        is_open.append(table.open(A, "/b", "long", 2e6 + number, Witness.TIMER))
        deadlines.add(loop.time() + 0.5, Bell(rung, "between"))
        await asyncio.sleep(1)
        table.close(is_open.pop(0))
        assert _held(deadlines) <= 2 * len(is_open) + 2 * COMPACT_AT
    assert len(rung) == 1000
    assert len(deadlines) == len(is_open)


@virtual
async def test_what_is_closed_does_not_collect_behind_those_that_are_patient() -> None:
    """In the heap, and never at its top, it has to be cleared out; which costs little if that is rare."""
    table, deadlines = _table()
    loop, rung = asyncio.get_running_loop(), list[str]()
    patient = [table.open(A, "/b", "patient", 1e6 + number, Witness.TIMER) for number in range(100)]
    heap, rebuilt = deadlines._heap, 0
    for _ in range(1000):
        wait = table.open(A, "/b", "short", 2e6, Witness.TIMER)
        deadlines.add(loop.time() + 0.5, Bell(rung, "between"))
        await asyncio.sleep(1)
        table.close(wait)
        assert _held(deadlines) <= 2 * (len(patient) + 1) + COMPACT_AT + 1
        if deadlines._heap is not heap:
            heap, rebuilt = deadlines._heap, rebuilt + 1
    assert len(rung) == 1000
    assert len(deadlines) == len(patient)
    assert 1 <= rebuilt <= 1000 / len(patient)


@virtual
async def test_clearing_out_those_that_are_closed_leaves_the_others_on_time() -> None:
    table, deadlines = _table()
    loop, random, late_s = asyncio.get_running_loop(), Random(0), list[float]()
    waits = [table.open(A, "/b", "one of many", random.uniform(10, 20), Witness.TIMER) for _ in range(500)]
    for wait in waits:
        wait.future.add_done_callback(lambda _, wait=wait: late_s.append(loop.time() - wait.deadline_s))  # type: ignore[misc] # a default
    deadlines.add(1.0, Bell([], "takes them in"))
    await asyncio.sleep(2)
    closed = random.sample(waits, 400)
    for wait in closed:
        table.close(wait)
    await settle()
    late_s.clear()
    deadlines._limit = COMPACT_AT
    deadlines.add(3.0, Bell([], "clears them out"))
    await asyncio.sleep(2)
    assert _held(deadlines) == len(deadlines) == len(waits) - len(closed)
    await asyncio.sleep(20)
    assert late_s == [0.0] * (len(waits) - len(closed))


@virtual
async def test_one_closed_after_the_other_leaves_nothing_behind() -> None:
    table, deadlines = _table()
    kept = table.open(A, "/b", "kept", 1.0, Witness.TIMER)
    for _ in range(10):
        table.close(table.open(A, "/b", "short", 1e6, Witness.TIMER))
        assert _held(deadlines) == 1, "it is taken out at once"
    with pytest.raises(Expired):
        await kept.future


@virtual
async def test_waits_and_other_deadlines_come_in_their_order() -> None:
    table, deadlines = _table()
    rung: list[str] = []
    for name, when_s in [("late", 4.0), ("early", 2.0)]:
        wait = table.open(A, "/b", name, when_s, Witness.TIMER)
        wait.future.add_done_callback(lambda _, name=name: rung.append(name))  # type: ignore[misc] # a default
    for name, when_s in [("last", 5.0), ("first", 1.0), ("between", 3.0)]:
        deadlines.add(when_s, Bell(rung, name))
    await asyncio.sleep(6)
    assert rung == ["first", "early", "between", "late", "last"]


@virtual
async def test_closing_all_leaves_no_timer() -> None:
    deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()
    deadlines.add(1.0, Bell(rung, "never"))
    deadlines.close()
    await asyncio.sleep(2)
    assert rung == []
    assert len(deadlines) == 0


@virtual
async def test_what_was_dropped_does_not_come_with_what_is_set_later() -> None:
    table, deadlines = _table()
    rung: list[str] = []
    deadlines.add(1.0, Bell(rung, "dropped"))
    wait = table.open(A, "/b", "dropped, too", 1.0, Witness.TIMER)
    deadlines.close()
    assert len(deadlines) == 0
    deadlines.add(2.0, Bell(rung, "later"))
    await asyncio.sleep(3)
    assert rung == ["later"]
    assert wait.open


def test_closing_leaves_nothing_to_come() -> None:
    async def scenario() -> None:
        table, deadlines = _table()
        deadlines.add(1.0, Bell([], "never"))
        table.open(A, "/b", "a reply", 0.5, Witness.TIMER)
        deadlines.close()
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"blocked at 0\.0 s and no timer is set"):
        run_virtual(scenario)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=80))
def test_every_open_deadline_comes_once_in_order(plan: list[tuple[float, bool]]) -> None:
    async def scenario() -> None:
        deadlines, rung = Deadlines(asyncio.get_running_loop()), list[str]()
        for number, (when_s, closed) in enumerate(plan):
            bell = Bell(rung, str(number))
            deadlines.add(when_s, bell)
            if closed:
                bell.open = False
        await asyncio.sleep(101)
        still_open = [(when_s, number) for number, (when_s, closed) in enumerate(plan) if not closed]
        assert rung == [str(number) for _, number in sorted(still_open)]

    run_virtual(scenario)


def test_unless_told_otherwise_nobody_of_the_tree_waits_and_nothing_is_handled() -> None:
    origin = Origin("somebody")
    assert (origin.name, origin.incarnation, origin.cause_id) == ("somebody", 0, 0)


@virtual
async def test_the_table_knows_who_waits() -> None:
    table, _ = _table()
    first = table.open(A, "/b", "one", 5.0, Witness.MONITOR)
    second = table.open(Origin("/c", 1), "/b", "two", 5.0, Witness.MONITOR)
    third = table.open(A, "/d", "three", 5.0, Witness.MONITOR)
    assert list(table) == [first, second, third]
    assert table.of("/a") == [first, third]
    table.close(first)
    table.close(first)
    assert first.future.cancelled()
    assert table.of("/a") == [third]
    table.close(third)
    assert table.of("/a") == []
    assert list(table) == [second]


@virtual
async def test_a_waiter_is_forgotten_once_it_waits_for_nothing() -> None:
    table, _ = _table()
    assert table.idle("/a")
    wait = table.open(A, "/b", "one", 5.0, Witness.MONITOR)
    outside = table.open(OUTSIDE, "/b", "two", 5.0, Witness.MONITOR)
    assert (wait.waiter, outside.waiter) == ("/a", "outside")
    table.forget("/a")
    assert not table.idle("/a"), "one that still waits is not forgotten"
    assert table.of("/a") == [wait]
    table.close(wait)
    assert table.idle("/a")
    table.forget("/a")
    table.forget("/never seen")
    assert "/a" not in table._by_waiter
    assert list(table) == [outside]


@virtual
async def test_paths_and_chains_follow_the_waits() -> None:
    table, _ = _table()
    for waiter, target in [("/a", "/b"), ("/a", "/x"), ("/b", "/c"), ("/c", "/d")]:
        table.open(Origin(waiter, 1), target, "a reply", 5.0, Witness.MONITOR)
    assert [str(w.waiter) for w in table.chain("/a")] == ["/a", "/b", "/c"]
    assert table.chain("/d") == []
    path = table.path("/a", "/d")
    assert path is not None
    assert [wait.target for wait in path] == ["/b", "/c", "/d"]
    assert table.path("/d", "/a") is None
    assert table.path("/a", "/a") == [], "whoever waits for itself waits in a circle already"
    table.open(Origin("/d", 1), "/a", "a circle", 5.0, Witness.MONITOR)
    assert len(table.chain("/a")) == 4, "a circle is followed once"
    assert table.path("/d", "/c") is not None


edges = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)


@given(edges, st.integers(0, 6), st.integers(0, 6))
def test_a_path_is_found_exactly_when_there_is_one(
    pairs: list[tuple[int, int]], start: int, goal: int
) -> None:
    async def scenario() -> None:
        table, _ = _table()
        for waiter, target in pairs:
            table.open(Origin(str(waiter), 1), str(target), "a reply", 5.0, Witness.MONITOR)
        reachable = {start}
        for _ in range(7):
            reachable |= {target for waiter, target in pairs if waiter in reachable}
        for waits in (table, list(table)):
            path = find_path(str(start), str(goal), waits)
            assert (path is not None) == (goal in reachable)
            if path:
                assert path[0].waiter == str(start)
                assert path[-1].target == str(goal)
                assert all(one.target == other.waiter for one, other in itertools.pairwise(path))

    run_virtual(scenario)


@virtual
async def test_each_wait_and_its_outcome_are_traced_with_their_cause() -> None:
    loop = asyncio.get_running_loop()
    tracer = Tracer(loop.time)
    table = WaitTable(loop, Deadlines(loop), tracer)
    answered, failed, dropped = (
        table.open(Origin("/a", 2, n), f"/{n}", "a reply", 5.0, Witness.MONITOR) for n in (7, 8, 9)
    )
    answered.succeed("value")
    failed.fail(LookupError())
    for wait in (answered, failed, dropped):
        table.close(wait)
    events = tracer.events()
    assert {e.actor for e in events} == {"/a"}
    assert {e.detail for e in events[:3]} == {"a reply"}
    assert [(e.kind, e.type, e.cause_id, e.incarnation, e.msg_id) for e in events[:3]] == [
        ("wait", "/7", 7, 2, 0),
        ("wait", "/8", 8, 2, 0),
        ("wait", "/9", 9, 2, 0),
    ]
    assert [(e.kind, e.type, e.cause_id, e.incarnation, e.msg_id, e.detail) for e in events[3:]] == [
        ("wait_end", "/7", 7, 2, 0, "answered"),
        ("wait_end", "/8", 8, 2, 0, "LookupError"),
        ("wait_end", "/9", 9, 2, 0, "given up"),
    ]
