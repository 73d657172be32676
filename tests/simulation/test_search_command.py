"""The command that searches many schedules: what it counts, and what it says when it finds something."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.catalogue import ALL_SCENARIOS, MIXTURES
from tests.helpers.mutants import MUTANTS
from tests.simulation import search

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, dict[str, Any], str]]  # words -> exit code, result, standard error


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_search(*words: str) -> tuple[int, dict[str, Any], str]:
        code = search.main([*words, "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out), printed.err

    return run_search


def test_schedules_are_shared_out_over_all_scenarios_and_mixtures(
    run: Run,
) -> None:
    pairs = len(ALL_SCENARIOS) * len(MIXTURES)
    code, result, said = run("--schedules", str(2 * pairs + 1))
    assert (code, said, result["failed"]) == (0, "", [])
    assert result["schedules"] == 2 * pairs + 1
    assert result["with_faults"] >= 2 * len(ALL_SCENARIOS) * (len(MIXTURES) - 1)
    assert result["faults_total"] == sum(result["faults"].values()) > 0
    assert result["steps"] > result["schedules"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mutant may leave coroutines that nobody awaits
def test_a_failing_seed_is_told_with_the_command_that_replays_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == "a late reply is delivered")
    for change in mutant.changes:
        change.plant(monkeypatch)
    words = ("--scenario", mutant.scenario.__name__, "--faults", "something")
    code, result, story = run(*words, "--schedules", "300", "--start", "5")
    assert code == 1
    (command,) = result["failed"]
    assert f"replay: {command}" in story
    assert f"{mutant.scenario.__name__}, faults: something, seed " in story
    again, _, same_story = run(*command.split()[2:])
    assert again == 1
    assert same_story == story


@pytest.mark.timeout(240)
def test_small_scopes_are_explored_and_counted(run: Run) -> None:
    code, result, said = run("--explore")
    assert code == 0
    assert all(count > 1 for count in result["schedules"].values())
    assert said.count("all there are") == len(result["schedules"])
