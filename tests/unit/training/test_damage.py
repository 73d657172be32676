"""Damaged checkpoints by the hundred: all are found, and those who look for them can be wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from random import Random
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import ModelFolderError
from crystalline.training import load_checkpoint
from tests.architecture.tree import ROOT
from tests.helpers.damage import HARMLESS, KINDS, Stage, contents, make_run, run_tries, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crystalline.training import Checkpoint

RANDOM_OFFSETS = ("flipped bit", "truncation")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSTALLINE_CACHE", str(folder / "cache"))
        asyncio.run(make_run(folder / "out"))
        yield folder / "out"


@pytest.mark.parametrize("kind", RANDOM_OFFSETS)
def test_flipped_bits_and_truncations_at_random_offsets_are_all_found(out: Path, kind: str) -> None:
    found = run_tries(Stage(out), 300, 1, (kind,))
    assert found.complaints == []
    assert found.right[kind] == found.tried[kind] == 300


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - set(RANDOM_OFFSETS)))
def test_other_damage_is_all_found(out: Path, kind: str) -> None:
    found = run_tries(Stage(out), 30, 1, (kind,))
    assert found.complaints == []
    assert found.right[kind] == found.tried[kind] == 30


@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_damages_and_is_mended(out: Path, kind: str) -> None:
    stage = Stage(out)
    for number in range(30):
        changes = KINDS[kind](Random(number), stage.files, stage.files_of_older)
        assert changes
        assert all(stage.files.get(name) != content for name, content in changes.items())
        assert (kind in HARMLESS) == changes.keys().isdisjoint(stage.files)
        stage.examine(kind, Random(number))
        assert contents(stage.newest) == stage.files


def test_a_loader_that_sees_no_damage_is_caught(out: Path) -> None:
    whole = load_checkpoint(out)
    for kind in KINDS.keys() - HARMLESS:
        found = run_tries(Stage(out, lambda _folder: whole), 3, 1, (kind,))
        assert found.right[kind] == 0
        assert "loaded as if it were whole" in found.complaints[0]


def test_a_loader_that_names_the_wrong_file_or_fails_in_its_own_way_is_caught(out: Path) -> None:
    def vague(folder: Path) -> Checkpoint:
        try:
            return load_checkpoint(folder)
        except ModelFolderError:
            raise ModelFolderError("something is wrong") from None

    def rude(_folder: Path) -> Checkpoint:
        raise KeyError("first_moment")

    for load, complaint in ((vague, "the wrong file is named"), (rude, "KeyError")):
        found = run_tries(Stage(out, load), 3, 1, ("flipped bit",))
        assert found.right["flipped bit"] == 0
        assert complaint in found.complaints[0]


def test_a_run_folder_that_gives_the_newer_checkpoint_is_caught(out: Path) -> None:
    stage = Stage(out)
    newest = load_checkpoint(stage.newest)
    stage.load = lambda folder: newest if folder == out else load_checkpoint(folder)
    assert "not its older checkpoint" in str(stage.examine("missing file", Random(1)))


def test_a_missing_file_is_written_again(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"1", "b": None})
    assert contents(tmp_path) == {"a": b"1"}


def test_the_command_counts_what_it_tried(tmp_path: Path) -> None:
    words = ("--tries", "2", "--seed", "5", "--json")
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "conformance" / "damage.py", *words],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        check=False,
    )
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert found["kinds"] == {kind: {"tried": 2, "right": 2} for kind in KINDS}
    assert list(tmp_path.iterdir()) == []
