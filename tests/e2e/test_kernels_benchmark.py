"""The benchmark of kernels runs, on the smallest sizes; what it measures is not judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Final

import pytest

from tests.architecture.tree import ROOT

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 50.0
WORDS: Final = (sys.executable, str(ROOT / "tests" / "benchmarks" / "kernels.py"))


def test_kernels_are_measured_in_a_training() -> None:
    words = ("--sizes", "tiny", "--rounds", "1", "--steps", "2", "--window-ms", "1")
    done = subprocess.run([*WORDS, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["arithmetic"].startswith("numpy ")
    spheres = sorted({1, min(2, os.cpu_count() or 1)})
    assert [each["spheres"] for each in found["trainings"]] == spheres
    for each in found["trainings"]:
        assert len(each["limits"]["sgemm_gflops"]) == 3, "a gate on both sides of two blocks"
        assert each["kernels"]["compute"]["calls"] == 2 * each["spheres"], "two steps have clocks, no others"
        assert each["kernels"]["swiglu"]["calls"] == 2 * 12
        assert sum(each["where_it_goes"].values()) == pytest.approx(1.0, abs=0.01)
        assert each["fraction_of_limit"]["figure"] > 0
    assert done.returncode == int(not found["goal_reached"])
    assert "goal 0.70" in done.stderr


@pytest.mark.parametrize(
    "words", [("--rounds", "0"), ("--sizes", "no such"), ("--spheres", str((os.cpu_count() or 1) + 1))]
)
def test_what_the_benchmark_of_kernels_cannot_do_is_refused(words: tuple[str, ...]) -> None:
    done = subprocess.run([*WORDS, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert words[0] in done.stderr
