"""Training learns, keeps what it learned, and does nothing at learning rate 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.model import (
    Parameters,
    Workspace,
    initialise,
    load_model,
    load_tokenizer_json,
    logits,
    save_model,
    weights_sha256,
)
from tests.helpers.command import TINY, run
from tests.helpers.texts import words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


def test_two_kilobytes_are_learned_by_heart(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text(words(2000))
    sizes = ("--dim", "64", "--layers", "2", "--heads", "2", "--vocab-size", "300", "--seq-len", "32")
    goal = ("--epochs", "100", "--batch-size", "8", "--lr", "0.005", "--val-fraction", "0")
    options = ("--weight-decay", "0", "--out", tmp_path / "out", "--json", "--quiet")
    report = run("train", tmp_path / "data.txt", *sizes, *goal, *options).json()
    assert report["train_loss"] < 0.05


def test_learning_rate_0_leaves_the_weights_as_initialised(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run("train", text, *TINY, "--lr", "0", "--seed", "3", "--out", out, "--json").json()
    config, flat = load_model(out)
    assert np.array_equal(flat, initialise(config, seed=3))
    assert report["weights_sha256"] == weights_sha256(flat)


def test_a_learning_rate_changes_the_weights_and_the_loss_falls(text: Path, tmp_path: Path) -> None:
    losses = []
    for epochs in ("1", "4"):
        options = ("--lr", "0.01", "--epochs", epochs, "--out", tmp_path / epochs, "--json")
        losses.append(run("train", text, *TINY, *options).json()["val_loss"])
    config, flat = load_model(tmp_path / "4")
    assert not np.array_equal(flat, initialise(config, seed=0))
    assert losses[1] < losses[0]


def test_what_was_saved_gives_the_same_logits_after_loading(trained: Path, tmp_path: Path) -> None:
    config, flat = load_model(trained)
    save_model(tmp_path, config, flat, load_tokenizer_json(trained))
    again_config, again = load_model(tmp_path)
    tokens = np.arange(10, dtype=np.int32)[None]
    before, after = (
        logits(Parameters(config, weights), tokens, Workspace(config, 1, 10, training=False)).copy()
        for weights in (flat, again)
    )
    assert config == again_config
    assert np.array_equal(before, after)
