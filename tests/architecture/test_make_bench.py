"""`make bench` runs everything but what takes hours, and fails at the end when a goal was missed."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from tests.architecture.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S: Final = 30.0
LONG: Final = {"tests/benchmarks/corpus.py", "tests/benchmarks/soak.py"}
SHORT: Final = sorted(
    {f"tests/benchmarks/{path.name}" for path in (ROOT / "tests" / "benchmarks").glob("*.py")} - LONG
)


def make_bench(venv: Path, **codes: int) -> tuple[int, list[str], str]:
    """Run it with a Python that runs nothing; return its code, the scripts in order, and what it said.

    Args:
        venv: a folder for the virtual environment.
        codes: exit codes of some benchmarks, by their names.
    """
    (venv / "bin").mkdir()
    cases = "".join(f"*/{name}.py) exit {code};; " for name, code in codes.items())
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$1" >> {venv}/ran\ncase "$1" in {cases}esac\n', encoding="utf-8")
    python.chmod(0o755)
    for stamp in (".installed-dev", ".installed-peers"):
        (venv / stamp).touch()
    done = subprocess.run(
        [shutil.which("make") or "make", "bench", f"VENV={venv}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, (venv / "ran").read_text(encoding="utf-8").splitlines(), done.stderr


def test_all_but_the_long_ones_run(tmp_path: Path) -> None:
    assert make_bench(tmp_path) == (0, SHORT, "")


@pytest.mark.parametrize("code", [1, 2])
def test_a_goal_that_is_missed_ends_it_with_an_error_after_all_others(tmp_path: Path, code: int) -> None:
    failed, ran, said = make_bench(tmp_path, alternatives=code, memory=code)
    assert failed
    assert ran == SHORT
    assert "missed, or nothing measured: tests/benchmarks/alternatives.py tests/benchmarks/memory.py" in said


def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    failed, ran, _ = make_bench(tmp_path, checkpoint=130)
    assert failed
    assert ran == SHORT[: SHORT.index("tests/benchmarks/checkpoint.py") + 1]
