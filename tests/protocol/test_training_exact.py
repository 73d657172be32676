"""The invariant: the same weights to the last bit, whoever computed them, and those of a plain loop."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crystalline.data import Corpus, Windows, prepare_tokens
from crystalline.lattice import dominant_group
from crystalline.model import initialise, weights_sha256
from crystalline.optim import clip as clip_module
from crystalline.training import EpochDone, StepDone
from crystalline.training import work as work_module
from tests.helpers.plain_training import PlainRun, train_plainly
from tests.helpers.training import CORPUS, MODEL, SHORT, SKEWED, events_of, report_of, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.training import TrainConfig

SPHERES = (1, 2, 3, 4, 8, 12, 13, 25)
RUNS = {
    "usual": (settings(), CORPUS),
    "skewed": (settings(epochs=3, batch_size=24), SKEWED),
    "five shards": (settings(shards=5), CORPUS),
    "batches smaller than the shards": (settings(batch_size=7), CORPUS),
    "text shorter than a batch": (settings(batch_size=64, epochs=3, val_fraction=0.0), SHORT),
    "limited steps": (settings(steps=4), CORPUS),
    "one shard": (settings(shards=1), CORPUS),
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))


@cache
def plain(name: str) -> PlainRun:
    train, corpus = RUNS[name]
    return train_plainly(MODEL, train, corpus)


@pytest.mark.parametrize("spheres", SPHERES)
@pytest.mark.parametrize("name", RUNS)
async def test_any_number_of_spheres_gives_the_bits_of_the_plain_loop(name: str, spheres: int) -> None:
    train, corpus = RUNS[name]
    report = await report_of(replace(train, spheres=spheres), corpus=corpus)
    assert report.weights_sha256 == plain(name).hashes[-1]
    assert report.steps == len(plain(name).hashes) - 1
    assert report.tokens == sum(plain(name).tokens)


@pytest.mark.parametrize("spheres", [1, 4, 13])
async def test_so_it_is_when_the_update_is_shared_out(spheres: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is small, so the slices are made small too; then every sphere has some."""
    for module in (clip_module, work_module):
        monkeypatch.setattr(module, "SLICE", 300)
    report = await report_of(settings(spheres=spheres))
    assert report.weights_sha256 == train_plainly(MODEL, settings(), CORPUS).hashes[-1]


async def test_a_model_with_every_feature_is_trained_alike() -> None:
    model = replace(MODEL, layers=2, heads=4, kv_heads=2, tied=False)
    expected = train_plainly(model, settings(), CORPUS).hashes[-1]
    for spheres in (2, 13):
        report = await report_of(settings(spheres=spheres), model=model)
        assert report.weights_sha256 == expected


@pytest.mark.parametrize("spheres", [2, 13])
async def test_there_is_an_optimizer_step_for_every_batch(spheres: int) -> None:
    """Never again: gradients cleared per batch, one optimizer step an epoch: only the last batch counted."""
    async with trainer_of(settings(spheres=spheres)) as trainer:
        hashes = [trainer.weights_sha256()]
        events = await events_of(trainer)
        assert trainer.weights_sha256() == plain("usual").hashes[-1]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert hashes == plain("usual").hashes[:1]
    assert [event.step for event in steps] == list(range(1, len(plain("usual").losses) + 1))
    assert [event.loss for event in steps] == pytest.approx(plain("usual").losses, rel=1e-12)
    assert [event.grad_norm for event in steps] == plain("usual").norms
    assert len(set(plain("usual").hashes)) == len(steps) + 1, "every step changes the weights"


@pytest.mark.parametrize("name", RUNS)
async def test_losses_are_means_over_the_tokens_of_the_epoch(name: str) -> None:
    """Never again: the loss on the screen was not the loss being optimised, and the last batch's only."""
    train, corpus = RUNS[name]
    async with trainer_of(replace(train, spheres=3), corpus=corpus) as trainer:
        events = await events_of(trainer)
    epochs = [event for event in events if isinstance(event, EpochDone)]
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(plain(name).train_losses, rel=1e-12)
    if train.val_fraction:
        assert [epoch.val_loss for epoch in epochs] == pytest.approx(plain(name).val_losses, rel=1e-6)
    else:
        assert [epoch.val_loss for epoch in epochs] == [None] * len(epochs)


