"""docs/what-happens-when.md names, for every line, tests that exist."""

from __future__ import annotations

from tests.architecture.test_never_again import NODE, ROW, _names
from tests.architecture.tree import ROOT

PAGE = ROOT / "docs" / "what-happens-when.md"


def _lines() -> list[tuple[str, str]]:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return [(when, tests) for when, _, tests in rows if set(when) != {"-"} and when != "when"]


def test_every_line_names_a_test() -> None:
    assert len(_lines()) >= 25
    assert [when for when, tests in _lines() if not NODE.search(tests)] == []


def test_every_test_that_is_named_exists() -> None:
    named = [match for _, tests in _lines() for match in NODE.findall(tests)]
    assert [(file, name) for file, name in named if name not in _names(ROOT / file)] == []
