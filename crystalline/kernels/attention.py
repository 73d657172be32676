"""Causal grouped-query attention on feature-major arrays, in blocks of query rows."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystalline.kernels.arrays import Floats

__all__ = ["attention", "attention_backward"]

# A block of queries meets only the keys up to its own end, so with T = 2 blocks a quarter of the work is
# never done. Smaller blocks would save more arithmetic and lose more in small matrix products.
_QUERY_BLOCK = 64


def attention(q: Floats, k: Floats, v: Floats, *, out: Floats, probabilities: Floats) -> None:
    """Mix values: out = v softmax(q^T k / sqrt(d))^T; a query sees its own and earlier positions.

    Time is the last axis, features the one before it. The G queries of a group share one key head.

    Args:
        q: (B, K, G, d, T).
        k: (B, K, d, T).
        v: (B, K, d, T).
        out: (B, K, G, d, T).
        probabilities: (B, K, G, T, T), query before key, kept for the backward pass. Blocks above the
            diagonal are neither written nor ever read.

    Source: Vaswani et al. 2017, "Attention is all you need"; Ainslie et al. 2023, "GQA".
    """
    B, _, _, d, T = q.shape
    for b in range(B):
        for rows in _time_blocks(T):
            past = slice(0, rows.stop)
            p = probabilities[b, :, :, rows, past]  # (K, G, rows, past)
            np.matmul(q[b][..., rows].swapaxes(-1, -2), k[b][:, None, :, past], out=p)
            p *= 1.0 / math.sqrt(d)
            p[..., rows] += _future(rows.stop - rows.start, p.dtype)
            _softmax(p)
            np.matmul(v[b][:, None, :, past], p.swapaxes(-1, -2), out=out[b][..., rows])


def attention_backward(
    d_out: Floats,
    q: Floats,
    k: Floats,
    v: Floats,
    *,
    out: Floats,
    probabilities: Floats,
    d_q: Floats,
    d_k: Floats,
    d_v: Floats,
    d_scores: Floats,
) -> None:
    """Gradients of `attention`.

    With P the probabilities: d_scores = P * (d_P - delta) / sqrt(d), where delta, the sum of P * d_P over
    the keys, equals the sum of out * d_out over the features and is cheaper to compute that way.

    Args:
        d_out: (B, K, G, d, T).
        q: (B, K, G, d, T), as given forward.
        k: (B, K, d, T), as given forward.
        v: (B, K, d, T), as given forward.
        out: (B, K, G, d, T), from the forward pass.
        probabilities: (B, K, G, T, T), from the forward pass.
        d_q: (B, K, G, d, T), overwritten.
        d_k: (B, K, d, T), overwritten.
        d_v: (B, K, d, T), overwritten.
        d_scores: (K, G, T, T), scratch.

    Source: the identity for delta is from Dao et al. 2022, "FlashAttention", appendix B.
    """
    B, _, _, d, T = q.shape
    for b in range(B):
        np.multiply(d_out[b], out[b], out=d_q[b])  # d_q is scratch until its rows are written below
        delta = np.add.reduce(d_q[b], axis=-2)[..., None]  # (K, G, T, 1)
        for rows in _time_blocks(T):
            past = slice(0, rows.stop)
            ds = d_scores[:, :, rows, past]
            np.matmul(d_out[b][..., rows].swapaxes(-1, -2), v[b][:, None, :, past], out=ds)
            ds -= delta[:, :, rows]
            ds *= probabilities[b, :, :, rows, past]
            ds *= 1.0 / math.sqrt(d)
            np.matmul(k[b][:, None, :, past], ds.swapaxes(-1, -2), out=d_q[b][..., rows])
        for keys in _time_blocks(T):
            later = slice(keys.start, T)
            _sum_over_group(q[b][..., later], d_scores[:, :, later, keys], out=d_k[b][..., keys])
            _sum_over_group(d_out[b][..., later], probabilities[b, :, :, later, keys], out=d_v[b][..., keys])


def _time_blocks(T: int) -> Iterator[slice]:
    return (slice(start, min(start + _QUERY_BLOCK, T)) for start in range(0, T, _QUERY_BLOCK))


@cache
def _future(rows: int, dtype: np.dtype[np.floating[Any]]) -> Floats:
    """(rows, rows), minus infinity where the key is later than the query, else 0."""
    mask = np.triu(np.full((rows, rows), -np.inf, dtype=dtype), k=1)
    mask.flags.writeable = False  # shared by every caller
    return mask


def _softmax(scores: Floats) -> None:
    """Softmax over the last axis, in place. Each row has a finite entry: a query sees itself."""
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= np.add.reduce(scores, axis=-1, keepdims=True)


def _sum_over_group(x: Floats, weights: Floats, *, out: Floats) -> None:
    """Sum x[:, g] weights[:, g] over g. x (K, G, d, Q), weights (K, G, Q, keys) -> out (K, d, keys)."""
    np.matmul(x[:, 0], weights[:, 0], out=out)
    for g in range(1, x.shape[1]):
        out += x[:, g] @ weights[:, g]
