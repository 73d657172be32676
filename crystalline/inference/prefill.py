"""A whole prompt through the model at once, its keys and values into the cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from threading import Barrier
from typing import TYPE_CHECKING, Final

import numpy as np

from crystalline.inference.plain import PlainLayers, project
from crystalline.kernels.linear import linear
from crystalline.kernels.rms_norm import rms_norm
from crystalline.kernels.swiglu import swiglu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference.cache import KeyValueCache
    from crystalline.inference.crew import Crew
    from crystalline.inference.decode_compiled import CompiledProducts
    from crystalline.inference.weights import Matrix, Weights
    from crystalline.kernels.arrays import Floats
    from crystalline.model import ModelConfig

__all__ = ["PREFILL_PIECE", "Prefill"]

PREFILL_PIECE: Final = 512
"""Tokens of a prompt that are read at once; a longer one is read in pieces of so many."""

_CHUNK_MAX: Final = 256
"""Tokens that one thread takes through a layer at a time: enough that reading the weights does not count."""

_CHUNK_STEP: Final = 16

_SPARE: Final = 4

_SCORES_MAX: Final = 1024 * 1024
"""Of attention at a time, for one key head: what stays near the core."""


class Prefill:
    """Computes the cache of one piece of a prompt, and the last token's logits.

    The piece is cut into chunks, which are shared out among the threads; the cut depends on the number of its
    tokens alone, so the number of threads changes no bit. In each layer all keys and values are written
    before any chunk attends to them.

    Args:
        weights: of the model.
        cache: to fill.
        cos: (context, d/2).
        sin: (context, d/2).
        crew: the threads.
        products: for chunks of a few tokens; None multiplies them by numpy, too.
    """

    def __init__(
        self,
        weights: Weights,
        cache: KeyValueCache,
        cos: Floats,
        sin: Floats,
        crew: Crew,
        products: CompiledProducts | None = None,
    ) -> None:
        self._weights, self._cache, self._crew = weights, cache, crew
        self._cos, self._sin = cos, sin
        self._products = products
        self._plain = PlainLayers(weights, crew.threads, products)

    def __call__(self, slot: int, ids: Sequence[int]) -> Floats:
        """Take in these tokens behind those that the slot holds.

        Args:
            slot: of the cache, with room for them.
            ids: 1 to `PREFILL_PIECE` token ids.

        Returns:
            Logits after the last one, (V,), in a new array.
        """
        weights, T, threads = self._weights, len(ids), self._crew.threads
        config, before = weights.config, self._cache.lengths[slot]
        chunks = _chunks(T)
        x = weights.embedding.rows(np.asarray(ids))  # (T, D), new: ids pick rows, they do not cut a view
        met = Barrier(threads)
        filled = any(not self._is_small(chunk.stop - chunk.start) for chunk in chunks)

        def part(rank: int) -> None:
            own = chunks[rank::threads]
            scratch = _Scratch.make(config, max((chunk.stop - chunk.start for chunk in own), default=0))
            try:
                for index in range(config.layers):
                    if filled and self._plain.fill(index, rank):
                        met.wait()
                    places = [slice(before + chunk.start, before + chunk.stop) for chunk in own]
                    queries = [
                        self._heads(index, slot, place, x[chunk], scratch)
                        for place, chunk in zip(places, own, strict=True)
                    ]
                    met.wait()
                    for place, chunk, q in zip(places, own, queries, strict=True):
                        self._rest(index, slot, place, q, x[chunk], scratch)
            except BaseException:
                met.abort()  # nobody must wait for this thread
                raise

        self._crew.run(part)
        last = np.empty((1, config.dim), np.float32)
        rms_norm(x[-1:], weights.gains[-1], eps=config.norm_eps, out=last, inv_rms=np.empty(1, np.float32))
        logits = np.empty((1, config.vocab_size), np.float32)
        project(last, weights.head, out=logits)
        self._cache.lengths[slot] = before + T
        after_last: Floats = logits[0]
        return after_last

    def _is_small(self, tokens: int) -> bool:
        return self._products is not None and tokens <= self._products.tokens_max

    def _product(self, x: Floats, n: int, matrix: Matrix, plain: Floats, *, out: Floats) -> None:
        """out[:n] = x[:n] matrix^T, of which `plain` is the same in float32."""
        if self._products is not None and self._is_small(n):
            self._products.product(x, n, matrix, out=out)
        else:
            linear(x[:n], plain, out=out[:n])

    def _heads(self, index: int, slot: int, place: slice, x: Floats, scratch: _Scratch) -> Floats:
        """Queries of the chunk at these positions, (H, t, d), new; its keys and values go into the cache."""
        config, t, layer = self._weights.config, len(x), self._weights.layers[index]
        H, K, d = config.heads, config.key_value_heads, config.head_dim
        self._norm(x, layer.attention_norm, scratch)
        self._product(scratch.normed, t, layer.qkv, self._plain[index].qkv, out=scratch.qkv)
        heads = scratch.qkv[:t].reshape(t, H + 2 * K, d).transpose(1, 0, 2)
        turned = _turned(heads[: H + K], self._cos[place], self._sin[place])
        self._cache.keys[index, slot, :, place] = turned[H:]
        self._cache.values[index, slot, :, place] = heads[H + K :]
        return turned[:H]

    def _rest(
        self,
        index: int,
        slot: int,
        place: slice,
        queries: Floats,
        x: Floats,
        scratch: _Scratch,
    ) -> None:
        """Add attention to all positions up to each one's own, and the feed-forward layer, to `x`."""
        config, t, layer = self._weights.config, len(x), self._weights.layers[index]
        plain, context = self._plain[index], scratch.context[:t]
        keys = self._cache.keys[index, slot, :, : place.stop]
        values = self._cache.values[index, slot, :, : place.stop]
        _attention(queries, keys, values, out=context.reshape(t, config.heads, -1).transpose(1, 0, 2))
        self._product(scratch.context, t, layer.o_proj, plain.o_proj, out=scratch.projected)
        x += scratch.projected[:t]
        self._norm(x, layer.mlp_norm, scratch)
        self._product(scratch.normed, t, layer.gate_up, plain.gate_up, out=scratch.gate_up)
        gate, up = np.split(scratch.gate_up[:t], 2, axis=1)
        activated = scratch.activated[:t]
        swiglu(gate, up, out=activated, sigmoid=activated)
        self._product(scratch.activated, t, layer.down_proj, plain.down_proj, out=scratch.projected)
        x += scratch.projected[:t]

    def _norm(self, x: Floats, gain: Floats, scratch: _Scratch) -> None:
        t = len(x)
        rms_norm(
            x, gain, eps=self._weights.config.norm_eps, out=scratch.normed[:t], inv_rms=scratch.inv_rms[:t]
        )


