"""A file may stand before the command that is about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crystalline.cli.word_order import command_first

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {"summary", "why", "diff"}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("")


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ([], []),
        (["--help"], ["--help"]),
        (["why", "here", "x"], ["why", "here", "x"]),
        (["here", "why", "x"], ["why", "here", "x"]),
        (["gone", "why", "x", "--json"], ["why", "gone", "x", "--json"]),
        (["here", "diff", "other"], ["diff", "here", "other"]),
        (["here"], ["summary", "here"]),
        (["gone"], ["summary", "gone"]),
        (["here", "--json"], ["summary", "here", "--json"]),
        (["why", "why", "x"], ["why", "why", "x"]),
        (["./why", "why", "x"], ["why", "./why", "x"]),
    ],
)
def test_the_command_comes_to_the_front(words: list[str], ordered: list[str]) -> None:
    assert command_first(words, COMMANDS, "summary") == ordered


@pytest.mark.parametrize("words", [["whyy", "here", "x"], ["here", "whyy", "x"]])
def test_a_misspelt_command_is_what_is_complained_of(words: list[str]) -> None:
    assert command_first(words, COMMANDS, "summary") == ["whyy", "here", "x"]
