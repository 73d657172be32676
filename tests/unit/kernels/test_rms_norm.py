from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels.rms_norm import rms_norm, rms_norm_backward, rms_norm_scratch_shape
from tests.helpers.kernel_check import (
    Array,
    assert_like_torch,
    check_gradients,
    fixture,
    garbage,
    in_small_blocks,
)

EPS = 1e-5


def forward_with_inverse(x: Array, gain: Array) -> tuple[Array, Array]:
    out, inv_rms = garbage(*x.shape, dtype=x.dtype), garbage(len(x), dtype=x.dtype)
    rms_norm(x, gain, eps=EPS, out=out, inv_rms=inv_rms)
    return out, inv_rms


def forward(x: Array, gain: Array) -> Array:
    return forward_with_inverse(x, gain)[0]


def backward(d_out: Array, x: Array, gain: Array, *, residual: float = 0.0) -> tuple[Array, Array]:
    _, inv_rms = forward_with_inverse(x, gain)
    d_x, d_gain = np.full_like(x, residual), garbage(*gain.shape, dtype=x.dtype)
    scratch = garbage(*rms_norm_scratch_shape(len(x), len(gain), x.itemsize), dtype=x.dtype)
    rms_norm_backward(d_out, x, gain, inv_rms, d_x=d_x, d_gain=d_gain, scratch=scratch)
    return d_x, d_gain


@pytest.mark.parametrize("rows", [1, 5])
def test_gradients_match_finite_differences(rows: int) -> None:
    rng = np.random.default_rng(rows)
    check_gradients(forward, backward, [rng.standard_normal((rows, 64)), rng.standard_normal(64)], rng)


def test_gradients_over_several_blocks_match_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(71)
    x = rng.standard_normal((71, 64))
    in_small_blocks(monkeypatch, x)
    check_gradients(forward, backward, [x, rng.standard_normal(64)], rng)


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "rms_norm.")
    assert_like_torch(forward(torch["x"], torch["gain"]), torch["out"])
    d_x, d_gain = backward(torch["d_out"], torch["x"], torch["gain"])
    assert_like_torch(d_x, torch["d_x"])
    assert_like_torch(d_gain, torch["d_gain"])


def test_the_gradient_of_x_is_added_to_the_residual_streams() -> None:
    rng = np.random.default_rng(2)
    d_out, x, gain = rng.standard_normal((3, 4)), rng.standard_normal((3, 4)), rng.standard_normal(4)
    alone, _ = backward(d_out, x, gain)
    added, _ = backward(d_out, x, gain, residual=10.0)
    np.testing.assert_allclose(added - 10.0, alone, rtol=1e-12, atol=1e-12)


def test_rows_of_zeros_stay_zero() -> None:
    assert not forward(np.zeros((2, 4)), np.ones(4)).any()
