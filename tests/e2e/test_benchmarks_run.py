"""The benchmarks run, on the smallest sizes; what they measure is not judged here."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from typing import Any, Final

import pytest

from tests.architecture.tree import ROOT

pytestmark = pytest.mark.e2e

LIMIT_S: Final = 50.0
BENCHMARKS: Final = ROOT / "tests" / "benchmarks"
PATIENT: Final = ("--slack-s", "30")  # how late an end is seen depends on what else the machine does


def run(*words: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the object on standard output, and standard error."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found, done.stderr


def test_the_runtime_is_measured_beside_what_is_always_there() -> None:
    peers = ["future", "queue", "anyio"]
    small = ("--rounds", "1", "--scale", "0.01", "--idle", "50")
    code, found, table = run(str(BENCHMARKS / "runtime.py"), "--peers", ",".join(peers), *small)
    assert list(found["ways"]) == ["actors", "traced", *peers]
    assert list(found["ways"]["actors"]) == ["ask", "tell", "fan_out", "spawn_stop", "ask_child"]
    assert list(found["times_actors"]["ask"]) == ["traced", *peers]
    assert found["idle"]["kib_each"].keys() == {"actors", "future"}
    reached = {name: goal["reached"] for name, goal in found["goals"].items()}
    assert [name for name, word in reached.items() if word is None] == [
        "pykka_to_ask",
        "xoscar_to_ask",
        "pykka_to_tell",
    ]
    assert code == int(False in reached.values())
    assert table.count("not measured") == 3


def test_without_peers_the_runtime_is_measured_alone() -> None:
    _, found, _ = run(
        str(BENCHMARKS / "runtime.py"), "--peers", "none", "--rounds", "1", "--scale", "0.01", "--idle", "0"
    )
    assert list(found["ways"]) == ["actors", "traced"]


@pytest.mark.parametrize("peer", ["pykka", "xoscar", "xoscar_direct"])
def test_a_missing_peer_is_an_error_that_names_the_extra(peer: str) -> None:
    package = peer.partition("_")[0]
    script = (
        f"import runpy, sys; sys.modules[{package!r}] = None; sys.argv[1:] = ['--peers', {peer!r}];"
        f"runpy.run_path({str(BENCHMARKS / 'runtime.py')!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {package} is not installed: ")
    assert "[peers]" in done.stderr


@pytest.mark.parametrize("against", ["naive", "at_once"])
def test_exactness_is_measured_against_other_sums(against: str) -> None:
    words = ("--sizes", "tiny", "--rounds", "5", "--against", against)
    code, found, table = run(str(BENCHMARKS / "exactness.py"), *words)
    assert list(found["ways"]) == ["tree", against]
    assert found["rounds"] == 5
    assert found["arithmetic"].startswith("numpy ")
    assert found["ratio"]["at_most"] == (1.03 if against == "naive" else None)
    assert code == int(not found["goal_reached"])
    assert ("no goal" in table) == (against == "at_once")


def test_stalls_of_saves_are_measured() -> None:
    words = ("--sizes", "tiny", "--saves", "3", "--every", "3")
    code, found, table = run(str(BENCHMARKS / "checkpoint.py"), *words)
    assert found["saves_measured"] == len(found["stalls_ms"]) == found["written_after_ms"]["count"] == 3
    assert found["step_beside_a_writing_ms"]["count"] + found["step_alone_ms"]["count"] == 10
    assert code == int(not found["goal_reached"])
    assert "stalls at most 50 ms" in table


def test_a_text_too_short_for_the_saves_is_an_error() -> None:
    words = [sys.executable, str(BENCHMARKS / "checkpoint.py"), "--sizes", "tiny", "--saves", "10000"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the text has ")


def test_overhead_is_measured() -> None:
    words = ("--sizes", "tiny", "--steps", "10", "--real-steps", "3")
    code, found, table = run(str(BENCHMARKS / "overhead.py"), *words)
    assert found["arithmetic"].startswith("numpy ")
    assert list(found["empty"]) == ["1", "2", "12", "13", "25"]
    assert sum(found["real"]["share"].values()) == pytest.approx(1.0, abs=1e-3)
    assert list(found["goals"]) == ["empty_ms_2", "empty_ms_25", "overhead_share"]
    assert code == int(not found["goal_reached"])
    assert "imbalance" in table


def test_memory_is_measured() -> None:
    code, found, table = run(str(BENCHMARKS / "memory.py"), "--sizes", "tiny", "--steps", "40", "--files")
    assert found["steps_measured"] == 40
    assert found["arithmetic"].startswith("numpy ")
    assert found["peak_mb"] >= found["opened_mb"] > found["interpreter_mb"] > 0
    assert found["planned_mb"]["archive"] > 0
    assert code == int(not found["goal_reached"])
    assert "goal at most 1.25" in table


@pytest.mark.timeout(180)  # two trainings of the default model
def test_memory_is_measured_with_recomputation() -> None:
    words = (str(BENCHMARKS / "memory.py"), "--sizes", "default", "--steps", "40")
    kept, again = run(*words)[1], run(*words, "--recompute")[1]
    assert again["planned_mb"]["workspaces"] < kept["planned_mb"]["workspaces"]
    assert min(kept["step_ms"], again["step_ms"]) > 0


@pytest.mark.parametrize("words", [("overhead.py", "--steps", "1"), ("memory.py", "--steps", "10")])
def test_too_few_steps_are_refused(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "say nothing" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("memory.py", "--spheres", "0"), "spheres is 0"),
        (("overhead.py", "--profile", "-1"), "spheres is -1"),
        (("scaling.py", "--spheres", "2,0"), "spheres is 0"),
        (("lag.py", "--spheres", "0"), "spheres is 0"),
        (("lag.py", "--steps", "2"), "say nothing"),
        (("lag.py", "--period-ms", "0"), "choose a number > 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(words: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_alternatives_are_measured() -> None:
    words = ("--rounds", "2", "--only", "row-sums", "slices-one-thread")
    code, found, table = run(str(BENCHMARKS / "alternatives.py"), *words)
    assert list(found["pairs"]) == ["row-sums", "slices-one-thread"]
    assert found["arithmetic"].startswith("numpy ")
    assert code == 0
    assert "one thread" in table


def test_a_short_soak_breaks_no_law() -> None:
    code, found, _ = run(str(BENCHMARKS / "soak.py"), "--seconds", "3", *PATIENT)
    assert found["first_violations"] == []
    assert found["laws_held"]
    assert code == (0 if found["flat"] else 1)
    assert found["asks"].keys() >= {"reply", "failed", "expired", "cancelled"}
    assert min(found["restarts"], found["epochs"]) > 0


def test_a_soak_that_is_interrupted_says_what_was_found_so_far() -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, str(BENCHMARKS / "soak.py"), "--minutes", "10", *PATIENT]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()  # progress is shown once it is under way
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=LIMIT_S)
    os.close(ours)
    found = json.loads(out)
    assert "asks" in shown
    assert found["interrupted"]
    assert found["seconds"] < 600
    assert process.returncode == (0 if found["laws_held"] and found["flat"] else 1)


def test_what_a_trace_costs_is_measured() -> None:
    words = ("--sizes", "toy", "--rounds", "1", "--asks", "200", "--steps", "2", "--events", "3000")
    code, found, table = run(str(BENCHMARKS / "tracing.py"), *words)
    assert list(found["parts"]) == ["asks", "steps", "answers"]
    assert found["parts"]["asks"]["bare"]["median_us"] > 0
    assert found["parts"]["steps"]["events_per_step"] > 10
    assert found["parts"]["answers"]["events"] == 3000
    goals = ["ask_memory", "ask_file", "step", "summary_s", "why_message_s", "why_actor_s"]
    assert list(found["goals"]) == goals
    assert found["goals"]["summary_s"]["at_least"] is None, "so few events prove nothing"
    assert code == int(not found["goals_reached"])
    assert "answers, megabytes" in table