def test_the_skewed_text_is_skewed() -> None:
    """Never again: all batches of a run went to symmetry group 0, while the root waited for every child."""
    prepared = prepare_tokens(SKEWED, MODEL.vocab_size, None)
    windows = Windows(prepared.tokens, MODEL.seq_len, 0.0)
    inputs, _ = windows.batch(windows.train)
    groups = np.bincount(dominant_group(inputs), minlength=12)
    assert groups.max() >= 0.9 * groups.sum()


def test_the_short_text_is_short() -> None:
    train, corpus = RUNS["text shorter than a batch"]
    prepared = prepare_tokens(corpus, MODEL.vocab_size, None)
    assert 1 < Windows(prepared.tokens, MODEL.seq_len, 0.0).count < train.batch_size


@pytest.mark.parametrize("spheres", [1, 13])
async def test_learning_rate_zero_leaves_the_weights_as_they_were(spheres: int) -> None:
    report = await report_of(settings(lr=0.0, spheres=spheres))
    vocab_size = prepare_tokens(CORPUS, MODEL.vocab_size, None).tokenizer.get_vocab_size()
    assert report.weights_sha256 == weights_sha256(initialise(replace(MODEL, vocab_size=vocab_size), 0))
    assert report.steps == len(plain("usual").losses)


async def test_a_learning_rate_above_zero_changes_them_and_the_loss_falls() -> None:
    async with trainer_of(settings(epochs=3)) as trainer:
        before = trainer.weights_sha256()
        events = await events_of(trainer)
        assert trainer.weights_sha256() != before
    losses = [event.train_loss or math.inf for event in events if isinstance(event, EpochDone)]
    assert losses[0] > losses[1] > losses[2]


DECIDES = {
    "shards": 5,
    "epochs": 3,
    "steps": 3,
    "batch_size": 8,
    "lr": 2e-2,
    "warmup": 0,
    "weight_decay": 0.0,
    "clip": 0.01,
    "val_fraction": 0.4,
    "seed": 1,
}
DECIDES_NOTHING: dict[str, Any] = {
    "spheres": 5,
    "recompute": True,
    "save_every": 1,
    "save_every_s": 1e-3,
    "keep": 1,
    "on_loss": "redistribute",
    "on_nonfinite": "skip",
    "epoch_timeout_s": 120.0,
    "job_timeout_s": 77.0,
}


def changed(setting: dict[str, Any]) -> TrainConfig:
    return settings(**setting)


@pytest.mark.parametrize("name", DECIDES)
async def test_a_setting_that_should_decide_the_result_does(name: str) -> None:
    """Never again: weight decay, dropout, clip, warm-up in the settings were ignored."""
    report = await report_of(changed({name: DECIDES[name]}))
    assert report.weights_sha256 != plain("usual").hashes[-1]


@pytest.mark.parametrize("name", DECIDES_NOTHING)
async def test_a_setting_that_should_not_decide_it_does_not(name: str, tmp_path: Path) -> None:
    report = await report_of(changed({name: DECIDES_NOTHING[name]}), out=tmp_path / "out")
    assert report.weights_sha256 == plain("usual").hashes[-1]


def test_every_setting_is_in_one_of_the_two_lists() -> None:
    assert DECIDES.keys() | DECIDES_NOTHING.keys() == set(settings().__dataclass_fields__)
    assert not DECIDES.keys() & DECIDES_NOTHING.keys()


async def test_other_text_gives_another_model() -> None:
    other = Corpus.from_text(CORPUS.documents[0].replace("fox", "box"))
    report = await report_of(settings(), corpus=other)
    assert report.weights_sha256 != plain("usual").hashes[-1]


async def test_the_most_shards_that_are_allowed_fit_into_a_message() -> None:
    report = await report_of(settings(shards=1024, spheres=3, steps=1))
    expected = train_plainly(MODEL, settings(shards=1024, steps=1), CORPUS)
    assert report.weights_sha256 == expected.hashes[-1]
