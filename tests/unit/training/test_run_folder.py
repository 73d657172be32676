"""The folder of a run belongs to one process, goes on from any checkpoint, and sweeps up after a kill."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from actors import JobToken
from crystalline.errors import OutputError
from crystalline.model import initialise, weights_sha256
from crystalline.optim import AdamWBuffers
from crystalline.training import Progress, TrainConfig, load_checkpoint
from crystalline.training.checkpoint import Snapshot
from crystalline.training.run_folder import RunFolder, RunIdentity, run_folder_of
from tests.helpers.models import TIED
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER_JSON = small_tokenizer("the cat sat on the mat", 258).to_str()


def identity(**changes: int) -> RunIdentity:
    train = replace(TrainConfig(keep=100), **changes)  # type: ignore[arg-type]  # all of them are whole numbers
    return RunIdentity(train=train, tokenizer_json=TOKENIZER_JSON, data_fingerprint="f00d")


def snapshot(folder: RunFolder, step: int, *, validated: bool = False) -> Snapshot:
    weights = initialise(TIED, step)
    buffers = AdamWBuffers(weights, np.zeros_like(weights), np.zeros_like(weights))
    progress = Progress(
        epoch=1, step=step, step_in_epoch=step, validated=validated, metrics_bytes=folder.metrics.size
    )
    return Snapshot(TIED, buffers, progress, weights_sha256(weights))


def train(folder: RunFolder, *steps: int, validated: bool = False) -> None:
    """Take steps, each with its line, and save after each."""
    for step in steps:
        folder.metrics.append({"step": step})
        folder.save(JobToken(60.0), snapshot(folder, step, validated=validated))


def names(out: Path) -> list[str]:
    return sorted(folder.name for folder in (out / "checkpoints").iterdir())


def steps_in(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of five steps."""
    with closing(RunFolder(tmp_path / "out", identity())) as folder:
        train(folder, 1, 2, 3, 4, 5)
    return tmp_path / "out"


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_so_many_checkpoints_stay(tmp_path: Path, keep: int) -> None:
    with closing(RunFolder(tmp_path / "out", identity(keep=keep))) as folder:
        train(folder, 1, 2, 3, 4, 5)
    assert names(tmp_path / "out") == [f"step-0000000{step}" for step in range(6 - keep, 6)]


@pytest.mark.parametrize("step", [1, 3, 5])
def test_going_on_from_a_checkpoint_forgets_what_came_after_it(out: Path, step: int) -> None:
    checkpoint = load_checkpoint(out / "checkpoints" / f"step-0000000{step}")
    with closing(RunFolder(out, identity(), resumed=checkpoint)) as folder:
        assert names(out)[-1] == f"step-0000000{step}"
        assert load_checkpoint(out).progress.step == step
        assert (out / "config.json").is_file()
        train(folder, *range(step + 1, 8))
    assert steps_in(out) == [1, 2, 3, 4, 5, 6, 7]
    assert load_checkpoint(out).progress.step == 7


def test_going_on_in_another_folder_leaves_the_first_as_it_was(out: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(out / "checkpoints" / "step-00000002")
    with closing(RunFolder(tmp_path / "other", identity(), resumed=checkpoint)) as folder:
        train(folder, 3, 4)
    assert (steps_in(tmp_path / "other"), steps_in(out)) == ([1, 2, 3, 4], [1, 2, 3, 4, 5])
    assert (len(names(tmp_path / "other")), len(names(out))) == (2, 5)


@pytest.mark.parametrize("how", ["resumed", "forced"])
def test_two_never_train_in_one_folder(out: Path, how: str) -> None:
    checkpoint = load_checkpoint(out)
    with closing(RunFolder(out, identity(), resumed=checkpoint)), pytest.raises(OutputError, match="another"):
        RunFolder(out, identity(), force=how == "forced", resumed=checkpoint if how == "resumed" else None)
    RunFolder(out, identity(), force=True).close()


def test_a_folder_is_claimed_from_its_first_moment(tmp_path: Path) -> None:
    with closing(RunFolder(tmp_path / "out", identity())) as folder:
        train(folder, 1)
        with pytest.raises(OutputError, match="another training writes to"):
            RunFolder(tmp_path / "out", identity(), force=True)


def test_what_a_killed_process_has_left_is_swept_up_but_not_what_another_is_at(tmp_path: Path) -> None:
    left, other = tmp_path / ".out.new-00000000", tmp_path / ".other.new-00000000"
    for folder in (left, other):
        (folder / "checkpoints").mkdir(parents=True)
    with closing(RunFolder(tmp_path / "out", identity())):
        assert not left.exists()
        assert other.exists()


def test_the_end_of_an_epoch_is_saved_even_where_its_last_step_was(tmp_path: Path) -> None:
    """A stop during validation saves the last step; the run that goes on ends the epoch without another."""
    with closing(RunFolder(tmp_path / "out", identity())) as folder:
        train(folder, 5)
        train(folder, 5, validated=True)
        train(folder, 5, validated=True)
        train(folder, 5)
        train(folder, 6)
    assert names(tmp_path / "out") == ["step-00000005", "step-00000005-epoch", "step-00000006"]
    assert load_checkpoint(tmp_path / "out" / "checkpoints" / "step-00000005-epoch").progress.validated


@pytest.mark.parametrize("below", ["", "latest", "checkpoints/step-00000003"])
def test_the_run_of_a_checkpoint_is_found(out: Path, below: str) -> None:
    assert run_folder_of(out / below).resolve() == out.resolve()


def test_the_newest_is_the_newest_beyond_a_hundred_million_steps(tmp_path: Path) -> None:
    with closing(RunFolder(tmp_path / "out", identity())) as folder:
        train(folder, 99_999_999, 100_000_000, 100_000_001)
        assert load_checkpoint(tmp_path / "out").progress.step == 100_000_001


@pytest.mark.parametrize("how", ["latest", "checkpoints/step-00000005", "checkpoints/../latest"])
def test_going_on_by_any_name_of_the_newest_removes_nothing(out: Path, how: str) -> None:
    before = names(out)
    RunFolder(out, identity(), resumed=load_checkpoint(out / how)).close()
    assert names(out) == before
    assert load_checkpoint(out).progress.step == 5


@pytest.mark.parametrize("where", ["checkpoints/best", "../alone"])
def test_a_copy_of_a_checkpoint_is_not_gone_on_with_in_its_place(out: Path, where: str) -> None:
    copy = shutil.copytree(out / "checkpoints" / "step-00000003", out / where)
    before, run = names(out), out if where.startswith("checkpoints") else copy
    with pytest.raises(OutputError, match="exists: choose another --out"):
        RunFolder(run, identity(), resumed=load_checkpoint(copy))
    assert names(out) == before
    assert not (copy / "latest").exists()


def test_a_finished_run_that_is_gone_on_with_is_not_saved_again(tmp_path: Path) -> None:
    with closing(RunFolder(tmp_path / "out", identity(keep=1))) as folder:
        train(folder, 5, validated=True)
    checkpoint = load_checkpoint(tmp_path / "out")
    with closing(RunFolder(tmp_path / "out", identity(keep=1), resumed=checkpoint)) as folder:
        folder.save(JobToken(60.0), snapshot(folder, 5, validated=True))
    assert names(tmp_path / "out") == ["step-00000005"]
