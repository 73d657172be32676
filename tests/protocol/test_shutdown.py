"""Law 9: shutdown has a budget, whatever the actors are at."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import Actor, ActorDown, ActorSystem, Context, JobToken, SystemClosed, ending, on
from tests.helpers.cast import (
    Cling,
    Director,
    Echo,
    Fail,
    Note,
    Performer,
    Sleep,
    Spawn,
    supervised,
)
from tests.helpers.virtual_loop import Stuck, settle, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import ActorRef
    from actors.cell import Cell

BUDGET_S = 4.0


class Blocker(Actor):
    """Waits for a job that never comes back."""

    def __init__(self, job: Callable[[JobToken], str]) -> None:
        self.job = job

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        await ctx.offload_within(1000, self.job)


class SlowToStop(Performer):
    """Never comes to the end of its last hook."""

    async def on_stop(self, ctx: Context) -> None:
        await asyncio.sleep(1000)


@virtual
async def test_an_idle_system_ends_at_once_in_reverse_order_of_start() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        for name in "abc":
            await system.spawn(Performer, log, name, name=name)
        report = await system.shutdown(BUDGET_S)
    assert log[-3:] == ["stop c", "stop b", "stop a"]
    assert report.duration_s == 0
    assert report.survivors == {}
    assert report.dead_letters == {}


@virtual
async def test_a_clean_end_of_a_tree_leaves_no_dead_letters() -> None:
    async with ActorSystem() as system:
        top = await system.spawn(Director, name="top")
        for name in "ab":
            await system.ask(top, Spawn(name, max_restarts=3), timeout_s=1)
        report = await system.shutdown(BUDGET_S)
    assert report.dead_letters == {}
    await settle()
    assert system.statistics()["tasks"] == system.statistics()["open_deadlines"] == 0


async def _stuck_in_await(system: ActorSystem) -> ActorRef[Actor]:
    ref = await system.spawn(Performer, name="p", supervision=supervised())
    system.tell(ref, Sleep(1000))
    return ref


async def _clinging(system: ActorSystem) -> ActorRef[Actor]:
    ref = await system.spawn(Performer, name="p", supervision=supervised())
    system.tell(ref, Cling())
    return ref


async def _full(system: ActorSystem) -> ActorRef[Actor]:
    ref = await system.spawn(Performer, name="p", capacity=3)
    for _ in range(3):
        system.tell(ref, Sleep(1000))
    return ref


async def _pausing(system: ActorSystem) -> ActorRef[Actor]:
    ref = await system.spawn(Performer, name="p", supervision=supervised(backoff_s=100))
    system.tell(ref, Fail())
    return ref


async def _slow_hook(system: ActorSystem) -> ActorRef[Actor]:
    return await system.spawn(SlowToStop, name="p")


async def _deep(system: ActorSystem) -> ActorRef[Actor]:
    top = await system.spawn(Director, name="p")
    middle = (await system.ask(top, Spawn("m"), timeout_s=1)).ref
    leaf = (await system.ask(middle, Spawn("l", max_restarts=3), timeout_s=1)).ref
    for ref in (top, middle, leaf):
        system.tell(ref, Cling())
    return top


@pytest.mark.parametrize("state", [_stuck_in_await, _clinging, _full, _pausing, _slow_hook, _deep])
def test_the_budget_holds(state: Callable[[ActorSystem], object]) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            await state(system)  # type: ignore[misc] # one of the coroutine functions above
            asks = [asyncio.create_task(_ask(system)) for _ in range(3)]
            await settle()
            begun_s = asyncio.get_running_loop().time()
            report = await system.shutdown(BUDGET_S)
            assert asyncio.get_running_loop().time() - begun_s == report.duration_s <= BUDGET_S
            assert system.tree() == ()
            expected = "answered" if state is _slow_hook else "ActorDown"
            assert set(await asyncio.gather(*asks)) == {expected}
            counts = system.statistics()
            assert counts["open_asks"] == counts["open_waits"] == counts["actors"] == 0
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1000)
            assert loop.time() >= 1000
            assert system.tree() == (), "nobody comes back"

    scenario()


async def _ask(system: ActorSystem) -> str:
    cell = system._known().cells["/p"]
    try:
        await system.ask(cell.ref, Echo(), timeout_s=500)
    except ActorDown as error:
        return type(error).__name__
    return "answered"


@virtual
async def test_never_again_threads_that_never_joined_at_shutdown() -> None:
    """A stuck job is left behind as a daemon and named with its stack; nobody joins it."""
    stuck = Stuck()
    async with ActorSystem("plant") as system:
        ref = await system.spawn(Blocker, stuck, name="blocker")
        system.tell(ref, Note())
        await asyncio.sleep(1)
        assert stuck.entered == 1
        report = await system.shutdown(BUDGET_S)
        assert report.duration_s <= BUDGET_S
        assert list(report.survivors) == ["plant-job-1"]
        assert "self._released.wait" in report.survivors["plant-job-1"]
        stuck.release()
        assert stuck.left.wait(5)


@virtual
async def test_survivors_are_named_with_their_stacks() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        system.tell(ref, Cling())
        await settle()
        report = await system.shutdown(BUDGET_S)
        assert list(report.survivors) == ["task of /p"]
        assert "in cling" in report.survivors["task of /p"]
        await asyncio.sleep(200)
        assert system.statistics()["stray_tasks"] == 0


@virtual
async def test_what_was_admitted_is_drained() -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, log, name="p")
        for number in range(3):
            system.tell(ref, Sleep(0.1))
            system.tell(ref, Note(str(number)))
        asking = asyncio.create_task(system.ask(ref, Echo("last"), timeout_s=9))
        await settle()
        report = await system.shutdown(BUDGET_S)
        assert await asking == Note("last")
        assert report.dead_letters == {}
    assert [line for line in log if line.startswith("note")] == ["note 0", "note 1", "note 2"]
    assert log[-1] == "stop /p", "the last hook comes after the last message"


@virtual
async def test_admission_is_closed_first() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        system.tell(ref, Sleep(1))
        closing = asyncio.create_task(system.shutdown(BUDGET_S))
        await settle()
        with pytest.raises(SystemClosed, match="shutting down"):
            await system.ask(ref, Echo(), timeout_s=1)
        with pytest.raises(SystemClosed):
            system.tell(ref, Note())
        with pytest.raises(SystemClosed):
            await system.spawn(Performer)
        with pytest.raises(SystemClosed):
            system.receiver()
        await closing


@virtual
async def test_who_is_drained_cannot_begin_anything_new() -> None:
    outcomes: list[str] = []

    class Parent(Performer):
        @on(Note)
        async def note(self, msg: Note, ctx: Context) -> None:
            child = await ctx.spawn(Performer)
            await asyncio.sleep(1)
            with pytest.raises(SystemClosed) as caught:
                await ctx.ask(child, Echo())
            outcomes.append(str(caught.value))

    async with ActorSystem() as system:
        ref = await system.spawn(Parent, name="p")
        system.tell(ref, Note())
        await settle()
        await system.shutdown(BUDGET_S)
    assert len(outcomes) == 1
    assert outcomes[0].startswith("the actor system is closed: /p/performer-")


@virtual
async def test_who_is_stopping_takes_no_more_asks() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        system.tell(ref, Sleep(2))
        await settle()
        stopping = asyncio.create_task(system.stop(ref, timeout_s=20))
        await settle()
        with pytest.raises(ActorDown, match=r"/p is down \(for good\): stopping"):
            await system.ask(ref, Echo(), timeout_s=1)
        system.tell(ref, Note())
        await stopping
        assert system.statistics()["dead_letters"] == {"actor stopping": 1}


@virtual
async def test_even_a_fault_of_the_runtime_ends_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def break_down(_cell: Cell) -> None:
        raise AssertionError("cannot happen")

    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        queued = [asyncio.create_task(system.ask(ref, Fail(), timeout_s=50)) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(ending, "terminate", break_down)
            outcomes = await asyncio.gather(*queued, return_exceptions=True)
        assert str(outcomes[1]) == "/p is down (for good): runtime fault: AssertionError: cannot happen"
        assert system.tree() == ()


def test_a_job_that_reports_after_the_loop_was_closed_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    jobs: list[Stuck] = []

    @virtual
    async def scenario() -> None:
        jobs.append(Stuck())
        async with ActorSystem(shutdown_s=1) as system:
            ref = await system.spawn(Blocker, jobs[0])
            system.tell(ref, Note())
            await asyncio.sleep(1)
            assert jobs[0].entered == 1

    scenario()
    caplog.clear()  # of the report that it was left behind
    thread = jobs[0].threads[0]
    jobs[0].release()
    thread.join(10)
    assert not thread.is_alive()
    assert caplog.text == ""


@virtual
async def test_a_second_shutdown_jumps_to_the_last_phase() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        system.tell(ref, Cling())
        first = asyncio.create_task(system.shutdown(1000))
        await asyncio.sleep(2)
        begun_s = asyncio.get_running_loop().time()
        report = await system.shutdown(0)
        assert asyncio.get_running_loop().time() == begun_s
        assert await first is report
        assert report.duration_s == 2
        assert await system.shutdown() is report, "a later call returns the same report"


@virtual
async def test_shutdown_without_any_time_abandons_at_once() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        system.tell(ref, Sleep(1000))
        await settle()
        report = await system.shutdown(0)
        assert report.duration_s == 0
        assert report.survivors == {}, "whoever obeys its cancellation is no survivor"


@virtual
async def test_cancelling_the_shutdown_abandons_at_once() -> None:
    """What the second Ctrl-C does: the task that shuts down is cancelled in the middle of it."""
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        system.tell(ref, Cling())
        closing = asyncio.create_task(system.shutdown(1000))
        await asyncio.sleep(2)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert asyncio.get_running_loop().time() == 2
        assert system.tree() == ()
        assert system.statistics()["open_waits"] == 0
        report = await system.shutdown()
        assert list(report.survivors) == ["task of /p"]
        await asyncio.sleep(200)


@virtual
async def test_the_block_ends_the_system_when_its_body_raises() -> None:
    system = ActorSystem()
    with pytest.raises(LookupError, match="in the body"):
        await _raise_in(system)
    assert system.tree() == ()


async def _raise_in(system: ActorSystem) -> None:
    async with system:
        await system.spawn(Performer, name="p")
        raise LookupError("in the body")


@virtual
async def test_the_block_ends_the_system_when_its_body_is_cancelled() -> None:
    systems: list[ActorSystem] = []

    async def embed() -> None:
        async with ActorSystem(shutdown_s=BUDGET_S) as system:
            systems.append(system)
            ref = await system.spawn(Performer, name="p")
            await system.ask(ref, Sleep(1000), timeout_s=2000)

    embedding = asyncio.create_task(embed())
    await settle()
    embedding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await embedding
    assert systems[0].tree() == ()
    assert asyncio.get_running_loop().time() <= BUDGET_S


@virtual
async def test_a_system_is_used_once_and_only_while_it_is_open() -> None:
    system = ActorSystem("mine")
    with pytest.raises(SystemClosed, match="'mine' is not open: use `async with"):
        system.tree()
    async with system:
        with pytest.raises(SystemClosed, match="opened before"):
            async with system:
                pass
    with pytest.raises(SystemClosed, match="shutting down"):
        await system.spawn(Performer)


@virtual
async def test_two_systems_in_one_loop_do_not_meet() -> None:
    async with ActorSystem("one") as one, ActorSystem("two") as two:
        ref = await one.spawn(Performer, name="p")
        await two.spawn(Performer, name="p")
        await one.shutdown(BUDGET_S)
        assert [node.path for node in two.tree()] == ["/p"]
        with pytest.raises(SystemClosed):
            await one.ask(ref, Echo(), timeout_s=1)


@virtual
async def test_a_child_that_is_spawned_while_its_parent_stops_ends_with_it() -> None:
    class LateParent(Actor):
        async def on_stop(self, ctx: Context) -> None:
            await ctx.spawn(Performer, log, "late", supervision=supervised())

    log: list[str] = []
    async with ActorSystem() as system:
        await system.spawn(LateParent)
        await system.shutdown(BUDGET_S)
        assert log == ["start late#1", "stop late"]
        assert system.statistics()["actors"] == 0
