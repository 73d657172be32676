"""Training from the textbook computes what ours computes: only then is its time worth comparing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.model import Parameters, Workspace, initialise, layout_of, loss_and_gradient
from crystalline.optim import AdamW as Ours
from crystalline.optim import AdamWBuffers, adamw_update, clip_scale, global_norm, sum_of_squares
from tests.benchmarks.large import plain_numpy
from tests.helpers.models import GROUPED, TIED, random_batch, random_parameters

if TYPE_CHECKING:
    from crystalline.model import ModelConfig


@pytest.mark.parametrize("config", [TIED, GROUPED], ids=["tied", "grouped"])
def test_loss_and_gradient_are_those_of_ours(config: ModelConfig) -> None:
    weights = random_parameters(config, 1)
    tokens, targets = random_batch(config, 2, 3, config.seq_len)
    targets[1, -4:] = -1  # padding
    gradient = Parameters(config, np.empty(layout_of(config).size))
    workspace = Workspace(config, 3, dtype=np.float64)
    total = loss_and_gradient(weights, gradient, tokens, targets, workspace, loss_scale=0.125)
    found, plain = plain_numpy.loss_and_gradient(config, weights.views, tokens, targets, loss_scale=0.125)
    assert found == pytest.approx(total, rel=1e-12)
    assert plain.keys() == gradient.views.keys()
    for name, view in gradient.views.items():
        np.testing.assert_allclose(plain[name], view, rtol=1e-9, atol=1e-12, err_msg=name)


def test_it_computes_in_the_precision_of_its_weights() -> None:
    weights = random_parameters(TIED, 1, np.float32)
    batch = random_batch(TIED, 2, 3, TIED.seq_len)
    _, gradient = plain_numpy.loss_and_gradient(TIED, weights.views, *batch, loss_scale=0.125)
    optimizer = plain_numpy.AdamW(dict(weights.views), lr=0.01, weight_decay=0.1, clip=1.0)
    optimizer.step(gradient)
    assert {tensor.dtype for tensor in gradient.values()} == {np.dtype(np.float32)}
    assert {tensor.dtype for tensor in optimizer.weights.values()} == {np.dtype(np.float32)}


def test_steps_end_with_the_weights_of_ours() -> None:
    flat, rng = initialise(TIED, 4), np.random.default_rng(5)
    optimizer = plain_numpy.AdamW(
        dict(Parameters(TIED, flat.copy()).views), lr=0.01, weight_decay=0.1, clip=1.0
    )
    old = AdamWBuffers(flat, np.zeros_like(flat), np.zeros_like(flat))
    for step in (1, 2, 3):
        gradient = rng.standard_normal(flat.size).astype(np.float32) * np.float32(0.01 * step)
        optimizer.step(Parameters(TIED, gradient).views)
        new = AdamWBuffers(*map(np.empty_like, old))
        scale = clip_scale(global_norm([sum_of_squares(gradient)]), 1.0)
        assert (scale == 1.0) == (step == 1), "one is not clipped, the others are"
        adamw_update(
            new,
            old,
            gradient,
            step=step,
            hyper=Ours(learning_rate=0.01, weight_decay=0.1),
            gradient_scale=scale,
            decay_end=layout_of(TIED).decay_end,
        )
        old = new
    for name, view in Parameters(TIED, old.weights).views.items():
        np.testing.assert_allclose(optimizer.weights[name], view, rtol=0, atol=2e-6, err_msg=name)
