"""One more token for several texts at once: in numpy, one thread, and plain to read.

The oracle of `compiled.py`, and what runs where numba is not installed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from crystalline.inference.plain import project
from crystalline.kernels.rms_norm import rms_norm
from crystalline.kernels.swiglu import swiglu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference.cache import KeyValueCache
    from crystalline.inference.weights import LayerWeights, Weights
    from crystalline.kernels.arrays import Floats

__all__ = ["NumpyDecoder"]


class NumpyDecoder:
    """Computes decode steps, stream by stream.

    Args:
        weights: of the model.
        cache: keys and values so far; the new token's are added.
        cos: (context, d/2).
        sin: (context, d/2).
    """

    def __init__(self, weights: Weights, cache: KeyValueCache, cos: Floats, sin: Floats) -> None:
        self._weights, self._cache = weights, cache
        self._cos, self._sin = cos, sin

    def __call__(self, slots: Sequence[int], ids: Sequence[int]) -> Floats:
        """Logits after one more token in each slot, (n, V), in a new array."""
        weights, config = self._weights, self._weights.config
        n, D, F = len(slots), config.dim, config.feed_forward_dim
        attended = config.heads * config.head_dim
        x = weights.embedding.rows(np.asarray(ids))  # (n, D), new: ids pick rows, they do not cut a view
        normed, projected = np.empty((2, n, D), np.float32)
        qkv = np.empty((n, len(weights.layers[0].qkv.entries)), np.float32)
        context, gate_up = np.empty((n, attended), np.float32), np.empty((n, 2 * F), np.float32)
        for index, layer in enumerate(weights.layers):
            self._norm(x, layer.attention_norm, out=normed)
            project(normed, layer.qkv, out=qkv)
            for stream, slot in enumerate(slots):
                self._attend(index, slot, qkv[stream], out=context[stream])
            project(context, layer.o_proj, out=projected)
            x += projected
            self._norm(x, layer.mlp_norm, out=normed)
            self._feed_forward(layer, normed, gate_up, out=projected)
            x += projected
        self._norm(x, weights.gains[-1], out=normed)
        logits = np.empty((n, config.vocab_size), np.float32)
        project(normed, weights.head, out=logits)
        return logits

    def _norm(self, x: Floats, gain: Floats, *, out: Floats) -> None:
        rms_norm(x, gain, eps=self._weights.config.norm_eps, out=out, inv_rms=np.empty(len(x), np.float32))

    def _feed_forward(self, layer: LayerWeights, normed: Floats, gate_up: Floats, *, out: Floats) -> None:
        project(normed, layer.gate_up, out=gate_up)
        gate, up = np.split(gate_up, 2, axis=1)
        activated = np.empty_like(gate)
        swiglu(gate, up, out=activated, sigmoid=activated)
        project(activated, layer.down_proj, out=out)

    def _attend(self, index: int, slot: int, qkv: Floats, *, out: Floats) -> None:
        """Turn the heads of one stream, add its key and value to the cache, and mix the values."""
        config, position = self._weights.config, self._cache.lengths[slot]
        H, K, d = config.heads, config.key_value_heads, config.head_dim
        heads = qkv.reshape(H + 2 * K, d)
        turned = _turned(heads[: H + K], self._cos[position], self._sin[position])
        keys = self._cache.keys[index, slot, :, : position + 1]  # (K, T, d)
        values = self._cache.values[index, slot, :, : position + 1]
        keys[:, position], values[:, position] = turned[H:], heads[H + K :]
        scores = np.matmul(turned[:H].reshape(K, H // K, d), keys.transpose(0, 2, 1))  # (K, G, T)
        scores *= np.float32(1.0 / math.sqrt(d))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        np.matmul(scores, values, out=out.reshape(K, H // K, d))


def _turned(heads: Floats, cos: Floats, sin: Floats) -> Floats:
    first, second = np.split(heads, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
