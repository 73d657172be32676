"""The benchmarks of training speed run: at toy sizes, and beside a peer that only pretends."""

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

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 50.0
BENCHMARKS: Final = ROOT / "tests" / "benchmarks"
# What holds libraries of arithmetic back would be named, whatever a test is about.
UNPINNED: Final = {name: value for name, value in os.environ.items() if name not in PINS}
TRAIN: Final = (sys.executable, str(BENCHMARKS / "train.py"), "--sizes", "toy", "--steps", "2")
PRETENDER: Final = """\
import argparse, json, os, sys, time
parser = argparse.ArgumentParser()
parser.add_argument("--mode")
parser.add_argument("--vocab-size", type=int)
options, rest = parser.parse_known_args(sys.argv[2:])
if "--check" not in rest and {fifo!r}:
    with open({fifo!r}, "w") as fifo:
        fifo.write(str(os.getpid()))
    while True:
        time.sleep(60)
found = {{"torch": "0", "parameters": {parameters}, "tokens_per_step": 384, "step_s": [{step_s}] * 2}}
print(json.dumps({{**found, "vocab_size": options.vocab_size}}))
"""


def run(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the object on standard output, and standard error."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False, env=UNPINNED)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, found, done.stderr


def python_that_runs(folder: Path, line: str) -> str:
    """What `--peer-python` is given."""
    program = folder / "python"
    program.write_text(f'#!/bin/sh\n{line} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def pretender(folder: Path, *, step_s: float = 1.0, parameters: int = 7248, fifo: str = "") -> str:
    """A Python that runs no torch, and tells of steps that it did not take."""
    script = folder / "pretender.py"
    content = PRETENDER.format(step_s=step_s, parameters=parameters, fifo=fifo)
    script.write_text(content, encoding="utf-8")
    return python_that_runs(folder, f"exec {sys.executable} {script}")


def test_ours_is_measured_alone() -> None:
    code, found, table = run(*TRAIN, "--ways", "ours", "--rounds", "1")
    toy = found["sizes"]["toy"]
    assert (toy["parameters"], toy["vocab_size"], toy["tokens_per_step"]) == (7248, 290, 384)
    assert [(way, len(steps)) for way, steps in toy["step_ms"]] == [("ours", 2)]
    assert toy["ways"]["ours"]["tokens_per_s_best"] >= toy["ways"]["ours"]["tokens_per_s_median"] > 0
    assert [line.partition(" ")[0] for line in toy["arithmetic"]] == ["numpy"]
    assert {goal["reached"] for goal in toy["goals"].values()} == {None}
    assert table.count("not measured") == 3
    assert code == 0


@pytest.mark.parametrize(("step_s", "reached"), [(1e6, True), (1e-9, False)])
def test_a_peer_takes_turns_and_is_judged(tmp_path: Path, step_s: float, *, reached: bool) -> None:
    peer = pretender(tmp_path, step_s=step_s)
    words = ("--rounds", "2", "--ways", "ours,eager", "--peer-python", peer)
    code, found, table = run(*TRAIN, *words)
    toy = found["sizes"]["toy"]
    assert [way for way, _ in toy["step_ms"]] == ["ours", "eager", "eager", "ours"]
    assert toy["goals"]["ours_to_eager"]["reached"] is reached is found["goals_reached"]
    assert ("MISSED" in table) is not reached
    assert code == (0 if reached else 1)


def test_a_peer_that_does_other_work_is_an_error(tmp_path: Path) -> None:
    peer = pretender(tmp_path, parameters=7249)
    code, found, text = run(*TRAIN, "--rounds", "1", "--ways", "ours,ddp", "--peer-python", peer)
    assert (code, found) == (1, {})
    assert text == "error: toy: not the same work: parameters: ours 7248, ddp 7249\n"


@pytest.mark.parametrize("way", ["eager", "compile", "ddp"])
def test_without_torch_the_error_names_the_extra(tmp_path: Path, way: str) -> None:
    peer = python_that_runs(tmp_path, f"exec {sys.executable} -S")  # without installed packages
    code, found, text = run(*TRAIN, "--ways", f"ours,{way}", "--peer-python", peer)
    assert (code, found) == (2, {})
    assert text.startswith("error: torch is not installed for ")
    assert "[peers]" in text


def test_a_python_that_is_not_there_is_an_error() -> None:
    code, _, text = run(*TRAIN, "--peer-python", "/no/such/python")
    assert code == 2
    assert text == "error: /no/such/python cannot be started (No such file or directory)\n"


@pytest.mark.parametrize("words", [("--ways", "tensor"), ("--sizes", "huge"), ("--rounds", "0")])
def test_what_cannot_be_measured_is_refused(words: tuple[str, str]) -> None:
    code, _, text = run(*TRAIN, *words)
    assert code == 2
    assert "choose" in text


def test_more_steps_than_the_text_has_are_refused() -> None:
    code, _, text = run(*TRAIN, "--ways", "ours", "--steps", "10000")
    assert code == 2
    assert text.startswith("error: the text has ")


def test_ctrl_c_ends_the_benchmark_and_what_it_runs(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    peer = pretender(tmp_path, fifo=str(fifo))
    process = subprocess.Popen(
        [*TRAIN, "--ways", "eager", "--peer-python", peer],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=UNPINNED,
    )
    child = int(fifo.read_text(encoding="utf-8"))  # waits until it is under way
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert (out, err) == ("", "interrupted: nothing can be said\n")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_measured_process_ends_with_its_parent() -> None:
    """It would train for minutes. Its input is at its end, as when the parent was killed."""
    words = ("--sizes", "headline", "--steps", "60", "--with-parent")
    process = subprocess.run(
        [sys.executable, str(BENCHMARKS / "speed" / "ours.py"), *words],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL


def test_scaling_is_measured_up_to_spheres_that_rest() -> None:
    words = ("--sizes", "toy", "--pairs", "2", "--steps", "2", "--spheres", "2,13,25")
    code, found, table = run(sys.executable, str(BENCHMARKS / "scaling.py"), *words)
    assert [way for way, _ in found["step_ms"]] == ["one", "two", "two", "one"]
    assert found["goals"]["two_to_one"]["at_least"] == 1.85
    assert [line.partition(" ")[0] for line in found["arithmetic"]] == ["numpy"]
    assert code == (0 if found["goals_reached"] else 1)
    kinds = {spheres: of["kinds"] for spheres, of in found["spheres"].items()}
    assert {spheres: list(of) for spheres, of in kinds.items()} == {
        "2": ["computing"],
        "13": ["control", "computing"],
        "25": ["control", "computing", "resting"],
    }
    assert kinds["2"]["computing"]["shards"] == [6, 6]
    assert kinds["25"]["resting"]["shards"] == [0, 0]
    messages = [of["messages_per_step"] for of in found["spheres"].values()]
    assert messages == sorted(set(messages)), "more spheres send more"
    assert "25: 1 resting" in table
