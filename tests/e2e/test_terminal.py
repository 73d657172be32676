"""What people see on a terminal: whole words, loads that cannot be taken for progress, a way to go on."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import CRYSTALLINE, LIMIT_S, TINY, environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLUMNS = 60


def seen(*words: str | Path) -> str:
    """All that `crystalline` writes to a terminal as standard error, without colours and movements."""
    ours, theirs = pty.openpty()
    terminal = {"TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": "30"}
    process = subprocess.Popen([CRYSTALLINE, *words], stderr=theirs, env=environment() | terminal)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:
        pass  # how a terminal says that its other side is closed
    os.close(ours)
    assert process.wait(LIMIT_S) == 0
    return CONTROL.sub("", written.decode()).replace("\r", "")


def test_a_run_on_a_terminal(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "a folder with a name that is longer than one row of the terminal"
    shown = seen("train", text, *TINY, "--spheres", "3", "--out", out)
    assert "preparing" in shown
    assert re.search(r"sphere-2   busy +\d+% ", shown)
    prose, _, where = shown[shown.rindex("\ndone: ") :].partition("\nmodel: ")
    assert max(map(len, prose.splitlines())) <= COLUMNS
    assert "of the unigram distribution of the training tokens" in " ".join(prose.split())
    assert where.splitlines() == [
        str(out),
        f"talk to it: crystalline generate '{out}' --prompt 'The'",
    ], "what is to be copied is not broken"
