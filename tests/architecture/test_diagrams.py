"""Tables and diagrams in the documents show the tables that are in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors import TRANSITIONS, Event, State
from tests.architecture import diagrams
from tests.architecture.documents import documents
from tests.architecture.tree import name_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_what_is_made_out_of_the_code_is_up_to_date(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert diagrams.made(text) == text, "run: python tests/architecture/diagrams.py --write"


def test_each_is_shown_once_and_every_mark_is_whole() -> None:
    texts = [path.read_text(encoding="utf-8") for path in documents()]
    shown = [found["name"] for text in texts for found in diagrams.MARK.finditer(text)]
    assert sorted(shown) == sorted(diagrams.MAKERS)
    assert sum(text.count("made by diagrams.py:") for text in texts) == len(shown)


def test_a_stale_table_is_found() -> None:
    text = diagrams.made("<!-- made by diagrams.py: states-table -->\n<!-- end of states-table -->")
    assert "| epoch_done | begin(n) | running |" in text
    stale = text.replace("| epoch_done | begin(n) | running |", "| epoch_done | begin(n) | idle |")
    assert stale != text
    assert diagrams.made(stale) == text


def test_every_move_of_the_lifecycle_is_in_table_and_diagram() -> None:
    rows = {tuple(row.split(" | ")[:3]) for row in diagrams.states_table().splitlines()}
    for (before, event), after in TRANSITIONS.items():
        assert any(
            row[0] == f"| {before.value}" and row[1].startswith(event.value) and row[2] == after.value
            for row in rows
            if len(row) == 3
        )
    drawn = diagrams.states_diagram()
    assert f"{State.EPOCH_DONE.value} --> {State.RUNNING.value}: {Event.BEGIN.value}(n)" in drawn


def test_a_member_that_is_down_comes_up_by_rising_alone() -> None:
    moves = {
        (before and before.value, after and after.value) for before, _, after in diagrams.standings_moves()
    }
    assert {before for before, after in moves if after == "up"} == {None, "rising"}
    assert {before for before, after in moves if after == "rising"} == {"down"}
