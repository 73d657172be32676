"""Mistakes planted in the runtime are found, each within a stated number of seeds."""

from __future__ import annotations

import pytest

from actors.simulation import Faults, simulate
from tests.helpers.mutants import MUTANTS, Mutant

SEEDS = 2_000


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may leave coroutines that nobody awaits
@pytest.mark.timeout(0)
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_the_mistake_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    for change in mutant.changes:
        change.plant(monkeypatch)
    report = simulate(mutant.scenario, seeds=SEEDS, faults=Faults.everything())
    print(f"{mutant.name}: found by seed {report.runs - 1}")
    assert not report.ok, f"{SEEDS} runs found nothing wrong although {mutant.name}"


def test_there_are_at_least_twelve() -> None:
    assert len({mutant.name for mutant in MUTANTS}) >= 12
