"""The end of a process whose actors are stuck, in processes of their own: within the budget, with a report.

A time begins when the program has said that it is in its situation, so that the start of the interpreter does
not count. All that is asserted about it is law 9: not longer than the budget and a second.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).parent / "programs" / "stuck.py"
BUDGET_S = 1.0
SLACK_S = 1.0
HOURS_S = 3600.0
HANGS_S = 15.0
NOISE = ("was destroyed", "never awaited", "never retrieved", "Exception ignored", "unhandled exception")

# What is stuck, who survives, and a line of the survivor's stack; without one everything obeys.
SITUATIONS = [
    ("idle", "", ""),
    ("running", "", ""),
    ("epoch_done", "", ""),
    ("shutdown", "", ""),
    ("await", "", ""),
    ("full_mailbox", "", ""),
    ("receiver", "", ""),
    ("job", "plant-job-1", "in job_for_ever"),
    ("cling", "task of /stuck", "in cling_for_ever"),
    ("swallow", "task of /stuck", "in swallow_everything"),
    ("foreign", "task of /stuck", "in cling_for_ever"),
    ("below", "task of /stuck/stuck/stuck/stuck/stuck", "in cling_for_ever"),
]


class Program:
    """A running `stuck.py`, which is in its situation."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()
        self._process = process
        self._since_s = time.monotonic()

    def send(self, number: signal.Signals) -> None:
        self._since_s = time.monotonic()
        self._process.send_signal(number)

    def wait_for(self, words: str) -> None:
        """Return once these words are in a line of its standard error."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if words in line:
                return
        raise AssertionError(f"it ended and did not say {words!r}")

    def ends_within(self, limit_s: float, code: int) -> str:
        """Wait for its end, counted from the situation or from the last signal; what it said on the way."""
        try:
            _, said = self._process.communicate(timeout=HANGS_S)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # it says where every thread stands
            _, said = self._process.communicate(timeout=HANGS_S)
        took_s = time.monotonic() - self._since_s
        assert self._process.returncode == code, said
        assert took_s <= limit_s, said
        assert not [noise for noise in NOISE if noise in said], said
        return said


@contextmanager
def stuck(situation: str, end: str, budget_s: float = BUDGET_S) -> Iterator[Program]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "faulthandler", PROGRAM, situation, end, str(budget_s)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


def assert_reported(said: str, survivor: str, line: str) -> None:
    """The report names who survived, with the stack; and there is none when nobody did."""
    assert ("left behind: " in said) == bool(survivor)
    if survivor:
        report = said.split("\nTraceback (most recent call last):", maxsplit=1)[0]
        assert f"\n{survivor}:\n" in report
        assert line in report.split(f"\n{survivor}:\n")[1]


@pytest.mark.parametrize(("situation", "survivor", "line"), SITUATIONS)
def test_when_main_is_over_the_process_ends(situation: str, survivor: str, line: str) -> None:
    with stuck(situation, "leave") as program:
        said = program.ends_within(BUDGET_S + SLACK_S, 0)
    assert_reported(said, survivor, line)


@pytest.mark.parametrize(("situation", "survivor", "line"), SITUATIONS)
def test_ctrl_c_ends_it(situation: str, survivor: str, line: str) -> None:
    with stuck(situation, "wait") as program:
        program.send(signal.SIGINT)
        said = program.ends_within(BUDGET_S + SLACK_S, -signal.SIGINT)
    assert_reported(said, survivor, line)
    assert said.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize(
    ("situation", "survivor", "line"),
    [entry for entry in SITUATIONS if entry[0] in {"job", "cling", "foreign", "below"}],
)
def test_a_second_ctrl_c_jumps_to_the_last_phase(situation: str, survivor: str, line: str) -> None:
    with stuck(situation, "wait", HOURS_S) as program:
        program.send(signal.SIGINT)
        program.wait_for("leaving")
        program.send(signal.SIGINT)
        said = program.ends_within(SLACK_S, -signal.SIGINT)
    assert_reported(said, survivor, line)


def test_a_handler_that_never_lets_go_of_the_loop_is_reported_and_a_second_ctrl_c_ends_it() -> None:
    """The first one cancels main, which does not come to its turn; the second one strikes the handler."""
    with stuck("busy", "wait") as program:
        program.wait_for("/stuck blocks the event loop: no answer for 1 s")
        program.send(signal.SIGINT)
        program.wait_for("leaving")
        program.send(signal.SIGINT)
        said = program.ends_within(BUDGET_S + SLACK_S, -signal.SIGINT)
    assert "in do\n" in said
    assert said.endswith("KeyboardInterrupt\n")


def test_sigterm_is_the_program_s_own_affair() -> None:
    """Nothing in the runtime minds it: by default it ends the process at once, whatever the actors do."""
    with stuck("cling", "wait") as program:
        program.send(signal.SIGTERM)
        assert program.ends_within(SLACK_S, -signal.SIGTERM) == ""


@pytest.mark.parametrize(("situation", "survivor", "line"), SITUATIONS)
def test_sigterm_that_cancels_main_ends_it_in_good_order(situation: str, survivor: str, line: str) -> None:
    with stuck(situation, "sigterm") as program:
        program.send(signal.SIGTERM)
        said = program.ends_within(BUDGET_S + SLACK_S, 128 + signal.SIGTERM)
    assert_reported(said, survivor, line)
