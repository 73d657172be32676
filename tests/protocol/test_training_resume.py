from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.data import Corpus
from crystalline.errors import ModelFolderError, SettingError
from crystalline.training import StepDone, TrainReport, load_checkpoint
from crystalline.training import prepare as prepare_module
from crystalline.training.resume import check_same_run
from crystalline.training.run_folder import RunIdentity
from tests.helpers.training import CORPUS, MODEL, report_of, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.training import TrainConfig


async def stopped_after(step: int, train: TrainConfig, out: Path, **options: Any) -> TrainReport:
    """Train, and stop when so many steps are done; a later step may be under way and is abandoned."""
    async with trainer_of(train, out=out, **options) as trainer:
        async for event in trainer.events():
            if isinstance(event, StepDone) and event.step >= step:
                await trainer.stop()
        return await trainer.fit()


async def resumed(train: TrainConfig, checkpoint: Path, out: Path | None, **options: Any) -> TrainReport:
    async with trainer_of(train, out=out, resume=checkpoint, **options) as trainer:
        return await trainer.fit()


@pytest.mark.parametrize("step", [1, 3, 5, 6, 9])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 13)])
async def test_never_again_resume_is_bit_exact(step: int, before: int, after: int, tmp_path: Path) -> None:
    undisturbed = await report_of(settings())
    stopped = await stopped_after(step, settings(spheres=before), tmp_path / "run")
    assert stopped.interrupted
    assert step <= stopped.steps < undisturbed.steps
    report = await resumed(settings(spheres=after), tmp_path / "run", tmp_path / "run")
    assert report.weights_sha256 == undisturbed.weights_sha256
    assert report.val_loss == undisturbed.val_loss
    assert (report.steps, report.epochs, report.interrupted) == (undisturbed.steps, undisturbed.epochs, False)
    record = load_checkpoint(tmp_path / "run").record
    assert record["weights_sha256"] == undisturbed.weights_sha256


async def test_a_run_may_be_stopped_again_and_again(tmp_path: Path) -> None:
    undisturbed = await report_of(settings())
    report = await stopped_after(2, settings(), tmp_path / "run")
    while report.interrupted:
        report = await stopped_after(report.steps + 2, settings(), tmp_path / "run", resume=tmp_path / "run")
    assert report.weights_sha256 == undisturbed.weights_sha256


async def test_an_earlier_checkpoint_can_be_gone_on_from_in_another_folder(tmp_path: Path) -> None:
    straight = await report_of(settings(save_every=3), out=tmp_path / "run")
    checkpoints = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert len(checkpoints) == 2
    report = await resumed(settings(), checkpoints[0], tmp_path / "other")
    assert report.weights_sha256 == straight.weights_sha256
    other, straight_on = (load_checkpoint(tmp_path / name).progress for name in ("other", "run"))
    clocks: dict[str, Any] = {"epoch_seconds": 0.0, "metrics_bytes": 0}  # of the machine, not of the run
    assert replace(other, **clocks) == replace(straight_on, **clocks)


async def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    straight = await report_of(settings(), out=tmp_path / "run")
    report = await resumed(settings(), tmp_path / "run", tmp_path / "run")
    assert (report.steps, report.weights_sha256) == (straight.steps, straight.weights_sha256)
    assert (report.tokens, report.interrupted) == (0, False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train": settings(lr=0.5)}, "lr was 0.01 and is 0.5"),
        ({"train": settings(shards=7)}, "shards was 12 and is 7"),
        ({"model": replace(MODEL, layers=2)}, "layers was 1 and is 2"),
        ({"corpus": Corpus.from_text(CORPUS.documents[0] + " and more")}, "the text is another one"),
    ],
)
async def test_going_on_as_another_run_is_refused_by_name(
    changes: dict[str, Any], named: str, tmp_path: Path
) -> None:
    await stopped_after(2, settings(), tmp_path / "run")
    train = changes.pop("train", settings())
    with pytest.raises(SettingError, match=named):
        await resumed(train, tmp_path / "run", tmp_path / "run", **changes)
    assert load_checkpoint(tmp_path / "run").progress.step >= 2


async def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    await stopped_after(2, settings(), tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run")
    with pytest.raises(SettingError, match="the tokenizer is another one"):
        check_same_run(
            checkpoint,
            checkpoint.config,
            RunIdentity(
                train=settings(),
                data_fingerprint=CORPUS.fingerprint,
                tokenizer_json=checkpoint.tokenizer_json.replace("the", "teh"),
            ),
        )


async def test_other_libraries_are_named_because_they_give_other_last_bits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stopped_after(2, settings(), tmp_path / "run")
    await resumed(settings(), tmp_path / "run", tmp_path / "same")
    assert not caplog.records
    monkeypatch.setattr(prepare_module, "arithmetic", lambda: "numpy 0.0, abacus 1")
    await resumed(settings(), tmp_path / "run", tmp_path / "other")
    (record,) = caplog.records
    assert re.search(r"computed by numpy [\d.]+, .*, and is now by numpy 0\.0, abacus 1", record.getMessage())


def damage(checkpoint: Path) -> None:
    """Flip one bit of the moments."""
    moments = checkpoint / "training" / "optimizer.safetensors"
    content = bytearray(moments.read_bytes())
    content[-1] ^= 1
    moments.write_bytes(content)


async def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = await report_of(settings())
    await stopped_after(5, settings(save_every=2), tmp_path / "run")
    older, newest = sorted((tmp_path / "run" / "checkpoints").iterdir())
    damage(newest)
    checkpoint = load_checkpoint(tmp_path / "run")
    assert f"step-{checkpoint.progress.step:08d}" == older.name
    assert [newest.name in text and "optimizer.safetensors" in text for text in checkpoint.passed_over] == [
        True
    ]
    report = await resumed(settings(), tmp_path / "run", tmp_path / "run")
    assert report.weights_sha256 == undisturbed.weights_sha256
    assert "passed over a newer checkpoint" in caplog.text


async def test_nothing_is_gone_on_from_when_every_checkpoint_is_damaged(tmp_path: Path) -> None:
    await stopped_after(5, settings(save_every=2), tmp_path / "run")
    for checkpoint in (tmp_path / "run" / "checkpoints").iterdir():
        damage(checkpoint)
    with pytest.raises(ModelFolderError, match=r"optimizer\.safetensors.*optimizer\.safetensors"):
        await resumed(settings(), tmp_path / "run", tmp_path / "run")
