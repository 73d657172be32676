"""What docs/debugging.md shows is what its programs print today."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.tree import ROOT
from tests.helpers.command import LIMIT_S, environment
from tests.stories.regenerate import printed_by, run_story, without_numbers

pytestmark = pytest.mark.e2e


def test_the_page_shows_what_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "stories" / "regenerate.py", "--check"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "now", "same"),
    [
        ("waited 1.5 s of 2 s", "waited 871 ms of 1e-05 s", True),
        ("busy  83%", "busy 7%", True),
        ("1,095 events, step 3", "97 events, step 12", True),
        ("weights 0123456789abcdef", "weights fedcba9876543210", True),
        ("/root/sphere-1 waits", "/root/sphere-2 waits", False),
        ("3 waits", "no wait", False),
        ("one line", "one line\nand another", False),
    ],
)
def test_only_numbers_may_differ(page: str, now: str, *, same: bool) -> None:
    assert (without_numbers(page) == without_numbers(now)) is same


def test_what_was_printed_is_put_behind_its_command() -> None:
    story = "```sh\necho one >file\n```\n\n```sh\ncat file\nls gone*\n```\n\n```text\nold\n```\nThe end.\n"
    told = run_story(story)
    assert told.startswith("```sh\necho one >file\n```\n\n```sh\ncat file\n")
    assert "```text\none\nls: " in told
    assert "old" not in told
    assert told.endswith("```\nThe end.\n")


def test_commands_share_a_shell() -> None:
    assert printed_by(["name=value\n", "echo $name\n"], ROOT) == ["", "value\n"]
