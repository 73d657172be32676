"""Causal grouped-query attention on feature-major arrays, in tiles of query rows.

A tile holds the scores of a block of queries of some heads against all keys up to the block's end, key before
query: so the sums over keys run along whole rows, and both products with the values take it as it lies.

Short sequences keep their probabilities for the backward pass. Long ones do not, since that would be T x T
entries for each head and layer: there they are computed once more, to the same bits.

Source: Vaswani et al. 2017, "Attention is all you need"; Ainslie et al. 2023, "GQA"; for what the backward
pass recomputes and for its delta, Dao et al. 2022, "FlashAttention", appendix B.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crystalline.kernels.sums import sum_of_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystalline.kernels.arrays import Floats

__all__ = ["attention", "attention_backward", "attention_kept_size", "attention_scratch_size"]

# A block of queries meets only the keys up to its own end, so with T = 2 blocks a quarter of the work is
# never done. Smaller blocks would save more arithmetic and lose more in small matrix products.
_QUERY_BLOCK = 64

# Of one tile. A few heads at once keep it near the core; more of them save calls.
_TILE_BYTES = 1024 * 1024

# Of the probabilities of one layer, where they are kept. More would be out of the cache before they are read.
_KEPT_BYTES = 2 * 1024 * 1024


class _Tile(NamedTuple):
    batch: slice  # of the B sequences
    heads: slice  # of the K key heads
    queries: slice  # of the T positions
    past: slice  # the keys that one of these queries sees
    kept: slice  # of the kept probabilities, flat


def attention(
    q: Floats,
    k: Floats,
    v: Floats,
    *,
    out: Floats,
    maxima: Floats,
    sums: Floats,
    kept: Floats,
    scratch: Floats,
) -> None:
    """Mix values: out = v softmax(q^T k / sqrt(d))^T; a query sees its own and earlier positions.

    Time is the last axis, features the one before it. The G queries of a group share one key head.

    Args:
        q: (B, K, G, d, T).
        k: (B, K, d, T).
        v: (B, K, d, T).
        out: (B, K, G, d, T).
        maxima: (B, K, G, T), each query's largest score, for the backward pass.
        sums: (B, K, G, T), its sum of exponentials, for the backward pass.
        kept: the probabilities for the backward pass: `attention_kept_size(...)` entries, or none.
        scratch: `attention_scratch_size(...)` entries.
    """
    for tile in _tiles(q.shape, q.itemsize):
        batch, heads, queries, past, _ = tile
        p, folded, _ = _carve(scratch, kept, tile, q.shape)
        most, total = maxima[batch, heads, :, queries], sums[batch, heads, :, queries]
        _scores(q, k, tile, out=p)
        most[:] = _max_over_keys(p, folded)
        p -= most[..., None, :]
        np.exp(p, out=p)
        total[:] = sum_of_columns(p)
        p /= total[..., None, :]
        np.matmul(v[batch, heads, None, :, past], p, out=out[batch, heads, ..., queries])


def attention_backward(
    d_out: Floats,
    q: Floats,
    k: Floats,
    v: Floats,
    *,
    out: Floats,
    maxima: Floats,
    sums: Floats,
    kept: Floats,
    d_q: Floats,
    d_k: Floats,
    d_v: Floats,
    scratch: Floats,
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
        maxima: (B, K, G, T), from the forward pass.
        sums: (B, K, G, T), from the forward pass.
        kept: from the forward pass; without entries, the probabilities are computed once more.
        d_q: (B, K, G, d, T), overwritten.
        d_k: (B, K, d, T), overwritten.
        d_v: (B, K, d, T), overwritten.
        scratch: `attention_scratch_size(...)` entries.
    """
    np.multiply(d_out, out, out=d_q)  # d_q is scratch until its rows are written below
    delta = np.add.reduce(d_q, axis=-2, keepdims=True)  # (B, K, G, 1, T)
    for tile in _tiles(q.shape, q.itemsize):
        batch, heads, queries, past, _ = tile
        p, d_p, product = _carve(scratch, kept, tile, q.shape)
        first = past.stop == q.shape[-1]  # of the tiles of these heads: it writes what the others add to
        d_mixed = d_out[batch, heads, ..., queries]
        if not len(kept):
            _scores(q, k, tile, out=p)
            p -= maxima[batch, heads, :, None, queries]
            np.exp(p, out=p)
            p /= sums[batch, heads, :, None, queries]
        np.matmul(v[batch, heads, None, :, past].swapaxes(-1, -2), d_mixed, out=d_p)
        _add_products(d_mixed, p, product, first=first, out=d_v[batch, heads, :, past])
        d_p -= delta[batch, heads, ..., queries]
        d_p *= p
        d_p *= 1.0 / math.sqrt(q.shape[3])
        np.matmul(k[batch, heads, None, :, past], d_p, out=d_q[batch, heads, ..., queries])
        _add_products(
            q[batch, heads, ..., queries], d_p, product, first=first, out=d_k[batch, heads, :, past]
        )


