"""What the look inside a run must find, brought about on purpose: by the scenario, or by a wrong part."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorError, Context, JobToken
from actors.mailbox import Mailbox
from actors.simulation import Faults, Scenario, Simulation, SimulationLoop, replay, simulate
from actors.simulation.coroutine import SteeredCoroutine
from actors.simulation.executor import SimulatedExecutor
from actors.simulation.history import check_lives
from actors.simulation.story import EVENTS_MAX, tell
from actors.tracing import TraceEvent
from actors.waits import Deadlines
from tests.helpers.cast import Echo, Note, Performer, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable


def problems_of(scenario: Scenario, faults: Faults | None = None) -> list[str]:
    return replay(scenario, 0, faults).problems


class Working(Actor):
    """Offloads a job while it starts."""

    async def on_start(self, ctx: Context) -> None:
        await ctx.offload_within(5.0, _work)


def _work(_token: JobToken) -> None:
    """Nothing."""


def test_a_job_that_waits_beside_an_idle_worker_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def offload(sim: Simulation) -> None:
        await sim.system.spawn(Working)

    assert problems_of(offload) == []
    monkeypatch.setattr(SimulatedExecutor, "_hire", lambda _: None)
    assert any(text.startswith("1 jobs wait while 0 of ") for text in problems_of(offload))


def test_a_mailbox_above_its_capacity_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def flood(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p", capacity=2)
        asking = sim.call(sim.system.ask(ref, Sleep(1.0), timeout_s=5.0))
        await asyncio.sleep(0.1)
        for number in range(3):
            try:
                sim.system.tell(ref, Note(str(number)))
            except ActorError:
                assert number == 2
        await asking

    assert problems_of(flood) == []
    monkeypatch.setattr(Mailbox, "_full_for", lambda _self, _entry: False)
    assert "the mailbox of /p holds 3 messages, its capacity is 2" in problems_of(flood)


def test_a_deadline_that_stays_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgotten:
        open = True

        def on_deadline(self) -> None:
            """It does not come to this."""

    async def forget(sim: Simulation) -> None:
        sim.host.deadlines.add(sim.loop.time() + 1e6, Forgotten())

    assert problems_of(forget) == []
    monkeypatch.setattr(Deadlines, "close", lambda _: None)
    assert "1 deadlines are still open" in problems_of(forget)


def test_what_an_ended_actor_still_holds_is_found() -> None:
    async def hold(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p")
        cell = sim.host.cells["/p"]
        put: Callable[[Any], Any] = cell.mailbox._system.append
        assert await sim.system.ask(ref, Echo("x"), timeout_s=1.0) == Note("x")
        await sim.system.stop(ref)
        put(object())
        cell.asks[-1] = object()  # type: ignore[assignment] # it is only counted

    found = problems_of(hold)
    assert "1 messages lie in the mailbox of /p, which has ended" in found
    assert "/p still owes 1 answers" in found


def test_an_ask_that_outlives_its_recipient_is_found() -> None:
    async def ask(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p")
        sim.call(sim.system.ask(ref, Sleep(50.0), timeout_s=100.0))
        await asyncio.sleep(1.0)
        recipient = sim.host.delivery.recipients.pop("/p")
        await asyncio.sleep(1.0)
        sim.host.delivery.recipients["/p"] = recipient

    assert any("is open at" in text and text.endswith("and /p has ended") for text in problems_of(ask))


def test_a_caller_that_is_cancelled_without_a_fault_is_found() -> None:
    async def cancel(sim: Simulation) -> None:
        caller = sim.call(asyncio.sleep(10), name="who")
        await asyncio.sleep(1)
        caller.cancel()

    assert problems_of(cancel) == ["who was cancelled"]


def test_what_reaches_the_loop_is_found() -> None:
    async def leave(sim: Simulation) -> None:
        sim.loop.call_soon(_raise, SystemExit("out"))
        await asyncio.sleep(1)

    async def callback(sim: Simulation) -> None:
        sim.loop.call_soon(_raise, LookupError("lost"))
        await asyncio.sleep(1)

    assert problems_of(leave)[0] == "SystemExit left the event loop: out"
    assert any(
        text.startswith("unhandled: ") and "LookupError: lost" in text for text in problems_of(callback)
    )


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(("inner", "excused"), [(ActorError("gone"), True), (ValueError("wrong"), False)])
def test_a_group_of_errors_is_excused_when_all_of_them_are(inner: Exception, excused: bool) -> None:  # noqa: FBT001 - a case of the test
    async def grouped(sim: Simulation) -> None:
        await sim.system.spawn(Performer)
        await asyncio.sleep(1)
        raise ExceptionGroup("both", [ActorError("down"), inner])

    report = simulate(grouped, seeds=20, faults=Faults(error=1.0, kill=1.0), failures_max=20)
    faulty = [number for number in range(20) if replay(grouped, number, Faults(error=1.0, kill=1.0)).faults]
    assert faulty
    failed = {run.seed for run in report.failures}
    assert (failed.isdisjoint(faulty)) is excused


def test_a_run_too_long_to_be_checked_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.simulation.run.EVENTS_MAX", 10)

    async def talk(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer)
        for _ in range(10):
            await sim.system.ask(ref, Echo("x"), timeout_s=1.0)

    assert "the run has 10 events or more: its history was not checked" in problems_of(talk)


@pytest.mark.parametrize("collecting", [True, False])
def test_a_run_leaves_the_collector_as_it_found_it(collecting: bool) -> None:  # noqa: FBT001 - a case of the test
    async def nothing(_sim: Simulation) -> None:
        assert not gc.isenabled()

    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        assert problems_of(nothing) == []
        assert gc.isenabled() is collecting
    finally:
        (gc.enable if before else gc.disable)()


def test_a_long_story_is_told_from_its_last_events() -> None:
    events = [
        TraceEvent(float(at), "receive", f"/a-{at}", 1, at, 0, "tag", "outside")
        for at in range(EVENTS_MAX + 7)
    ]
    lines = tell("run", ["wrong"], events).split("\n")
    assert lines[:4] == ["run:", "  - wrong", "what happened:", "  ... 7 events before"]
    assert len(lines) == 4 + EVENTS_MAX
    assert "/a-7#1 " in lines[4]


def test_a_life_that_is_said_to_be_down_is_over() -> None:
    born = TraceEvent(0.0, "start", "/a", 1, 0, 0, "Performer", "")
    down = TraceEvent(0.0, "send", "/a", 1, 1, 0, "actors.down", "/w")
    end = TraceEvent(0.0, "end", "/a", 1, 0, 0, "", "stopped")
    assert "/a#1 is said to be down, and is alive" in list(check_lives([born, down]))
    assert "/a#1 is said to be down, and is alive" not in list(check_lives([born, end, down]))


def test_a_second_answer_is_found() -> None:
    replied: Counter[int] = Counter()

    async def ask(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p")
        await sim.system.ask(ref, Echo("x"), timeout_s=1.0)
        for event in sim.tracer.events():
            if event.kind == "reply":
                replied[event.msg_id] += 1
                sim.tracer.emit(
                    "reply", event.actor, event.incarnation, event.msg_id, 0, event.type, event.detail
                )

    found = problems_of(ask)
    assert replied
    assert all(f"ask {number} ended as ['answered'] and has 2 answers" in found for number in replied)


def test_a_steered_coroutine_can_be_awaited() -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "done"

    async def outer() -> Any:
        return await SteeredCoroutine(inner(), asyncio.get_running_loop())

    assert asyncio.run(outer()) == "done"


def test_a_job_that_was_cancelled_in_the_queue_never_runs() -> None:
    loop, ran = SimulationLoop(Random(0)), list[str]()
    executor = SimulatedExecutor(loop, Random(0), workers=1)
    first, second = (executor.submit(ran.append, name) for name in ("first", "second"))
    third = executor.submit(ran.append, "third")
    assert second.cancel()
    loop.call_later(1e6, loop.stop)
    loop.run_forever()
    loop.close()
    assert first.done()
    assert third.done()
    assert ran == ["first", "third"]


def test_a_loop_without_jobs_refuses_them() -> None:
    loop = SimulationLoop(Random(0))
    with pytest.raises(RuntimeError, match="runs no threads, not even in None"):
        loop.run_in_executor(None, print)
    loop.close()
