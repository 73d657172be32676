"""The benchmark of a large text runs, on a small one; what it measures is not judged here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.architecture.tree import ROOT
from tests.benchmarks.speed.options import PINS
from tests.helpers.texts import words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 50.0
CORPUS: Final = ROOT / "tests" / "benchmarks" / "corpus.py"
# What holds libraries of arithmetic back would be named, whatever a test is about.
UNPINNED: Final = {name: value for name, value in os.environ.items() if name not in PINS}
SIZES: Final = {
    "vocab-size": 290,
    "dim": 16,
    "layers": 1,
    "heads": 2,
    "ffn-dim": 32,
    "seq-len": 16,
    "lr": 0.01,
}
TINY: Final = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    (tmp_path / "text.txt").write_text(words(30_000))
    places = [
        "--text",
        str(tmp_path / "text.txt"),
        "--work",
        str(tmp_path),
        "--out",
        str(tmp_path / "out.json"),
    ]
    return [sys.executable, str(CORPUS), *TINY, *places, "--peers", "plain", "--rounds", "1"]


def run(*command: str, **settings: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the object on standard output, and standard error."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT_S, check=False, env={**UNPINNED, **settings}
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def test_one_epoch_is_measured_and_what_is_known_is_not_measured_again(
    command: list[str], tmp_path: Path
) -> None:
    small, record = [*command, "--steps-of-peers", "2", "--least-mb", "0"], tmp_path / "out.json"
    code, found, shown = run(*small)
    assert code == 0, shown
    assert found["same_weights"] is True
    assert found["epochs"]["many"]["steps"] == -(-found["preparing"]["training_windows"] // 36)
    assert list(found["steps"]) == ["many", "one", "plain"]
    assert found["steps"]["plain"]["ours_times"] is not None
    assert "(known)" not in shown
    again, found_again, shown = run(*small, "--markdown")
    assert (again, found_again) == (code, found)
    assert shown.count("(known)") == 6
    assert "| one epoch | ours N = 2 | ours N = 1 |" in shown
    older = json.loads(record.read_text())
    for part in older["parts"].values():
        del part["arithmetic"], part["taken_out"]
    record.write_text(json.dumps(older))
    code, found, shown = run(*small)
    assert (code, found["arithmetic"], found["taken_out"]) == (0, [], {}), "a file of before will do"
    code, _, shown = run(*small, "--dim", "32")
    assert code == 2
    assert "is of another model: choose another file, or remove it" in shown


@pytest.mark.parametrize(("words_", "taken_out"), [((), {"DNNL_MAX_CPU_ISA": "SSE41"}), (("--as-set",), {})])
def test_what_holds_a_library_back_is_taken_out_and_written_down(
    command: list[str], tmp_path: Path, words_: tuple[str, ...], taken_out: dict[str, str]
) -> None:
    _, found, shown = run(*command, "--parts", "prepare", *words_, DNNL_MAX_CPU_ISA="SSE41")
    part = json.loads((tmp_path / "out.json").read_text())["parts"]["preparing"]
    assert part["taken_out"] == found["taken_out"] == taken_out
    assert part["arithmetic"].startswith("numpy ")
    assert found["arithmetic"] == [part["arithmetic"]]
    assert ("without DNNL_MAX_CPU_ISA=SSE41" in shown) == bool(taken_out)


def test_every_way_starts_with_the_same_loss(command: list[str], tmp_path: Path) -> None:
    run(*command, "--parts", "steps", "--steps-of-peers", "2")
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    losses = [part["first_loss"] for part in parts.values()]
    assert len(losses) == 3
    assert losses == pytest.approx(losses[:1] * 3, rel=1e-5)


def test_an_epoch_that_is_cut_short_misses_the_goal(command: list[str]) -> None:
    code, found, shown = run(*command, "--parts", "prepare,one", "--steps", "3")
    assert code == 1
    missed = [goal for goal, held in found["goals"].items() if held is False]
    assert missed[:2] == ["at least 73 MB of text", "ours N = 1: one whole epoch"]
    assert shown.count("MISSED") == len(missed)
    assert shown.count("not measured") == 3, "of two spheres the epoch and its loss, and the same weights"


def test_without_apt_or_a_text_there_is_one_error(tmp_path: Path) -> None:
    words_ = [sys.executable, str(CORPUS), "--work", str(tmp_path), "--parts", "prepare"]
    code, _, shown = run(*words_, PATH=str(tmp_path))
    assert code == 2
    assert shown.splitlines()[-1].startswith("error: apt-get is missing: ")


def test_a_text_that_is_too_short_for_the_steps_is_an_error(command: list[str]) -> None:
    code, _, shown = run(*command, "--parts", "steps", "--steps-of-peers", "1000")
    assert code == 2
    assert "use fewer, or more text" in shown


def test_a_text_that_is_not_there_is_an_error(command: list[str]) -> None:
    code, _, shown = run(*command, "--text", "no/such/text")
    assert code == 2
    assert shown.startswith("error: no/such/text cannot be read")


def test_a_python_without_torch_is_an_error_before_anything_is_measured(command: list[str]) -> None:
    code, _, shown = run(*command, "--peers", "torch", "--peer-python", "/no/such/python")
    assert code == 2
    assert shown.splitlines() == ["error: /no/such/python cannot be started (No such file or directory)"]


@pytest.mark.parametrize(("signal_", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_nothing_stays_behind(command: list[str], tmp_path: Path, signal_: signal.Signals, code: int) -> None:
    (tmp_path / "text.txt").write_text(words(3_000_000))  # takes far longer than the test may
    process = subprocess.Popen([*command, "--parts", "one"], stderr=subprocess.PIPE, text=True, env=UNPINNED)
    assert process.stderr is not None
    assert process.stderr.readline() == "one epoch: ours N = 1\n"
    assert process.stderr.readline().startswith("step 1 of ")  # the measured process is at work
    process.send_signal(signal_)
    said = process.stderr.read()  # ends when the last process that could write to it has ended
    process.stderr.close()
    assert process.wait(LIMIT_S) == code
    assert ("interrupted; " in said) == (signal_ == signal.SIGINT)
    assert "0.0 minutes left" not in said
