from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalline.kernels import attention as attention_module
from crystalline.kernels.attention import (
    attention,
    attention_backward,
    attention_kept_size,
    attention_scratch_size,
)
from tests.helpers.kernel_check import Array, assert_like_torch, check_gradients, fixture, garbage


class Kept(NamedTuple):
    """What the forward pass leaves for the backward pass."""

    out: Array
    maxima: Array
    sums: Array
    kept: Array


def scratch_for(q: Array) -> Array:
    B, K, G, d, T = q.shape
    return garbage(attention_scratch_size(B, K, G, d, T, q.itemsize), dtype=q.dtype)


def run_forward(q: Array, k: Array, v: Array, *, keep: bool) -> Kept:
    B, K, G, _, T = q.shape
    found = Kept(
        out=garbage(*q.shape, dtype=q.dtype),
        maxima=garbage(B, K, G, T, dtype=q.dtype),
        sums=garbage(B, K, G, T, dtype=q.dtype),
        kept=garbage(attention_kept_size(B, K, G, T, q.itemsize) if keep else 0, dtype=q.dtype),
    )
    attention(q, k, v, **found._asdict(), scratch=scratch_for(q))
    return found


def forward(q: Array, k: Array, v: Array) -> Array:
    return run_forward(q, k, v, keep=True).out


def backward_of(d_out: Array, q: Array, k: Array, v: Array, *, keep: bool) -> tuple[Array, Array, Array]:
    found = run_forward(q, k, v, keep=keep)
    d_q, d_k, d_v = (garbage(*x.shape, dtype=x.dtype) for x in (q, k, v))
    attention_backward(d_out, q, k, v, **found._asdict(), d_q=d_q, d_k=d_k, d_v=d_v, scratch=scratch_for(q))
    return d_q, d_k, d_v


def backward(d_out: Array, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    return backward_of(d_out, q, k, v, keep=True)


def random_heads(rng: np.random.Generator, *, B: int, K: int, G: int, d: int, T: int) -> list[Array]:
    return [rng.standard_normal((B, K, G, d, T)), *(rng.standard_normal((B, K, d, T)) for _ in range(2))]


def oracle(q: Array, k: Array, v: Array) -> Array:
    """One query at a time."""
    out = np.empty_like(q)
    for b, head, g, t in np.ndindex(*q.shape[:3], q.shape[-1]):
        scores = q[b, head, g, :, t] @ k[b, head, :, : t + 1] / np.sqrt(q.shape[3])
        weights = np.exp(scores - scores.max())
        out[b, head, g, :, t] = v[b, head, :, : t + 1] @ (weights / weights.sum())
    return out


# 64 is a whole block of queries, 65 one more, 130 two blocks and a rest.
@pytest.mark.parametrize(("G", "T"), [(1, 1), (2, 5), (3, 64), (1, 65), (2, 130)])
def test_gradients_match_finite_differences(G: int, T: int) -> None:
    rng = np.random.default_rng(T)
    check_gradients(forward, backward, random_heads(rng, B=2, K=2, G=G, d=4, T=T), rng)


@settings(max_examples=25, deadline=None)
@given(
    B=st.integers(1, 2),
    K=st.integers(1, 3),
    G=st.integers(1, 3),
    half=st.integers(1, 3),
    T=st.integers(1, 70),
)
def test_equals_one_query_at_a_time(B: int, K: int, G: int, half: int, T: int) -> None:
    q, k, v = random_heads(np.random.default_rng(T), B=B, K=K, G=G, d=2 * half, T=T)
    np.testing.assert_allclose(forward(q, k, v), oracle(q, k, v), rtol=1e-10, atol=1e-10)


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "attention.")

    def ours(name: str) -> Array:
        """(B, heads, T, d) -> (B, K, d, T), for queries (B, K, G, d, T)."""
        array = torch[name].swapaxes(2, 3)
        B, K = torch["k"].shape[:2]
        return array if array.shape[1] == K else array.reshape(B, K, -1, *array.shape[2:])

    assert_like_torch(forward(ours("q"), ours("k"), ours("v")), ours("out"))
    d_q, d_k, d_v = backward(ours("d_out"), ours("q"), ours("k"), ours("v"))
    assert_like_torch(d_q, ours("d_q"))
    assert_like_torch(d_k, ours("d_k"))
    assert_like_torch(d_v, ours("d_v"))


