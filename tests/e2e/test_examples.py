"""Every example runs as its first lines say, under a limit, with warnings as errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LIMIT_S = 50

# What each must print besides ending with exit code 0: the point that it makes.
EXPECTED = {
    "embed_training": ["epoch 3: training loss", "ticks, worst delay"],
    "hello_actors": ["hello you, after all that", "UpwardAsk", "left behind: 0"],
    "second_epoch": ["epoch 3: total 44850", "the root is epoch_done(3)", "again: IllegalTransition"],
}


@pytest.mark.e2e
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_well(path: Path) -> None:
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [text for text in EXPECTED[path.stem] if text not in done.stdout] == []
