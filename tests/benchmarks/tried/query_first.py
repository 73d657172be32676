"""Attention with queries before keys, one sequence at a time, and T x T probabilities."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystalline.kernels.arrays import Floats

__all__ = ["attention_by_query", "attention_by_query_backward"]

_QUERY_BLOCK = 64


def attention_by_query(q: Floats, k: Floats, v: Floats, *, out: Floats, probabilities: Floats) -> None:
    """As `attention` for groups of one query.

    Args:
        q: (B, H, d, T).
        k: (B, H, d, T).
        v: (B, H, d, T).
        out: (B, H, d, T).
        probabilities: (B, H, T, T), query before key, kept.
    """
    B, _, d, T = q.shape
    for b in range(B):
        for rows in _blocks(T):
            past = slice(0, rows.stop)
            p = probabilities[b, :, rows, past]
            np.matmul(q[b][..., rows].swapaxes(-1, -2), k[b][..., past], out=p)
            p *= 1.0 / math.sqrt(d)
            p[..., rows] += _future(rows.stop - rows.start, p.dtype)
            p -= np.maximum.reduce(p, axis=-1, keepdims=True)
            np.exp(p, out=p)
            p /= np.add.reduce(p, axis=-1, keepdims=True)
            np.matmul(v[b][..., past], p.swapaxes(-1, -2), out=out[b][..., rows])


def attention_by_query_backward(
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
    """As `attention_backward` for groups of one query; `d_scores` is (H, T, T) of scratch."""
    B, _, d, T = q.shape
    for b in range(B):
        np.multiply(d_out[b], out[b], out=d_q[b])
        delta = np.add.reduce(d_q[b], axis=-2)[..., None]
        for rows in _blocks(T):
            past = slice(0, rows.stop)
            ds = d_scores[:, rows, past]
            np.matmul(d_out[b][..., rows].swapaxes(-1, -2), v[b][..., past], out=ds)
            ds -= delta[:, rows]
            ds *= probabilities[b, :, rows, past]
            ds *= 1.0 / math.sqrt(d)
            np.matmul(k[b][..., past], ds.swapaxes(-1, -2), out=d_q[b][..., rows])
        for keys in _blocks(T):
            later = slice(keys.start, T)
            np.matmul(q[b][..., later], d_scores[:, later, keys], out=d_k[b][..., keys])
            np.matmul(d_out[b][..., later], probabilities[b, :, later, keys], out=d_v[b][..., keys])


@cache
def _future(queries: int, dtype: np.dtype[np.floating[Any]]) -> Floats:
    """(queries, keys) of a square on the diagonal: minus infinity where the key is later, else 0."""
    mask = np.triu(np.full((queries, queries), -np.inf, dtype), k=1)
    mask.flags.writeable = False  # shared by every caller
    return mask


def _blocks(T: int) -> Iterator[slice]:
    return (slice(start, min(start + _QUERY_BLOCK, T)) for start in range(0, T, _QUERY_BLOCK))
