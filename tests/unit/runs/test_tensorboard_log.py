"""What TensorBoard finds: every step and epoch once, also after a resume, and no trouble for the training."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.errors import OutputError
from crystalline.runs.tensorboard import TensorBoardLog
from crystalline.training import EpochDone, Saved, StepDone
from tests.helpers.event_files import events, shown

if TYPE_CHECKING:
    from pathlib import Path


def step_done(step: int, loss: float | None = None, skipped: str = "") -> StepDone:
    return StepDone(
        epoch=1,
        epochs=2,
        step=step,
        steps=10,
        loss=5.0 - step if loss is None else loss,
        grad_norm=0.5,
        learning_rate=0.001,
        tokens=100,
        seconds=0.25,
        busy=(0.5, 0.5),
        waiting=(0.25, 0.0),
        skipped=skipped,
    )


def epoch_done(epoch: int, step: int, val_loss: float | None = 4.5) -> EpochDone:
    return EpochDone(
        epoch=epoch,
        epochs=2,
        step=step,
        train_loss=4.0,
        val_loss=val_loss,
        tokens=1000,
        seconds=4.0,
        spheres=(),
    )


def write(folder: Path, *, from_step: int, to_step: int, loss: float | None = None) -> None:
    log = TensorBoardLog(folder, from_step=from_step)
    for step in range(from_step + 1, to_step + 1):
        log.take(step_done(step, loss))
    log.close()


def test_steps_and_epochs_are_scalars(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path / "new" / "board", from_step=0)
    log.take(step_done(1))
    log.take(step_done(2))
    log.take(Saved("folder", 2, "aa"))
    log.take(epoch_done(1, 2))
    log.close()
    assert shown(tmp_path / "new" / "board") == {
        "step/loss": [(1, 4.0), (2, 3.0)],
        "step/grad_norm": [(1, 0.5), (2, 0.5)],
        "step/learning_rate": [(1, np.float32(0.001)), (2, np.float32(0.001))],
        "step/tokens_per_s": [(1, 400.0), (2, 400.0)],
        "epoch/train_loss": [(2, 4.0)],
        "epoch/val_loss": [(2, 4.5)],
        "epoch/tokens_per_s": [(2, 250.0)],
    }


def test_a_file_begins_with_its_format(tmp_path: Path) -> None:
    write(tmp_path, from_step=0, to_step=1)
    assert events(tmp_path)[0].file_version == "brain.Event:2"


def test_without_held_out_text_there_is_no_validation_loss(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, from_step=0)
    log.take(epoch_done(1, 2, val_loss=None))
    log.close()
    assert "epoch/val_loss" not in shown(tmp_path)


def test_a_skipped_step_has_neither_loss_nor_norm(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, from_step=0)
    log.take(step_done(1, 0.0, "loss of shard 3 is not finite"))
    log.close()
    assert set(shown(tmp_path)) == {"step/learning_rate", "step/tokens_per_s"}


def test_a_resume_purges_what_came_after_its_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, from_step=0, to_step=7, loss=1.0)
    write(tmp_path, from_step=4, to_step=6, loss=2.0)
    assert shown(tmp_path)["step/loss"] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2)]
    write(tmp_path, from_step=5, to_step=8, loss=3.0)
    assert shown(tmp_path)["step/loss"] == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 3), (7, 3), (8, 3)]


def test_a_new_run_purges_everything(tmp_path: Path) -> None:
    write(tmp_path, from_step=0, to_step=7, loss=1.0)
    write(tmp_path, from_step=0, to_step=1, loss=2.0)
    assert shown(tmp_path)["step/loss"] == [(1, 2.0)]


def test_runs_that_begin_in_the_same_moment_have_files_of_their_own(tmp_path: Path) -> None:
    for step in range(20):
        write(tmp_path, from_step=step, to_step=step + 1)
    assert len(list(tmp_path.iterdir())) == 20
    assert [step for step, _ in shown(tmp_path)["step/loss"]] == list(range(1, 21))


def test_what_was_written_reaches_the_disk_in_time(tmp_path: Path) -> None:
    now_s = 0.0
    log = TensorBoardLog(tmp_path, from_step=0, clock=lambda: now_s)
    log.take(step_done(1))
    assert "step/loss" not in shown(tmp_path)
    now_s = 10.0
    log.take(step_done(2))
    assert [step for step, _ in shown(tmp_path)["step/loss"]] == [1, 2]
    log.take(step_done(3))
    log.take(epoch_done(1, 3))
    assert [step for step, _ in shown(tmp_path)["step/loss"]] == [1, 2, 3]
    log.close()


def test_after_the_end_nothing_is_written_and_nothing_is_wrong(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, from_step=0)
    log.close()
    log.close()
    log.take(step_done(1))
    assert shown(tmp_path) == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_any_loss_can_be_written(tmp_path: Path, value: float) -> None:
    write(tmp_path, from_step=0, to_step=1, loss=value)
    ((_, found),) = shown(tmp_path)["step/loss"]
    assert not np.isfinite(found)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="file"):
            TensorBoardLog(folder, from_step=0)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_disk_that_is_full_at_the_begin_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(OutputError, match="No space left"):
        TensorBoardLog(tmp_path, from_step=0)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_later_is_a_warning_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = TensorBoardLog(tmp_path, from_step=0)
    log.take(step_done(1))
    monkeypatch.setattr("os.fsync", _full)
    with caplog.at_level(logging.WARNING, logger="crystalline"):
        log.take(epoch_done(1, 1))
        log.take(step_done(2))
        log.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"no more events for TensorBoard in {tmp_path}: No space left on device"
    ]


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")
