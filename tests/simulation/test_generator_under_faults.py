"""Many callers of one generator under hundreds of schedules: each ends once, with the right text or none."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from actors.simulation import Faults, replay, simulate
from tests.helpers.asking import CROWD, Ends, asking, crowd
from tests.helpers.following import following
from tests.helpers.generator_mutants import GENERATOR_MUTANTS

if TYPE_CHECKING:
    from tests.helpers.mutants import Mutant

pytestmark = [
    pytest.mark.timeout(0),  # what bounds them is the number of schedules, on any machine
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MIXTURES = {
    "quiet": Faults(),
    "something": Faults.everything(0.1),
    "much": Faults.everything(0.3),
    "stuck jobs": Faults(stuck_job=0.9, lag=0.3),
    "lost actors": Faults(kill=0.8, error=0.3, stop=0.1),
    "full mailboxes": Faults(full_mailbox=0.8, slow_actor=0.5, slow_caller=0.5),
}
SEEDS = {name: 100 if name == "quiet" else 60 for name in MIXTURES}
MUTANT_SEEDS = 400


@pytest.mark.parametrize("mixture", MIXTURES)
def test_every_call_ends_once_in_its_text_or_in_an_error(mixture: str) -> None:
    ends = Ends()
    report = simulate(partial(asking, ends=ends), seeds=SEEDS[mixture], faults=MIXTURES[mixture])
    report.check()
    assert {"whole", "left", "cancelled", "GenerationError", "DeadlineExceeded", "QueueFull"} == set(ends)


def test_five_hundred_callers_at_once() -> None:
    ends = Ends()
    simulate(partial(crowd, ends=ends), seeds=3).check()
    assert sum(ends.values()) == 3 * CROWD
    assert min(ends["whole"], ends["QueueFull"]) > CROWD // 3
    assert min(ends["left"], ends["cancelled"], ends["DeadlineExceeded"]) > CROWD // 20
    simulate(crowd, seeds=3, faults=MIXTURES["something"]).check()


@pytest.mark.parametrize("mixture", ["quiet", "something", "stuck jobs", "lost actors"])
def test_every_answer_is_from_one_checkpoint(mixture: str) -> None:
    simulate(following, seeds=SEEDS[mixture] // 4, faults=MIXTURES[mixture]).check()


def test_the_same_seed_is_the_same_run() -> None:
    first, second = (replay(asking, 5, MIXTURES["something"]) for _ in range(2))
    assert first.events == second.events


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may leave coroutines that nobody awaits
@pytest.mark.parametrize("mutant", GENERATOR_MUTANTS, ids=str)
def test_the_mistake_is_found(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    for change in mutant.changes:
        change.plant(monkeypatch)
    faults = Faults(kill=0.4, stop=0.2) if mutant.scenario is asking else Faults()
    report = simulate(mutant.scenario, seeds=MUTANT_SEEDS, faults=faults)
    problems = [run.problems for run in report.failures]
    print(f"{mutant.name}: found by seed {report.runs - 1}: {problems}")
    assert not report.ok, f"{MUTANT_SEEDS} runs found nothing wrong although {mutant.name}"
