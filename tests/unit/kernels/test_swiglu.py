from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.swiglu import swiglu, swiglu_backward
from tests.helpers.kernel_check import (
    Array,
    assert_like_torch,
    check_gradients,
    fixture,
    garbage,
    in_small_blocks,
)

if TYPE_CHECKING:
    import pytest


def forward_with_cache(gate: Array, up: Array) -> tuple[Array, Array, Array]:
    silu = gate.copy()
    out, sigmoid = garbage(*gate.shape, dtype=gate.dtype), garbage(*gate.shape, dtype=gate.dtype)
    swiglu(silu, up, out=out, sigmoid=sigmoid)
    return out, silu, sigmoid


def forward(gate: Array, up: Array) -> Array:
    return forward_with_cache(gate, up)[0]


def backward(d_out: Array, gate: Array, up: Array) -> tuple[Array, Array]:
    kept, silu, sigmoid = forward_with_cache(gate, up)
    d_gate, d_up, out = (garbage(*gate.shape, dtype=gate.dtype) for _ in range(3))
    swiglu_backward(d_out, silu, up, sigmoid, d_gate=d_gate, d_up=d_up, out=out)
    assert np.array_equal(out, kept), "the output computed once more has the same bits"
    return d_gate, d_up


def test_gradients_match_finite_differences() -> None:
    rng = np.random.default_rng(1)
    check_gradients(
        forward, backward, [3 * rng.standard_normal((1, 128)), rng.standard_normal((1, 128))], rng
    )


def test_gradients_over_several_blocks_match_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(71)
    gate, up = 3 * rng.standard_normal((71, 128)), rng.standard_normal((71, 128))
    in_small_blocks(monkeypatch, gate)
    check_gradients(forward, backward, [gate, up], rng)


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "swiglu.")
    assert_like_torch(forward(torch["gate"], torch["up"]), torch["out"])
    d_gate, d_up = backward(torch["d_out"], torch["gate"], torch["up"])
    assert_like_torch(d_gate, torch["d_gate"])
    assert_like_torch(d_up, torch["d_up"])


def test_float32_is_as_near_as_the_docstring_says() -> None:
    gate = np.linspace(-30, 30, 60_001, dtype=np.float32)[None]
    exact = gate.astype(np.float64)
    sigma = 1 / (1 + np.exp(-exact))
    out, _, sigmoid = forward_with_cache(gate, np.ones_like(gate))
    d_gate, _ = backward(np.ones_like(gate), gate, np.ones_like(gate))
    assert np.abs(sigmoid - sigma).max() < 1e-7
    at_most = 2e-7 * np.maximum(1, np.abs(exact))
    assert (np.abs(out - exact * sigma) < at_most).all()
    assert (np.abs(d_gate - sigma * (1 + exact * (1 - sigma))) < at_most).all()
    assert (np.abs(sigmoid / sigma - 1)[exact > -10] < 1e-3).all()


def test_gates_far_from_zero_saturate_without_overflow() -> None:
    gate = np.array([[-1e30, -1e4, -100.0, 100.0, 1e4]], dtype=np.float32)
    out = forward(gate, np.ones_like(gate))
    np.testing.assert_allclose(out, [[0, 0, 0, 100, 1e4]], atol=1e-4)
    d_gate, _ = backward(np.ones_like(gate), gate, np.ones_like(gate))
    np.testing.assert_allclose(d_gate[0, 1:], [0, 0, 1, 1], atol=1e-4)
