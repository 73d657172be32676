"""Ctrl-C and its relatives: at every moment, within five seconds, with a checkpoint if there was training."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crystalline.cli.entry import INTERRUPTED_EARLY
from crystalline.model import weights_sha256
from crystalline.training import load_checkpoint
from tests.helpers.command import TINY, environment, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.e2e

BUDGET_S = 5.0
LONG = (*TINY, "--epochs", "100000", "--save-every", "1")


@pytest.fixture
def endless(text: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that would take hours, in the middle of its training."""
    process = start("train", text, *LONG, "--out", tmp_path / "out", "--json")
    wait_until((tmp_path / "out" / "latest").exists, process)
    with process:
        yield process
        process.kill()


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    limit_s = time.monotonic() + 30
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit_s
        time.sleep(0.01)


def end(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=BUDGET_S)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    return out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_middle_of_training_a_checkpoint_is_saved(
    endless: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    out, err = end(endless, number)
    report = json.loads(out.splitlines()[-1])
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.progress.step == report["steps"] > 0
    assert weights_sha256(checkpoint.buffers.weights) == report["weights_sha256"]
    assert "stopped early" in err
    assert not list(tmp_path.glob(".*")), "nothing half-written"


# The command, in which one function says that it was called and never returns; no grace ends that.
HOLDING = """
import pkgutil, sys, time
from pathlib import Path
from crystalline.cli import main, session

owner, name, mark = (sys.argv.pop(1) for _ in range(3))

def hold(*_, **__):
    Path(mark).touch()
    time.sleep(3600)

setattr(pkgutil.resolve_name(owner), name, hold)
session.GRACE_S = 3600
main()
"""


@contextmanager
def holding(owner: str, name: str, mark: Path, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`crystalline`, held where it calls function `name` of `owner`; the file `mark` is there once it is."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, owner, name, mark, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_one_ends_at_once(text: Path, tmp_path: Path, second: signal.Signals) -> None:
    held, out = tmp_path / "held", tmp_path / "out"
    words = ("train", text, *LONG, "--out", out)
    with holding("crystalline.training:Trainer", "stop", held, *words) as process:
        wait_until((out / "latest").exists, process)
        process.send_signal(signal.SIGINT)
        wait_until(held.exists, process)
        process.send_signal(second)
        _, err = process.communicate(timeout=BUDGET_S)
    assert process.returncode == 128 + signal.SIGINT, "the first one says why"
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("crystalline.data:Corpus", "from_paths"),
        ("crystalline.training.prepare:", "prepare_tokens"),
        ("crystalline.training.prepare:", "initialise"),
    ],
)
def test_before_training_nothing_is_left_behind(text: Path, tmp_path: Path, owner: str, name: str) -> None:
    held = tmp_path / "held"
    words = ("train", text, *TINY, "--out", tmp_path / "out")
    with holding(owner, name, held, *words) as process:
        wait_until(held.exists, process)
        _, err = end(process, signal.SIGINT)
    *before, last = err.splitlines()
    assert last == INTERRUPTED_EARLY
    assert all(line.startswith("preparing ") for line in before)
    assert list(tmp_path.iterdir()) == [held]


def test_from_the_first_moment_nothing_is_left_behind(tmp_path: Path) -> None:
    # The built-in text takes seconds to read and to learn from.
    process = start("train", "--vocab-size", "20000", "--out", tmp_path / "out")
    with process:
        wait_until(lambda: minds(process, signal.SIGTERM), process)
        end(process, signal.SIGINT)
    assert not list(tmp_path.iterdir())


def minds(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler of its own: the first thing that the command does."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


STUCK = """
import os, signal, anyio
from crystalline.cli import session

class Stuck:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def events(self):
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()
        yield

    async def stop(self):
        await anyio.sleep_forever()

session.GRACE_S = 0.2
anyio.run(session.train_until_signal, Stuck(), print)
"""


def test_a_training_that_will_not_stop_is_ended() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], timeout=BUDGET_S, check=False)
    assert done.returncode == 130


def test_generation_ends_as_well(trained: Path) -> None:
    process = start("generate", trained, "--prompt", "Ka", "--tokens", "10000000", "--top-k", "1")
    with process:
        assert process.stdout is not None
        assert process.stdout.read(10), "text comes while it is made"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=BUDGET_S)
    assert process.returncode == 130
    assert err == ""
