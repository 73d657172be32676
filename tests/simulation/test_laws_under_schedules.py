"""The laws of the runtime, held by every scenario under hundreds of schedules, without and with faults."""

from __future__ import annotations

import os

import pytest

from actors.simulation import Faults, Scenario, simulate
from tests.helpers.scenarios import SCENARIOS

# A longer search: SIMULATION_SEEDS=20000 pytest tests/simulation
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
# Without an early end of everything, so that restarts and what follows from them have their time.
LOSSES = Faults(
    error=0.8, crash=0.8, kill=0.8, stall=0.5, slow_actor=0.5, full_mailbox=0.5, stuck_job=0.5, stop=0.3
)

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)


@each_scenario
@pytest.mark.timeout(0)
def test_it_keeps_the_laws_and_its_own_promises_without_faults(scenario: Scenario) -> None:
    simulate(scenario, seeds=SEEDS // 2).check()


@each_scenario
@pytest.mark.timeout(0)
def test_it_keeps_the_laws_whatever_goes_wrong(scenario: Scenario) -> None:
    simulate(scenario, seeds=SEEDS, faults=Faults.everything()).check()


@each_scenario
@pytest.mark.timeout(0)
def test_it_keeps_the_laws_when_actors_are_lost_again_and_again(scenario: Scenario) -> None:
    simulate(scenario, seeds=range(SEEDS, 2 * SEEDS), faults=LOSSES).check()


@each_scenario
@pytest.mark.timeout(0)
def test_it_keeps_the_laws_when_everything_goes_wrong(scenario: Scenario) -> None:
    simulate(scenario, seeds=range(SEEDS, SEEDS + SEEDS // 2), faults=Faults.everything(1.0)).check()
