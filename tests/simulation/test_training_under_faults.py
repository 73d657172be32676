"""Root and the spheres under hundreds of schedules with faults: the same weights, or a reported failure."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import TYPE_CHECKING

import pytest

from actors.simulation import Faults, replay, simulate
from tests.helpers import tiny_training, tiny_work
from tests.helpers.catalogue import QUIET, TRAINING, TRAINING_MIXTURES
from tests.helpers.tiny_training import HASH, Ends, plain, training
from tests.helpers.tiny_work import CONFIG, PLANS, SHARDS, leaves_of
from tests.helpers.training_mutants import TRAINING_MUTANTS
from tests.simulation import search

if TYPE_CHECKING:
    from actors.simulation import Report
    from tests.helpers.mutants import Mutant

pytestmark = pytest.mark.timeout(0)  # what bounds them is the number of schedules, on any machine

# A longer search: python tests/simulation/search.py --scenario training --schedules 5000
SEEDS = {name: 60 if name == QUIET else 110 for name in TRAINING_MIXTURES}
MUTANT_SEEDS = 3000


@cache
def trained(mixture: str) -> tuple[Report, Ends]:
    ends = Ends()
    return simulate(
        partial(training, ends=ends), seeds=SEEDS[mixture], faults=TRAINING_MIXTURES[mixture]
    ), ends


@pytest.mark.parametrize("mixture", TRAINING_MIXTURES)
def test_it_ends_with_the_hash_or_with_a_failure_that_is_reported(mixture: str) -> None:
    report, ends = trained(mixture)
    report.check()
    assert report.runs == SEEDS[mixture]
    assert 0.8 * report.runs < ends.total() <= report.runs, (
        "one that is cancelled before it begins has no end"
    )


def test_up_to_three_spheres_that_are_lost_are_always_made_good() -> None:
    report, ends = trained(QUIET)
    assert set(report.faults) == {"kill", "stop"}
    # A job that has little time may take longer than that, as often as it likes.
    assert {end for end, _ in ends} <= {HASH, "TrainingError"}
    assert ends[HASH, True] > report.runs // 3
    assert ends[HASH, True] + ends[HASH, False] > 0.9 * report.runs


def test_many_runs_get_over_their_faults() -> None:
    made_good = {name: trained(name)[1][HASH, True] / SEEDS[name] for name in TRAINING_MIXTURES}
    assert min(made_good.values()) > 0.1, made_good
    assert sum(made_good.values()) > 0.3 * len(made_good), made_good


def test_every_kind_of_fault_was_done() -> None:
    assert set(trained("something")[0].faults) == set(Faults.__dataclass_fields__)


def test_failures_of_many_kinds_are_reported() -> None:
    ends = sum((trained(mixture)[1] for mixture in TRAINING_MIXTURES), Ends())
    assert {"ActorDown", "CancelledError", "Expired", "SystemClosed", "TrainingError"} <= {
        end for end, _ in ends
    }


def test_trees_of_every_kind_are_in_it() -> None:
    leaves = [leaves_of(plan) for plan in PLANS]
    assert min(leaves) == 1
    assert max(leaves) == len(tiny_work.SLICES) == SHARDS, "every leaf has a shard and a slice"
    assert sum(leaves_of(plan) < plan.spheres for plan in PLANS) >= 3, "control spheres"
    assert any(len(below) > 1 for plan in PLANS for sphere, below in plan.below.items() if sphere is not None)


def test_the_oracle_is_sharp() -> None:
    """Every step changes the weights, and the gradient is clipped. Mutants show the rest."""
    assert len(set(plain().hashes)) == tiny_training.TOTAL_STEPS + 1
    assert min(plain().norms) > 0.05
    assert CONFIG.parameter_count() == tiny_work.SLICES[-1][1]


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (replay(training, 5, TRAINING_MIXTURES["something"]) for _ in range(2))
    assert first.events == second.events
    assert first.faults == second.faults


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may leave coroutines that nobody awaits
@pytest.mark.parametrize("mutant", TRAINING_MUTANTS, ids=str)
def test_the_mistake_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_work, "REMEMBERED", {})
    for change in mutant.changes:
        change.plant(monkeypatch)
    report = simulate(mutant.scenario, seeds=MUTANT_SEEDS, faults=TRAINING_MIXTURES["little"])
    print(f"{mutant.name}: found by seed {report.runs - 1}")
    assert not report.ok, f"{MUTANT_SEEDS} runs found nothing wrong although {mutant.name}"


def test_the_command_says_how_trainings_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--scenario", TRAINING, "--schedules", "40", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    found = result["trainings"]
    ended = found["ended_with_the_hash"] + sum(found["failures_reported"].values())
    assert ended + found["cancelled_before_they_began"] == result["schedules"] == 40
    assert 0 < found["of_these_with_faults"] <= found["ended_with_the_hash"]
    assert found["anything_else"] == 0
