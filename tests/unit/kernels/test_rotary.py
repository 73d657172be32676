from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels import blocks
from crystalline.kernels.rotary import rotary, rotary_backward, rotary_scratch_size, rotary_tables
from tests.helpers.kernel_check import Array, assert_like_torch, check_gradients, fixture, garbage


def apply(kernel: object, x: Array) -> Array:
    """Run an in-place kernel on a copy. x (heads, d, B, T)."""
    assert callable(kernel)
    heads, d, B, T = x.shape
    cos, sin = (np.tile(table.astype(x.dtype), B) for table in rotary_tables(T, d, 10_000.0))
    turned = x.reshape(heads, d, B * T).copy()
    scratch = garbage(rotary_scratch_size(heads, d, B * T, x.itemsize), dtype=x.dtype)
    kernel(turned, cos, sin, scratch=scratch)
    return turned.reshape(x.shape)


def forward(x: Array) -> Array:
    return apply(rotary, x)


def backward(d_out: Array, _: Array) -> tuple[Array]:
    return (apply(rotary_backward, d_out),)


def test_gradients_match_finite_differences() -> None:
    rng = np.random.default_rng(0)
    check_gradients(forward, backward, [rng.standard_normal((3, 6, 2, 5))], rng)


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "rotary.")
    ours = {name: np.ascontiguousarray(array.transpose(1, 3, 0, 2)) for name, array in torch.items()}
    assert_like_torch(forward(ours["x"]), ours["out"])
    assert_like_torch(backward(ours["d_out"], ours["x"])[0], ours["d_x"])


@pytest.mark.parametrize(("cache_bytes", "heads_at_once"), [(1, 1), (4096, 3)])
def test_heads_that_do_not_fit_one_block_are_turned_alike(
    cache_bytes: int, heads_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(4).standard_normal((10, 8, 2, 5))
    turned, turned_back = forward(x), backward(x, x)[0]
    monkeypatch.setattr(blocks, "_CACHE_BYTES", cache_bytes)
    assert blocks.block_rows(10, 80, x.itemsize, operands=2) == heads_at_once
    assert np.array_equal(forward(x), turned)
    assert np.array_equal(backward(x, x)[0], turned_back)


def test_the_first_position_is_not_turned() -> None:
    x = np.random.default_rng(1).standard_normal((2, 4, 3, 1))
    assert np.array_equal(forward(x), x)


def test_turning_back_undoes_turning() -> None:
    x = np.random.default_rng(2).standard_normal((2, 8, 2, 9))
    np.testing.assert_allclose(backward(forward(x), x)[0], x, rtol=1e-12, atol=1e-12)


def test_a_score_depends_on_the_distance_of_positions_only() -> None:
    rng = np.random.default_rng(3)
    q, k = (np.repeat(rng.standard_normal((1, 8, 1, 1)), 20, axis=3) for _ in range(2))
    q, k = forward(q)[0, :, 0], forward(k)[0, :, 0]  # (d, T)
    assert np.isclose(q[:, 12] @ k[:, 7], q[:, 19] @ k[:, 14])
    assert not np.isclose(q[:, 12] @ k[:, 7], q[:, 12] @ k[:, 8])
