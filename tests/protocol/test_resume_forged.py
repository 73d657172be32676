"""Going on from what a run cannot have left, and what a run folder shows after a damage was passed over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import InputError, OutputError
from crystalline.model import load_model, weights_sha256
from crystalline.training import TrainReport, load_checkpoint
from crystalline.training.run_folder import check_output
from tests.helpers.damage import make_run
from tests.helpers.forgery import forge_progress
from tests.helpers.training import settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))


def ends_of(out: Path) -> tuple[Path, Path]:
    """The older and the newest checkpoint."""
    older, newest = sorted((out / "checkpoints").glob("step-*"))
    return older, newest


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": 3, "step_in_epoch": 0},
        {"epoch": 10**6, "step_in_epoch": 5},
        {"epoch": 1},
        {"step": 9},
        {"step": 10**9, "step_in_epoch": 10**9},
        {"step_in_epoch": 6},
    ],
    ids=str,
)
async def test_progress_that_the_plan_does_not_have_is_refused(
    changes: dict[str, object], tmp_path: Path
) -> None:
    """The run has two epochs of five steps each."""
    out = tmp_path / "out"
    train = await make_run(out)
    older, newest = ends_of(out)
    for checkpoint in (older, newest):
        forge_progress(checkpoint, **{"epoch": 2, "step": 10, "step_in_epoch": 5, **changes})
    with pytest.raises(InputError) as caught:
        async with trainer_of(train, out=out, resume=out) as trainer:
            await trainer.fit()
    assert "\n" not in str(caught.value)


async def passed_over_and_stopped(out: Path) -> TrainReport:
    train = await make_run(out)
    file = ends_of(out)[1] / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    async with trainer_of(train, out=out, resume=out) as trainer:
        await trainer.stop()
        return await trainer.fit()


async def test_the_folder_shows_the_model_of_the_report_after_a_damaged_one_was_passed_over(
    tmp_path: Path,
) -> None:
    """Nothing was trained after it, so nothing was written; `latest` must not name the damaged one."""
    report = await passed_over_and_stopped(tmp_path / "out")
    _, weights = load_model(tmp_path / "out")
    assert weights_sha256(weights) == report.weights_sha256


LEFT_BY_A_KILL = (
    "out/checkpoints/.step-00000012.new-0a1b2c3d",
    "out/.latest.new-0a1b2c3d",
    ".out.new-0a1b2c3d",
)


def leave(parent: Path, name: str) -> Path:
    """What stays when a save is ended by kill -9 at the wrong moment."""
    (parent / name / "training").mkdir(parents=True)
    (parent / name / "model.safetensors").write_bytes(b"half a mod")
    return parent / name


@pytest.mark.parametrize("name", LEFT_BY_A_KILL)
async def test_what_a_killed_save_left_keeps_nobody_from_replacing_the_run(tmp_path: Path, name: str) -> None:
    await make_run(tmp_path / "out")
    leave(tmp_path, name)
    assert check_output(tmp_path / "out", force=True)
    (tmp_path / "out" / "photos").mkdir()
    with pytest.raises(OutputError, match="not made by a training run"):
        check_output(tmp_path / "out", force=True)


@pytest.mark.parametrize("name", LEFT_BY_A_KILL)
async def test_what_a_killed_save_left_is_gone_after_the_next_run_in_the_folder(
    tmp_path: Path, name: str
) -> None:
    train = await make_run(tmp_path / "out")
    left = leave(tmp_path, name)
    older, newest = ends_of(tmp_path / "out")
    (newest / "model.safetensors").unlink()
    async with trainer_of(train, out=tmp_path / "out", resume=tmp_path / "out") as trainer:
        await trainer.fit()
    assert load_checkpoint(tmp_path / "out").progress.step == 10
    assert not left.exists()
    assert older.exists()


async def test_a_run_that_was_just_being_replaced_when_it_was_killed_can_be_gone_on_from(
    tmp_path: Path,
) -> None:
    """Between the two moves of --force there is no folder of its name."""
    train = await make_run(tmp_path / "out")
    aside = tmp_path / ".out.new-0a1b2c3d"
    aside.mkdir()
    (tmp_path / "out").rename(aside / "out")
    async with trainer_of(train, out=tmp_path / "out", resume=tmp_path / "out") as trainer:
        assert (await trainer.fit()).steps == 10
    assert not aside.exists()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    for name in (".git", ".other.new-0a1b2c3d", ".out.new", ".out.new-photos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    asyncio.run(trained_twice(tmp_path / "out"))
    assert len(list(tmp_path.glob(".*/mine"))) == 4


async def trained_twice(out: Path) -> None:
    train = settings(save_every=2)
    async with trainer_of(train, out=out) as trainer:
        await trainer.fit()
    async with trainer_of(train, out=out, resume=out) as trainer:
        await trainer.fit()
