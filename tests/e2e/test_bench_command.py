"""`crystalline bench` as users run it. How fast this machine is, is not judged."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from typing import Any, get_type_hints

import pytest

from crystalline.bench import QUICK, SIZES
from crystalline.cli.bench import INTERRUPTED, bench
from tests.helpers.command import CRYSTALLINE, Finished, environment, run

pytestmark = pytest.mark.e2e

TESTS_OF_OPTIONS = {
    "sizes": "test_sizes_and_spheres_say_what_is_trained",
    "spheres": "test_sizes_and_spheres_say_what_is_trained",
    "quick": "test_quick_measures_little",
    "json": "test_quick_measures_little",
}


@pytest.fixture(scope="module")
def quick() -> Finished:
    return run("bench", "--quick", "--json")


def trainings(found: dict[str, Any]) -> set[tuple[str, int]]:
    """Those that were measured, and those for which a slow machine had no time."""
    return {(each["name"], each["spheres"]) for each in found["speeds"] + found["left_out"]}


def test_no_option_of_bench_is_without_a_test() -> None:
    assert TESTS_OF_OPTIONS.keys() == get_type_hints(bench).keys() - {"return"}
    assert set(TESTS_OF_OPTIONS.values()) <= globals().keys()


def test_quick_measures_little(quick: Finished) -> None:
    found = quick.json()
    assert found["quick"] is True
    usable = found["machine"]["usable"]
    numbers = {spheres for _, spheres in trainings(found)}
    assert trainings(found) == {(name, spheres) for name in QUICK.names for spheres in numbers}
    assert {1, found["advice"]["spheres"]} <= numbers, "what is advised was trained with"
    assert len(numbers) <= 2
    assert [each["threads"] for each in found["limits"]][-1] == usable
    assert all(each["sgemm"]["gflops"] > 0 < each["bandwidth"]["copy"] for each in found["limits"])
    assert all(each["tokens_per_s"] > 0 < each["fraction_of_sgemm"] for each in found["speeds"])
    assert 1 <= found["advice"]["spheres"] <= usable
    assert found["advice"]["reasons"]
    assert len(quick.out.splitlines()) == 1


def test_progress_goes_to_standard_error(quick: Finished) -> None:
    assert quick.err.splitlines()[0] == "limits of 1 thread ..."


def test_sizes_and_spheres_say_what_is_trained() -> None:
    done = run("bench", "--quick", "--sizes", "small", "--spheres", "3")
    assert done.code == 0, done.err
    assert "training small with 3 spheres" in done.err or "left for small, spheres: 3" in done.out
    assert "with 1 sphere" not in done.err
    assert "advice: --spheres " in done.out
    assert "sgemm GFLOP/s" in done.out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--sizes", "huge"), "--sizes: there is no 'huge': choose from small, default, headline"),
        (("--sizes", ""), "--sizes"),
        (("--spheres", "two"), "--spheres is 'two'"),
        (("--spheres", "0"), "spheres is 0"),
        (("--spheres", "1,5000"), "spheres is 5000"),
    ],
)
def test_what_cannot_be_measured_is_refused(words: tuple[str, ...], named: str) -> None:
    assert named in run("bench", *words).refusal()


def test_help_names_the_sizes() -> None:
    assert all(name in run("bench", "--help").out for name in SIZES)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [CRYSTALLINE, "bench", "--json"], stdout=subprocess.PIPE, stderr=theirs, env=environment()
    ) as process:
        os.close(theirs)
        shown = os.read(ours, 65536)  # the display is there once it measures
        process.send_signal(number)
        out, _ = process.communicate(timeout=10.0)
    while INTERRUPTED.encode() not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    assert process.returncode == 128 + number
    assert out == b""
    assert shown.rindex(b"\x1b[?25h") > shown.index(b"\x1b[?25l"), "the cursor is shown again"


def test_standard_output_that_is_full_is_an_error() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123  (a device, not a file)
        done = subprocess.run(
            [CRYSTALLINE, "bench", "--quick", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=50.0,
            env=environment(),
            check=False,
        )
    assert done.returncode == 2
    assert "standard output" in done.stderr
    assert "Traceback" not in done.stderr