def test_the_future_has_no_influence() -> None:
    rng = np.random.default_rng(0)
    q, k, v = random_heads(rng, B=1, K=2, G=2, d=4, T=70)
    before = forward(q, k, v)
    for x in (q, k, v):
        x[..., 66:] = rng.standard_normal(x[..., 66:].shape)
    after = forward(q, k, v)
    assert np.array_equal(before[..., :66], after[..., :66])
    assert not np.allclose(before[..., 66:], after[..., 66:])


@pytest.mark.parametrize(("G", "T"), [(1, 1), (2, 64), (3, 65), (1, 200)])
def test_probabilities_that_are_computed_again_give_the_same_bits(G: int, T: int) -> None:
    rng = np.random.default_rng(T)
    q, k, v = (x.astype(np.float32) for x in random_heads(rng, B=2, K=3, G=G, d=8, T=T))
    d_out = rng.standard_normal(q.shape, dtype=np.float32)
    for kept, again in zip(
        backward_of(d_out, q, k, v, keep=True), backward_of(d_out, q, k, v, keep=False), strict=True
    ):
        assert np.array_equal(kept, again)


def test_probabilities_of_long_sequences_are_not_kept() -> None:
    assert attention_kept_size(3, 8, 1, 128, 4) == 3 * 8 * (64 * 64 + 128 * 64)
    assert attention_kept_size(1, 8, 1, 2048, 4) == 0


def cut_into_tiles(monkeypatch: pytest.MonkeyPatch, q: Array, *, heads_at_once: int) -> int:
    """Let a tile hold so many heads, of blocks of 8 queries. Returns the number of tiles."""
    _, _, G, _, T = q.shape
    monkeypatch.setattr(attention_module, "_QUERY_BLOCK", 8)
    one_head = G * T * min(T, 8) * q.itemsize
    monkeypatch.setattr(attention_module, "_TILE_BYTES", heads_at_once * one_head)
    return len(list(attention_module._tiles(q.shape, q.itemsize)))


# Of 5 sequences of 8 key heads: all at once; two sequences, two and one; 3 heads, 3 and 2; each by itself.
TILES = pytest.mark.parametrize(("heads_at_once", "runs"), [(40, 1), (16, 3), (3, 15), (1, 40)])


@TILES
@pytest.mark.parametrize("T", [5, 16, 19])
@pytest.mark.parametrize("keep", [True, False])
def test_heads_in_several_tiles_are_computed_alike(
    heads_at_once: int, runs: int, T: int, monkeypatch: pytest.MonkeyPatch, *, keep: bool
) -> None:
    rng = np.random.default_rng(T)
    q, k, v = random_heads(rng, B=5, K=8, G=2, d=4, T=T)
    d_out = rng.standard_normal(q.shape)
    blocks = -(-T // 8)
    assert cut_into_tiles(monkeypatch, q, heads_at_once=40) == blocks
    expected = backward_of(d_out, q, k, v, keep=False)
    assert cut_into_tiles(monkeypatch, q, heads_at_once=heads_at_once) == runs * blocks
    found = run_forward(q, k, v, keep=keep)
    assert bool(len(found.kept)) == keep
    np.testing.assert_allclose(found.out, oracle(q, k, v), rtol=1e-10, atol=1e-10)
    for ours, whole in zip(backward_of(d_out, q, k, v, keep=keep), expected, strict=True):
        assert np.array_equal(ours, whole)


@TILES
def test_gradients_over_several_tiles_match_finite_differences(
    heads_at_once: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(runs)
    heads = random_heads(rng, B=5, K=8, G=2, d=4, T=19)
    assert cut_into_tiles(monkeypatch, heads[0], heads_at_once=heads_at_once) == 3 * runs
    check_gradients(forward, backward, heads, rng)


def test_large_scores_do_not_overflow() -> None:
    q, k, v = (x.astype(np.float32) for x in random_heads(np.random.default_rng(1), B=1, K=1, G=1, d=4, T=6))
    assert np.isfinite(forward(q * 1e4, k * 1e4, v)).all()
