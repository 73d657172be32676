"""The laws of the runtime, held by every scenario under hundreds of schedules, without and with faults."""

from __future__ import annotations

import os

import pytest

from actors.simulation import Faults, Scenario, simulate
from tests.helpers.scenarios import SCENARIOS

# A longer search: SIMULATION_SEEDS=20000 pytest tests/simulation
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))

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
def test_it_keeps_the_laws_when_everything_goes_wrong(scenario: Scenario) -> None:
    simulate(scenario, seeds=range(SEEDS, SEEDS + SEEDS // 2), faults=Faults.everything(1.0)).check()
