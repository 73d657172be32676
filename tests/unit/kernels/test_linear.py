from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels.linear import linear, linear_backward
from tests.helpers.kernel_check import Array, assert_like_torch, check_gradients, fixture, garbage


def forward(x: Array, weight: Array) -> Array:
    out = garbage(len(x), len(weight), dtype=x.dtype)
    linear(x, weight, out=out)
    return out


def backward(d_out: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    d_x, d_weight = garbage(*x.shape, dtype=x.dtype), garbage(*weight.shape, dtype=x.dtype)
    linear_backward(d_out, x, weight, d_x=d_x, d_weight=d_weight)
    return d_x, d_weight


def test_gradients_match_finite_differences() -> None:
    rng = np.random.default_rng(0)
    check_gradients(forward, backward, [rng.standard_normal((5, 3)), rng.standard_normal((4, 3))], rng)


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "linear.")
    assert_like_torch(forward(torch["x"], torch["weight"]), torch["out"])
    d_x, d_weight = backward(torch["d_out"], torch["x"], torch["weight"])
    assert_like_torch(d_x, torch["d_x"])
    assert_like_torch(d_weight, torch["d_weight"])


@pytest.mark.parametrize("feature_major_x", [False, True])
@pytest.mark.parametrize("feature_major_out", [False, True])
def test_memory_order_is_the_callers_choice(*, feature_major_x: bool, feature_major_out: bool) -> None:
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((6, 4)), rng.standard_normal((5, 4))
    given = np.asfortranarray(x) if feature_major_x else x
    out = garbage(5, 6).T if feature_major_out else garbage(6, 5)
    linear(given, weight, out=out)
    np.testing.assert_allclose(out, x @ weight.T, rtol=1e-14)