def attention_scratch_size(B: int, K: int, G: int, d: int, T: int, itemsize: int) -> int:
    """Entries of the scratch that either direction needs; never less for a larger B or T.

    Args:
        B: sequences.
        K: key heads.
        G: queries that share one of them.
        d: width of a head.
        T: positions.
        itemsize: bytes of one entry.
    """
    one_head = _entries_of_head(G, T)
    return 2 * min(B * K * one_head, max(one_head, _TILE_BYTES // itemsize)) + B * K * d * T


def attention_kept_size(B: int, K: int, G: int, T: int, itemsize: int) -> int:
    """Entries of the probabilities of so many sequences; 0 where that is more than is worth keeping."""
    entries = B * K * G * sum(run.stop * (run.stop - run.start) for run in _runs(T, _QUERY_BLOCK))
    return entries if entries * itemsize <= _KEPT_BYTES else 0


def _entries_of_head(G: int, T: int) -> int:
    return G * T * min(T, _QUERY_BLOCK)


def _tiles(shape: tuple[int, ...], itemsize: int) -> Iterator[_Tile]:
    """All tiles, for each run of heads the last queries first: whole sequences at once, where they fit."""
    B, K, G, _, T = shape
    begin = 0
    heads_at_once = max(1, _TILE_BYTES // (_entries_of_head(G, T) * itemsize))
    for batch in _runs(B, max(1, heads_at_once // K)):
        for heads in _runs(K, heads_at_once):
            for queries in reversed(_runs(T, _QUERY_BLOCK)):
                past = slice(0, queries.stop)
                end = begin + G * math.prod(run.stop - run.start for run in (batch, heads, queries, past))
                yield _Tile(batch, heads, queries, past, slice(begin, end))
                begin = end


def _runs(n: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _carve(
    scratch: Floats, kept: Floats, tile: _Tile, shape: tuple[int, ...]
) -> tuple[Floats, Floats, Floats]:
    """Two of (batch, heads, G, past, queries), one of (batch, heads, d, past), contiguous; `shape` is q's.

    The first is among the kept ones, where these are.
    """
    batch, heads, queries, past = (run.stop - run.start for run in tile[:4])
    scores, product = (batch, heads, shape[2], past, queries), (batch, heads, shape[3], past)
    first = math.prod(scores)
    return (
        (kept[tile.kept] if len(kept) else scratch[:first]).reshape(scores),
        scratch[first : 2 * first].reshape(scores),
        scratch[2 * first : 2 * first + math.prod(product)].reshape(product),
    )


def _scores(q: Floats, k: Floats, tile: _Tile, *, out: Floats) -> None:
    """k^T q / sqrt(d), minus infinity where the key is later than the query."""
    batch, heads, queries, past, _ = tile
    np.matmul(k[batch, heads, None, :, past].swapaxes(-1, -2), q[batch, heads, ..., queries], out=out)
    out *= 1.0 / math.sqrt(q.shape[3])
    out[..., queries, :] += _future(out.shape[-1], out.dtype)


@cache
def _future(queries: int, dtype: np.dtype[np.floating[Any]]) -> Floats:
    """(keys, queries) of a square on the diagonal: minus infinity where the key is later, else 0."""
    mask = np.tril(np.full((queries, queries), -np.inf, dtype=dtype), k=-1)
    mask.flags.writeable = False  # shared by every caller; there are no more than _QUERY_BLOCK sizes
    return mask


def _max_over_keys(scores: Floats, folded: Floats) -> Floats:
    """Maximum over the last axis but one. Each query sees a key: itself.

    Halves are laid over each other while that goes: long runs of memory instead of many short reductions.
    """
    keys = scores.shape[-2]
    while keys % 2 == 0:
        keys //= 2
        np.maximum(scores[..., :keys, :], scores[..., keys : 2 * keys, :], out=folded[..., :keys, :])
        scores = folded
    most: Floats = np.maximum.reduce(scores[..., :keys, :], axis=-2)
    return most


def _add_products(x: Floats, weights: Floats, product: Floats, *, first: bool, out: Floats) -> None:
    """Sum x[:, g] weights[:, g]^T over g.

    Args:
        x: (B, K, G, d, queries).
        weights: (B, K, G, past, queries).
        product: (B, K, d, past), scratch.
        first: write the sum instead of adding it.
        out: (B, K, d, past).
    """
    for g in range(x.shape[2]):
        turned = weights[:, :, g].swapaxes(-1, -2)
        if first and g == 0:
            np.matmul(x[:, :, g], turned, out=out)
        else:
            out += np.matmul(x[:, :, g], turned, out=product)
