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
    "chat_service": [
        "eight clients at once hear the same: True",
        "some find the queue full: True",
        "one that hangs up is forgotten: True",
        "GET /generate HTTP/1.1 -> HTTP/1.1 405",
        "POST /elsewhere HTTP/1.1 -> HTTP/1.1 404",
        "-> HTTP/1.1 413 Content Too Large",
        "-> HTTP/1.1 411 Length Required",
        "-> HTTP/1.1 431 Request Header Fields Too Large",
        "nonsense -> HTTP/1.1 400 Bad Request",
        '{"prompt": 3} -> HTTP/1.1 400 Bad Request',
    ],
    "embed_training": ["epoch 3: training loss", "ticks, worst delay"],
    "follow_training": ["step-00000150: ", "step-00000600: ", "600 steps were trained"],
    "hello_actors": ["hello you, after all that", "UpwardAsk", "left behind: 0"],
    "replay_sphere": ["no difference", "differs in nodes[0].gradient", "first at [1000]: recorded"],
    "second_epoch": ["epoch 3: total 44850", "the root is epoch_done(3)", "again: IllegalTransition"],
}


@pytest.mark.e2e
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_well(path: Path) -> None:
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [text for text in EXPECTED[path.stem] if text not in done.stdout] == []
