"""A training that is killed at random moments, and resumed, ends as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.architecture.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

LIMIT_S = 55.0


def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    script = ROOT / "tests" / "conformance" / "kill.py"
    done = subprocess.run(
        [sys.executable, script, "--kills", "10", "--epochs", "6", "--json"],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=tmp_path,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["complaints"] == []
    assert (done.returncode, done.stderr) == (0, "")
    assert found["kills"] == 10
    assert found["runs"] >= 1
    assert found["all_hashes_equal"]
