"""What a simulation promises: one seed is one run, a deadlock is found at once, a failure is told."""

from __future__ import annotations

import asyncio
import re
import threading
from random import Random

import pytest

from actors import Actor, ActorError, Context, JobToken
from actors.simulation import (
    Deadlock,
    Faults,
    Scenario,
    Simulation,
    SimulationFailed,
    SimulationLoop,
    replay,
    simulate,
)
from tests.helpers.cast import Echo, Fail, Performer, supervised
from tests.helpers.catalogue import ALL_SCENARIOS
from tests.helpers.scenarios import Leaf, epochs, fan_out


@pytest.mark.parametrize("scenario", ALL_SCENARIOS.values(), ids=ALL_SCENARIOS)
@pytest.mark.parametrize("seed", [0, 7])
def test_the_same_seed_gives_the_same_trace(scenario: Scenario, seed: int) -> None:
    first, second = (replay(scenario, seed, Faults.everything(1.0)) for _ in range(2))
    assert first == second
    assert first.events


def test_other_seeds_give_other_schedules() -> None:
    traces = {tuple(event[1:] for event in replay(fan_out, seed).events) for seed in range(20)}
    assert len(traces) > 10


def test_a_replay_is_the_run_of_the_report() -> None:
    async def fragile(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p")
        await sim.system.ask(ref, Echo("x"), timeout_s=1.0)
        if sim.random.random() > 0.7:
            raise ValueError("an unlucky number")

    report = simulate(fragile, seeds=50, failures_max=3)
    assert [run.problems for run in report.failures] == [
        ["scenario ended in ValueError: an unlucky number"]
    ] * 3
    assert report.runs == report.failures[-1].seed + 1 < 50
    for run in report.failures:
        assert replay(fragile, run.seed) == run


def test_a_failing_seed_tells_its_story() -> None:
    async def broken(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer, name="p")
        sim.system.tell(ref, Fail())
        await sim.system.ask(ref, Echo("x"), timeout_s=1.0)

    with pytest.raises(SimulationFailed) as caught:
        simulate(broken, seeds=[5]).check()
    story = str(caught.value)
    assert "1 runs, 1 failed" in story
    assert "seed 5:\n  - scenario ended in ActorDown: /p is down" in story
    assert re.search(r"/p#1 begins with cast.fail from outside  \[message \d+\]", story)
    assert "/p#1 has ended: ValueError: as asked" in story


def test_a_report_without_failures_says_what_was_done() -> None:
    report = simulate(fan_out, seeds=30, faults=Faults(kill=1.0))
    report.check()
    assert report.ok
    assert report.runs == 30
    assert set(report.faults) == {"kill"}
    assert str(report).startswith("30 runs, 0 failed; ")


def test_all_blocked_and_no_timer_is_a_deadlock_at_once() -> None:
    async def blocked(_sim: Simulation) -> None:
        await asyncio.Event().wait()

    report = simulate(blocked, seeds=1)
    assert "Deadlock: all tasks are blocked at 0.000 s and no timer is set" in report.failures[0].problems[0]
    assert "blocked are task 0, scenario" in report.failures[0].problems[0]


def test_a_run_without_end_is_a_deadlock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.simulation.loop.STEPS_MAX", 100)

    async def restless(_sim: Simulation) -> None:
        for _ in range(1000):
            await asyncio.sleep(1)

    assert "still not done after 100 steps" in simulate(restless, seeds=1).failures[0].problems[0]


def test_a_task_that_is_left_is_found() -> None:
    async def careless(sim: Simulation) -> None:
        sim.kept = asyncio.create_task(asyncio.sleep(10_000), name="forgotten")  # type: ignore[attr-defined] # so that it is not collected

    report = simulate(careless, seeds=1)
    assert report.failures[0].problems == ["task forgotten is left", "1 timers are still set"]


def test_an_actor_error_is_excused_by_faults_and_an_assertion_never() -> None:
    async def asks(sim: Simulation) -> None:
        ref = await sim.system.spawn(Performer)
        for _ in range(20):
            await sim.system.ask(ref, Echo(""), timeout_s=1.0)

    async def asserts(sim: Simulation) -> None:
        try:
            await asks(sim)
        except ActorError as error:
            raise AssertionError("lost") from error

    simulate(asks, seeds=50, faults=Faults(error=1.0, kill=1.0)).check()
    assert not simulate(asserts, seeds=50, faults=Faults(error=1.0, kill=1.0)).ok


def test_jobs_take_time_and_no_thread() -> None:
    threads: set[str] = set()

    def work(token: JobToken) -> str:
        threads.add(threading.current_thread().name)
        assert 0 < token.time_left_s <= 5
        return "done"

    class Offloader(Leaf):
        async def on_start(self, ctx: Context) -> None:
            assert await ctx.offload_within(5.0, work) == "done"

    async def offload(sim: Simulation) -> None:
        await sim.system.spawn(Offloader, supervision=supervised())
        assert await asyncio.to_thread(lambda: "also in the loop") == "also in the loop"

    runs = [replay(offload, seed) for seed in range(10)]
    assert [run.problems for run in runs] == [[]] * 10
    assert threads == {threading.main_thread().name}
    assert len({run.time_s for run in runs}) > 5


def test_callbacks_of_one_turn_run_in_any_order_and_none_is_starved() -> None:
    orders = set()
    for seed in range(50):
        loop, ran = SimulationLoop(Random(seed)), []  # type: ignore[var-annotated] # numbers
        for number in range(3):
            loop.call_soon(ran.append, number)
        loop.call_later(1.0, loop.stop)
        loop.run_forever()
        loop.close()
        assert sorted(ran) == [0, 1, 2]
        assert loop.time() == 1.0
        orders.add(tuple(ran))
    assert len(orders) == 6


def test_another_thread_is_refused() -> None:
    loop = SimulationLoop(Random(0))
    with pytest.raises(RuntimeError, match="one thread"):
        loop.call_soon_threadsafe(print)
    loop.close()


def test_a_loop_without_anything_to_do_is_a_deadlock() -> None:
    loop = SimulationLoop(Random(0))
    with pytest.raises(Deadlock):
        loop.run_forever()
    loop.close()


@pytest.mark.parametrize("likelihood", [-0.1, 1.1])
def test_a_likelihood_is_a_likelihood(likelihood: float) -> None:
    with pytest.raises(ValueError, match=f"kill={likelihood} is no likelihood"):
        Faults(kill=likelihood)


def test_every_kind_of_fault_is_injected() -> None:
    report = simulate(epochs, seeds=100, faults=Faults.everything(1.0))
    report.check()
    assert set(report.faults) == set(Faults.__dataclass_fields__)


def test_a_fault_is_counted_when_it_takes_effect() -> None:
    class Silent(Actor):
        pass

    async def nothing_to_break(sim: Simulation) -> None:
        await sim.system.spawn(Silent)  # it handles nothing, so that no error can be raised in a handler
        await asyncio.sleep(1.0)

    report = simulate(nothing_to_break, seeds=50, faults=Faults(error=1.0, stall=1.0, stuck_job=1.0))
    report.check()
    assert set(report.faults) <= {"error", "stall"}  # in `on_start`
    assert "stuck_job" not in report.faults
