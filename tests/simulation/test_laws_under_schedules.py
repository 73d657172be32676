"""The laws of the runtime, held by every scenario under hundreds of schedules, without and with faults."""

from __future__ import annotations

import os

import pytest

from actors.simulation import Faults, simulate
from tests.helpers.catalogue import ALL_SCENARIOS, MIXTURES, QUIET

# For each scenario and mixture. A longer search: python tests/simulation/search.py --schedules 200000
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
SEEDS_WITHOUT_FAULTS = SEEDS // 2
# Where no handler ever awaits anything, none can be struck in the middle. Elsewhere every kind is done.
WITHOUT_AWAITS = {"fan_out", "reminders", "watchers", "watch_churn"}
WITH_JOBS = {"epochs", "epochs_stopped", "epochs_pressed", "jobs"}


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("scenario", ALL_SCENARIOS)
@pytest.mark.timeout(0)
def test_it_keeps_the_laws(scenario: str, mixture: str) -> None:
    seeds = SEEDS_WITHOUT_FAULTS if mixture == QUIET else SEEDS
    report = simulate(ALL_SCENARIOS[scenario], seeds=seeds, faults=MIXTURES[mixture])
    report.check()
    assert report.runs == seeds
    if mixture == "something":
        assert set(report.faults) >= _possible_in(scenario), "some faults were planned and never done"


def _possible_in(scenario: str) -> set[str]:
    possible = set(Faults.__dataclass_fields__)
    if scenario not in WITH_JOBS:
        possible.discard("stuck_job")
    if scenario in WITHOUT_AWAITS:
        possible -= {"error", "crash", "stall", "slow_actor"}
    return possible


def test_at_least_ten_thousand_schedules_have_faults() -> None:
    with_faults = [mixture for mixture in MIXTURES if mixture != QUIET]
    assert len(ALL_SCENARIOS) * len(with_faults) * SEEDS >= 10_000
