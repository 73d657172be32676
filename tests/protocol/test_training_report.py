"""What a finished training reports, held to what it told on the way and to the text."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.data import PADDING_TARGET, Windows, prepare_tokens
from crystalline.training import EpochDone, StepDone
from crystalline.training import prepare as prepare_module
from tests.helpers.plain_training import train_plainly
from tests.helpers.training import CORPUS, MODEL, events_of, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))


async def test_the_report_is_that_of_the_run(tmp_path: Path) -> None:
    async with trainer_of(settings(spheres=14), out=tmp_path / "out") as trainer:
        events = await events_of(trainer)
        report = await trainer.fit()
        parameters = trainer.model_config.parameter_count()
        assert (report.unigram_loss, report.resting) == (trainer.unigram_loss, len(trainer.resting))
    plain = train_plainly(MODEL, settings(), CORPUS)
    last = [event for event in events if isinstance(event, EpochDone)][-1]
    assert (report.epochs, report.steps, report.tokens) == (2, last.step, sum(plain.tokens))
    assert (report.train_loss, report.val_loss) == (last.train_loss, last.val_loss)
    assert (report.spheres, report.shards, report.parameters) == (14, 12, parameters)
    assert report.model == str(tmp_path / "out")
    assert report.weights_sha256 == plain.hashes[-1]
    assert len(report.sphere_busy) == 14
    assert report.tokens_per_s > 0
    assert report.wall_s > 0
    assert not report.interrupted


async def test_the_figures_of_the_report_follow_from_those_of_the_steps() -> None:
    async with trainer_of(settings(spheres=25)) as trainer:
        steps = [event for event in await events_of(trainer) if isinstance(event, StepDone)]
        report, resting = await trainer.fit(), trainer.resting
    tokens, seconds = np.array([(step.tokens, step.seconds) for step in steps]).T
    busy_s, waiting_s, idle_s = (
        np.array(parts) * seconds[:, None]
        for parts in zip(*((step.busy, step.waiting, step.idle) for step in steps), strict=True)
    )
    assert report.tokens_per_s == pytest.approx(tokens.sum() / seconds.sum())
    assert report.sphere_busy == pytest.approx((busy_s.sum(axis=0) / seconds.sum()).tolist())
    assert report.sphere_waiting == pytest.approx((waiting_s.sum(axis=0) / seconds.sum()).tolist())
    assert report.sphere_idle == pytest.approx((idle_s.sum(axis=0) / seconds.sum()).tolist())
    parts = np.array([report.sphere_busy, report.sphere_waiting, report.sphere_idle])
    assert parts.min() >= 0
    assert parts.sum(axis=0) == pytest.approx(1.0)
    assert np.flatnonzero(np.array(report.sphere_busy) == 0).tolist() == resting
    assert len(resting) == 1
    assert all(0 <= busy <= 1 for busy in report.sphere_busy)
    assert report.wall_s >= seconds.sum()


async def test_the_unigram_loss_is_that_of_the_held_out_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    # Several blocks, the last one smaller.
    monkeypatch.setattr(prepare_module, "_TOKENS_AT_ONCE", 3 * MODEL.seq_len)
    async with trainer_of(settings(val_fraction=0.3)) as trainer:
        found, V = trainer.unigram_loss, trainer.model_config.vocab_size
    windows = Windows(prepare_tokens(CORPUS, MODEL.vocab_size, None).tokens, MODEL.seq_len, 0.3)
    seen = Counter(windows.batch(windows.train)[1].ravel().tolist())
    held_out = Counter(windows.batch(windows.validation)[1].ravel().tolist())
    del seen[PADDING_TARGET], held_out[PADDING_TARGET]
    costs = [count * -math.log((seen[t] + 1) / (seen.total() + V)) for t, count in held_out.items()]
    assert found == pytest.approx(sum(costs) / held_out.total())


async def test_without_held_out_text_there_is_no_unigram_loss() -> None:
    async with trainer_of(settings(val_fraction=0.0)) as trainer:
        assert trainer.unigram_loss is None


@pytest.mark.parametrize(("spheres", "resting"), [(12, 0), (25, 1), (40, 16)])
async def test_spheres_beyond_the_shards_rest_and_it_is_said(spheres: int, resting: int) -> None:
    async with trainer_of(settings(spheres=spheres, steps=1)) as trainer:
        assert len(trainer.resting) == resting
        assert (await trainer.fit()).resting == resting
