"""`crystalline trace` in a process of its own, on a run that was recorded for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.cli.lazy import COMMANDS
from tests.helpers.command import CRYSTALLINE, LIMIT_S, TINY, Finished, environment, run
from tests.helpers.options import untested

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e

# What each question is asked, and the keys of its answer for programs.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "summary": (),
    "why": ("/root/sphere-1",),
    "critical": (),
    "stuck": (),
    "diff": ("same.trace",),
}
EXPORTS = ("sequence", "timeline", "otel", "html")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A folder with the traces of three runs: `mine`, `same` with the same seed, `other`. Not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, words in {"mine": (), "same": (), "other": ("--batch-size", "12")}.items():
        out = ("--out", folder / name, "--trace", folder / f"{name}.trace")
        assert run("train", text, *TINY, "--spheres", "3", *out, *words, "--quiet").code == 0
    return folder


@pytest.fixture
def place(recorded: Path, tmp_path: Path) -> Path:
    """A folder with copies of the traces, to do with as one likes."""
    for path in recorded.glob("*.trace*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def told(done: Finished) -> str:
    """What a command that went well has printed: whole lines of text, without control characters."""
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")
    assert all(line.isprintable() for line in done.out.splitlines())
    return done.out


@pytest.mark.parametrize("command", COMMANDS["trace"].commands)
def test_no_option_is_without_a_test(command: str) -> None:
    assert untested(COMMANDS["trace"].commands[command].place, Path(__file__)) == []


def test_the_file_may_come_first(recorded: Path) -> None:
    answers = [
        told(run("trace", *words, cwd=recorded))
        for words in (("why", "mine.trace", "sphere-1"), ("mine.trace", "why", "sphere-1"))
    ]
    assert answers[0] == answers[1]
    assert told(run("trace", "mine.trace", cwd=recorded)) == told(
        run("trace", "summary", "mine.trace", cwd=recorded)
    )