def _chunks(T: int) -> list[slice]:
    """Two chunks at least for all but the shortest prompts, so that two threads have work."""
    size = min(_CHUNK_MAX, -(-T // (2 * _CHUNK_STEP)) * _CHUNK_STEP)
    return [slice(start, min(start + size, T)) for start in range(0, T, size)]


@dataclass(frozen=True, slots=True, eq=False)
class _Scratch:
    """Activations of one chunk; t is a multiple of four, because products may touch rows behind the last."""

    normed: Floats  # (t, D)
    inv_rms: Floats  # (t,)
    qkv: Floats  # (t, (H + 2*K)*d)
    context: Floats  # (t, H*d)
    projected: Floats  # (t, D)
    gate_up: Floats  # (t, 2*F)
    activated: Floats  # (t, F)

    @classmethod
    def make(cls, config: ModelConfig, t: int) -> _Scratch:
        D, F, attended = config.dim, config.feed_forward_dim, config.heads * config.head_dim
        heads = attended + 2 * config.key_value_heads * config.head_dim
        widths, rows = (heads, attended, D, 2 * F, F), -(-t // _SPARE) * _SPARE
        return cls(
            np.zeros((rows, D), np.float32),
            np.empty(rows, np.float32),
            *(np.zeros((rows, width), np.float32) for width in widths),
        )


def _attention(queries: Floats, keys: Floats, values: Floats, *, out: Floats) -> None:
    """Causal attention of the last positions to all of them.

    Args:
        queries: (H, t, d), of the last t of T positions.
        keys: (K, T, d).
        values: (K, T, d).
        out: (H, t, d).
    """
    (H, t, d), (K, T, _) = queries.shape, keys.shape
    group = H // K
    step = max(_CHUNK_STEP, min(t, _SCORES_MAX // (group * T)))
    for start in range(0, t, step):
        stop = min(start + step, t)
        past = T - t + stop  # keys that the last of these queries sees
        future = np.triu(np.full((stop - start, stop - start), -np.inf, np.float32), k=1)
        for g in range(K):
            heads = slice(g * group, (g + 1) * group)
            scores = np.matmul(queries[heads, start:stop], keys[g, :past].T)  # (G, rows, past)
            scores *= np.float32(1.0 / math.sqrt(d))
            scores[..., past - (stop - start) :] += future
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            np.matmul(scores, values[g, :past], out=out[heads, start:stop])


def _turned(heads: Floats, cos: Floats, sin: Floats) -> Floats:
    """Rotary positions of (heads, t, d), in a new array; `cos` and `sin` are (t, d/2)."""
    half = heads.shape[-1] // 2
    first, second = heads[..., :half], heads[..., half:]
    turned = np.empty(heads.shape, heads.dtype)
    np.multiply(first, cos, out=turned[..., :half])
    np.multiply(second, cos, out=turned[..., half:])
    turned[..., :half] -= second * sin
    turned[..., half:] += first * sin
    return turned
