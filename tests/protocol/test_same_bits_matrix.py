"""One hash: for any number of spheres, with a sphere killed in each epoch or none, straight or resumed."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING

import pytest

from crystalline.optim import clip as clip_module
from crystalline.training import work as work_module
from tests.conformance import same_bits
from tests.helpers.plain_training import PlainRun, train_plainly
from tests.helpers.same_bits import Cell, run_cell
from tests.helpers.training import CORPUS, MODEL, settings

if TYPE_CHECKING:
    from pathlib import Path

CELLS = [
    Cell(spheres, killed, resumed)
    for spheres in (1, 2, 3, 4, 5, 8, 12, 13, 25)
    for killed in (False, True)
    for resumed in (False, True)
]


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and slices so small that every sphere has some of the update."""
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))
    for module in (clip_module, work_module):
        monkeypatch.setattr(module, "SLICE", 300)


@cache
def plain() -> PlainRun:
    return train_plainly(MODEL, settings(), CORPUS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_every_way_to_train_gives_the_same_bits(cell: Cell, tmp_path: Path) -> None:
    found = await run_cell(MODEL, settings(), CORPUS, cell, tmp_path)
    print(found.kills, [part.steps for part in found.parts])
    assert found.sha256 == plain().hashes[-1]
    assert [part.interrupted for part in found.parts] == [True, False][not cell.resumed :]
    assert all(part.weights_sha256 == plain().hashes[part.steps] for part in found.parts)
    assert set(found.kills) == ({1, 2} if cell.killed else set()), "a sphere was started again in each epoch"


def test_the_command_compares_all_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert same_bits.main(["--spheres", "1,13", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["hashes"] == [plain().hashes[-1]] == [result["plain_loop"]]
    assert [(run["spheres"], run["killed"], run["resumed"]) for run in result["runs"]] == [
        (spheres, killed, resumed)
        for spheres in (1, 13)
        for killed in (False, True)
        for resumed in (False, True)
    ]


def test_the_command_says_which_differ(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(same_bits, "train_plainly", lambda *_: PlainRun(hashes=["another"]))
    assert same_bits.main(["--spheres", "1", "--steps", "3"]) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 4
