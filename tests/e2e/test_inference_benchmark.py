"""The benchmark of inference runs: on a tiny model, and beside peers that only pretend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.architecture.tree import ROOT
from tests.benchmarks.inference import goals_of, samples_of
from tests.benchmarks.speed.options import PINS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 50.0
BENCHMARK: Final = (sys.executable, str(ROOT / "tests" / "benchmarks" / "inference.py"), "--tiny")
QUICK: Final = ("--rounds", "1", "--steps", "2", "--prefill", "16", "--drawn", "4")
UNPINNED: Final = {name: value for name, value in os.environ.items() if name not in PINS}
PRETENDER: Final = """\
import json, sys
seconds = {seconds}
print(json.dumps({{"prefill_s": [seconds], "one_s": [seconds] * 2, "eight_s": [seconds] * 2, "torch": "0"}}))
"""


def run(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the object on standard output, and standard error."""
    done = subprocess.run(
        [*BENCHMARK, *QUICK, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=UNPINNED,
    )
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, found, done.stderr


def pretender(folder: Path, seconds: float) -> str:
    """A Python that runs no peer, and tells of steps that it did not take."""
    script, program = folder / "pretender.py", folder / "python"
    script.write_text(PRETENDER.format(seconds=seconds), encoding="utf-8")
    program.write_text(f'#!/bin/sh\n{sys.executable} {script} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_peers_are_compared_and_a_missed_goal_is_an_exit_code(tmp_path: Path) -> None:
    code, found, shown = run(
        "--ways", "ours,transformers", "--transformers-python", pretender(tmp_path, 1e-9)
    )
    assert code == 1
    assert found["versions"] == {
        "prefill_s": [1e-9],
        "one_s": [1e-9] * 2,
        "eight_s": [1e-9] * 2,
        "torch": "0",
    }
    goal = found["goals"]["decode, ours to transformers"]
    assert goal["reached"] is False
    assert goal["figure"] < 1e-3
    assert "MISSED" in shown
    ours = found["ways"]["ours"]
    assert min(ours["prefill_ms"], ours["step_ms"], ours["one_tokens_per_s"], ours["reading_gbps"]) > 0
    assert found["goals"]["decode, ours to llama.cpp"]["reached"] is None


def test_a_peer_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    code, found, shown = run("--ways", "ours,llama", "--llama-python", str(tmp_path / "none"))
    assert (code, found) == (2, {})
    assert "cannot be started" in shown


def test_a_model_that_cannot_be_opened_is_one_error(tmp_path: Path) -> None:
    code, found, shown = run("--ways", "ours", "--model", str(tmp_path / "none"))
    assert (code, found) == (2, {})
    assert str(tmp_path / "none") in shown


def test_goals_follow_from_the_rounds() -> None:
    ours = {
        "prefill_s": [2.0],
        "one_s": [0.02, 0.04],
        "eight_s": [0.1],
        "one_tokens_per_s": 10.0,
        "eight_tokens_per_s": 45.0,
        "reading_gbps": [50.0, 40.0],
        "weight_bytes": 600_000_000,
    }
    theirs = {"prefill_s": [3.0], "one_s": [0.06], "eight_s": [0.1]}
    goals = goals_of(samples_of([("ours", ours), ("transformers", theirs), ("llama", theirs)]))
    assert goals["decode, ours to transformers"].figure == pytest.approx(2.0)
    assert goals["decode, ours to transformers"].of_bests == pytest.approx(3.0)
    assert goals["prefill, ours to transformers"].figure == pytest.approx(1.5)
    assert goals["eight streams to one, ours"].figure == pytest.approx(4.5)
    assert goals["share of bandwidth, ours"].figure == pytest.approx((30 / 50 + 15 / 40) / 2)
    assert goals["share of bandwidth, ours"].of_bests == pytest.approx(30 / 50)
    assert goals["share of bandwidth, ours"].reached is False
    assert goals["decode, int8 to llama.cpp q8_0"].reached is None
