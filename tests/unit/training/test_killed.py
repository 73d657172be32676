"""Those who look at what a killed run left can tell when something is wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers.damage import make_run
from tests.helpers.killed import METRICS, State, leftovers, lines_of, place_of, state_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSTALLINE_CACHE", str(folder / "cache"))
        asyncio.run(make_run(folder / "out"))
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "out", symlinks=True)


def examined(out: Path, made: Path, at_least: int = 0) -> State:
    return state_of(out, lines_of((made / METRICS).read_bytes()), at_least=at_least)


def test_a_run_that_ended_is_as_it_must_be(out: Path, made: Path) -> None:
    state = examined(out, made, at_least=10)
    assert (state.complaint, state.step, len(state.sha256)) == (None, 10, 64)
    assert [line["kind"] for line in state.lines].count("step") == 10


def test_before_the_first_checkpoint_there_is_nothing(tmp_path: Path, made: Path) -> None:
    assert examined(tmp_path / "none", made) == State(0)
    assert "is gone" in str(examined(tmp_path / "none", made, at_least=1).complaint)


def test_a_step_that_was_lost_is_noticed(out: Path, made: Path) -> None:
    older, newest = sorted((out / "checkpoints").iterdir())
    shutil.rmtree(newest)
    (out / "latest").unlink()
    (out / "latest").symlink_to(f"checkpoints/{older.name}")
    assert "was saved before" in str(examined(out, made, at_least=10).complaint)


def test_damage_is_noticed(out: Path, made: Path) -> None:
    (max((out / "checkpoints").iterdir()) / "config.json").write_bytes(b"")
    assert "config.json" in str(examined(out, made).complaint)
    shutil.rmtree(out / "checkpoints")
    assert "manifest.json" in str(examined(out, made).complaint)


def test_metrics_may_end_in_half_a_line_behind_the_checkpoint(out: Path, made: Path) -> None:
    with (out / METRICS).open("ab") as file:
        file.write(b'{"kind": "st')
    assert examined(out, made).complaint is None


@pytest.mark.parametrize("what", ["gap", "duplicate", "cut", "half a line", "another number", "a line more"])
def test_metrics_that_are_not_those_of_the_run_are_noticed(out: Path, made: Path, what: str) -> None:
    lines = (out / METRICS).read_bytes().splitlines(keepends=True)
    if what == "gap":
        del lines[3]
    elif what == "duplicate":
        lines.insert(3, lines[3])
    elif what == "cut":
        del lines[-1]
    elif what == "half a line":
        lines[-1] = lines[-1][:-5]
    elif what == "another number":
        line = json.loads(lines[-2])
        lines[-2] = json.dumps({**line, "lr": line["lr"] * 2}).encode() + b"\n" if "lr" in line else b"{}\n"
    else:
        lines.append(lines[-1])
    (out / METRICS).write_bytes(b"".join(lines))
    assert "metrics" in str(examined(out, made).complaint)


def test_what_clocks_say_does_not_count() -> None:
    one, other = (
        json.dumps({"step": 1, "seconds": clock, "time": clock}).encode() + b"\n" for clock in (1, 2)
    )
    assert lines_of(one) == lines_of(other) == ({"step": 1},)


def test_hidden_folders_tell_what_a_save_was_at(tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = {
        ".out.new-00000001": "first checkpoint",
        "out/.latest.new-00000002": "link",
        "out/checkpoints/.step-00000003.new-00000003": "checkpoint",
        "out/checkpoints/.step-00000001.new-00000004/step-00000001": "removal",
    }
    for name in left:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".other.new-00000005").mkdir()
    places = {path.name: place_of(path, out) for path in leftovers(out)}
    assert sorted(places.values()) == sorted(left.values())
    assert places[".step-00000001.new-00000004"] == "removal"
