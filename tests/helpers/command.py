"""The installed command, run as users run it, always under a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CRYSTALLINE = Path(sys.executable).parent / "crystalline"
LIMIT_S = 50.0

# As small as a model can sensibly be: starting Python takes longer than training it.
TINY = (
    *("--dim", "16", "--layers", "1", "--heads", "2"),
    *("--vocab-size", "300", "--seq-len", "16", "--batch-size", "24", "--epochs", "1"),
)


def environment() -> dict[str, str]:
    """This process's, without what would make a pipe look like a terminal."""
    return {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "PY_COLORS"}}


def start(*words: str | Path) -> subprocess.Popen[str]:
    """Start `crystalline`; the caller ends it."""
    return subprocess.Popen(
        [CRYSTALLINE, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def run(*words: str | Path, cwd: Path | None = None, limits: str = "true") -> Finished:
    """Run `crystalline` to its end, after a shell command that may set limits."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'{limits}; exec "$@"', "sh", CRYSTALLINE, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        cwd=cwd,
        check=False,
    )
    return Finished(done)


def run_program(name: str, *words: str | Path) -> Finished:
    """Run a program of tests/e2e/programs, which breaks something and then is `crystalline`."""
    done = subprocess.run(
        [sys.executable, Path(__file__).parent.parent / "e2e" / "programs" / name, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    return Finished(done)


class Finished:
    """How a command ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def json(self) -> dict[str, Any]:
        """The object in the last line of standard output."""
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return found

    def refusal(self) -> str:
        """The one line that says why the input cannot be used."""
        assert self.code == 2, (self.code, self.out, self.err)
        *before, line = self.err.splitlines()
        assert all(words.startswith("preparing ") for words in before), self.err
        assert line.startswith("error: ")
        assert self.out == ""
        return line
