"""What an exploration promises: every schedule once, and no other; and what it shows of the runtime."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

from actors.simulation import Bounds, Scenario, Simulation, SimulationFailed, explore, replay_choices
from actors.simulation.explore import Choices
from actors.simulation.loop import ChoosingLoop
from tests.helpers.mutants import MUTANTS
from tests.helpers.small_scopes import (
    SMALL_SCOPES,
    ask_and_reply,
    ask_and_stop,
    ask_crash_restart,
    epoch_with_two_children,
    two_askers_one_place,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(0)  # what bounds them is the number of schedules, on any machine

# Every kind of fault that can be explored, at any point and to any target.
ANY_FAULT = ("error", "crash", "kill", "stop", "cancel_caller", "shutdown", "full_mailbox", "lag")

each_scope = pytest.mark.parametrize("scope", SMALL_SCOPES, ids=lambda scope: scope.__name__)


@each_scope
def test_the_laws_hold_in_every_schedule(scope: Scenario) -> None:
    report = explore(scope)
    print(f"{scope.__name__}: {report}")
    report.check()
    assert report.exhausted
    assert report.schedules > 1


@each_scope
def test_the_laws_hold_wherever_a_fault_comes(scope: Scenario) -> None:
    delays_max = 0 if scope is epoch_with_two_children else 1
    report = explore(scope, Bounds(faults=ANY_FAULT, delays_max=delays_max))
    print(f"{scope.__name__}: {report}")
    report.check()
    assert set(report.faults) == set(ANY_FAULT)


@pytest.mark.parametrize(
    ("scope", "kind"),
    [
        (ask_and_stop, "error"),
        (ask_and_stop, "kill"),
        (ask_crash_restart, "error"),
        (ask_crash_restart, "crash"),
    ],
)
def test_the_laws_hold_in_every_schedule_with_a_crash(scope: Scenario, kind: str) -> None:
    explore(scope, Bounds(faults=(kind,))).check()


@pytest.mark.parametrize(("callers", "steps"), [(1, 3), (2, 1), (2, 3), (3, 2), (4, 1), (2, 5)])
def test_independent_steps_are_interleaved_in_as_many_ways_as_there_are(callers: int, steps: int) -> None:
    orders = list(_interleavings(callers, steps))
    assert len(orders) == len(set(orders))
    assert len(orders) == math.factorial(callers * steps) // math.factorial(steps) ** callers


def _interleavings(callers: int, steps: int) -> Iterator[tuple[int, ...]]:
    """Run all schedules of independent chains of callbacks; yield who ran when."""
    prefix: tuple[int, ...] | None = ()
    while prefix is not None:
        choices = Choices(prefix)
        yield _run_chains(choices, callers, steps)
        prefix = choices.following()


def _run_chains(choices: Choices, callers: int, steps: int) -> tuple[int, ...]:
    loop = ChoosingLoop(lambda ready: choices.pick(len(ready)))
    ran: list[int] = []

    def step(caller: int, left: int) -> None:
        ran.append(caller)
        if left:
            loop.call_soon(step, caller, left - 1)

    for caller in range(callers):
        loop.call_soon(step, caller, steps - 1)
    loop.call_later(1.0, loop.stop)
    loop.run_forever()
    loop.close()
    return tuple(ran)


def test_a_choice_of_the_scenario_is_taken_every_way() -> None:
    seen = set()

    async def choosy(sim: Simulation) -> None:
        seen.add((sim.choose("ab"), sim.choose((1, 2, 3))))

    assert explore(choosy).schedules == 6
    assert len(seen) == 6


async def lost_update(sim: Simulation) -> None:
    balance = [0]

    async def deposit(pauses: int) -> None:
        for _ in range(pauses):
            await asyncio.sleep(0)
        before = balance[0]
        await asyncio.sleep(0)
        balance[0] = before + 1

    # In the usual order the second begins when the first is done.
    await asyncio.gather(sim.call(deposit(0)), sim.call(deposit(3)))
    assert balance == [2], "an update is lost"


def test_a_race_that_the_usual_order_hides_is_found_told_and_replayed() -> None:
    assert not replay_choices(lost_update, ()).problems
    report = explore(lost_update)
    with pytest.raises(SimulationFailed, match=r"schedule \(\d.*\n  - scenario ended in .*an update is lost"):
        report.check()
    (failed,) = report.failures
    assert any(failed.choices)
    assert replay_choices(lost_update, failed.choices) == failed


def test_few_delays_find_it_too() -> None:
    assert explore(lost_update, Bounds(delays_max=0)).schedules == 1
    assert explore(lost_update, Bounds(delays_max=3)).failures


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may leave coroutines that nobody awaits
@pytest.mark.parametrize(
    ("name", "scope", "bounds"),
    [
        ("a reply is dropped", ask_and_reply, Bounds()),
        ("a mailbox loses who waited for room", two_askers_one_place, Bounds()),
        ("who waits for room is overtaken", two_askers_one_place, Bounds()),
        ("a cancelled ask leaks", ask_and_reply, Bounds(faults=("cancel_caller",))),
        ("an epoch ends before the children have ended it", epoch_with_two_children, Bounds()),
    ],
)
def test_a_planted_mistake_is_found(
    name: str, scope: Scenario, bounds: Bounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    for change in mutant.changes:
        change.plant(monkeypatch)
    report = explore(scope, bounds)
    print(f"{name}: found by schedule {report.schedules}")
    assert report.failures


def test_what_cut_a_search_is_said() -> None:
    report = explore(two_askers_one_place, schedules_max=10)
    assert report.schedules == 10
    assert not report.exhausted
    with pytest.raises(SimulationFailed, match=r"10 schedules \(there are more\), 0 failed"):
        report.check()


def test_a_schedule_without_end_has_failed() -> None:
    async def restless(_sim: Simulation) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)

    assert "not done after 50 steps" in explore(restless, Bounds(steps_max=50)).failures[0].problems[0]


def test_choices_of_another_scenario_are_refused() -> None:
    with pytest.raises(ValueError, match="too many choices"):
        replay_choices(ask_and_reply, (0,) * 100)
    with pytest.raises(ValueError, match="choice 0 is 9, and there are 2 options"):
        replay_choices(ask_and_reply, (9,))


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot explore stall: only"):
        Bounds(faults=("stall",))
    with pytest.raises(ValueError, match="delays_max=-1 is negative"):
        Bounds(delays_max=-1)


def test_a_report_says_what_was_searched() -> None:
    report = explore(ask_and_reply, Bounds(faults=("kill",), delays_max=0))
    assert str(report).startswith(f"{report.schedules} schedules (all there are), 0 failed; at most ")
    assert "kill" in str(report)
    assert report.steps > report.schedules
    assert report.widest >= 2
