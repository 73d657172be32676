"""One more token for several texts at once, by compiled code on all threads of a crew."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crystalline.inference.compiled import (
    COUNTERS_PER_PHASE,
    PHASES_PER_LAYER,
    dequantise,
    rows_of,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference.cache import KeyValueCache
    from crystalline.inference.crew import Crew
    from crystalline.inference.weights import Matrix, Precision, Weights
    from crystalline.kernels.arrays import Floats

__all__ = ["CompiledDecoder", "CompiledProducts", "is_kept", "keep"]

_TILE = 4  # streams that a tile may touch at once


def is_kept(precision: Precision) -> bool:
    """Whether a process has compiled everything for a precision and, as far as it knows, kept it."""
    mark = _mark(precision)
    return mark is not None and mark.exists()


def keep(precision: Precision) -> None:
    """Note that everything was compiled for a precision."""
    mark = _mark(precision)
    if mark is not None:
        with suppress(OSError):  # then the next process says once more that it compiles
            mark.touch()


def _mark(precision: Precision) -> Path | None:
    place = step.stats.cache_path
    return None if place is None else Path(place, f"compiled.{precision}")


class CompiledProducts:
    """Products of a few tokens with a whole matrix, without the copies that a BLAS makes of it."""

    tokens_max = 64
    """More than these numpy multiplies faster."""

    def product(self, x: Floats, n: int, matrix: Matrix, *, out: Floats) -> None:
        """out[:n] = x[:n] matrix^T; both have rows to spare, up to a multiple of four.

        Args:
            x: (n or more, I).
            n: tokens.
            matrix: (O, I).
            out: (n or more, O).
        """
        rows_of(matrix.entries, matrix.scales, 0, len(matrix.entries), x, n, out)

    def restore(self, matrix: Matrix, rows: slice, *, out: Floats) -> None:
        """Write some rows of an int8 matrix as float32 into `out`, (O, I)."""
        dequantise(matrix.entries, matrix.scales, rows.start, rows.stop, out)


class CompiledDecoder:
    """Computes decode steps: the same sums as `NumpyDecoder`, in another order.

    Args:
        weights: of the model.
        cache: keys and values so far; the new token's are added.
        cos: (context, d/2).
        sin: (context, d/2).
        crew: the threads.
    """

    def __init__(self, weights: Weights, cache: KeyValueCache, cos: Floats, sin: Floats, crew: Crew) -> None:
        config = weights.config
        self._weights, self._cache, self._crew = weights, cache, crew
        self._cos, self._sin = cos, sin
        self._sizes = (
            config.dim,
            config.heads,
            config.key_value_heads,
            config.head_dim,
            config.feed_forward_dim,
            config.vocab_size,
            config.layers,
        )
        rows = -(-cache.slots // _TILE) * _TILE
        D, H, K, d, F, V, layers = self._sizes
        widths = {
            "x": D,
            "qkv": (H + 2 * K) * d,
            "context": H * d,
            "gate_up": 2 * F,
            "activated": F,
            "projected": D,
            "logits": V,
        }
        # Zeros: a tile reads the rows of streams that are not there, and they must be numbers.
        self._shared = {name: np.zeros((rows, width), np.float32) for name, width in widths.items()}
        self._normed = np.zeros((crew.threads, rows, D), np.float32)
        self._turned = np.zeros((crew.threads, 2, d), np.float32)
        self._scores = np.zeros((crew.threads, cache.context), np.float32)
        self._ones = np.ones(cache.context, np.float32)
        self._counters = np.zeros((PHASES_PER_LAYER * layers + 1) * COUNTERS_PER_PHASE, np.int64)

    def __call__(self, slots: Sequence[int], ids: Sequence[int]) -> Floats:
        """Logits after one more token in each slot, (n, V), valid until the next call."""
        weights, cache, shared = self._weights, self._cache, self._shared
        n = len(slots)
        shared["x"][:n] = weights.embedding.rows(np.asarray(ids))
        self._counters[:] = 0
        places = np.asarray(slots, np.int64)
        positions = np.array([cache.lengths[slot] for slot in slots], np.int64)
        eps = np.float32(weights.config.norm_eps)

        def part(rank: int) -> None:
            step(
                self._sizes,
                eps,
                weights.flat,
                weights.scales,
                weights.gains,
                weights.places,
                cache.keys,
                cache.values,
                places,
                positions,
                self._cos,
                self._sin,
                self._counters,
                shared["x"],
                self._normed[rank],
                shared["qkv"],
                shared["context"],
                shared["gate_up"],
                shared["activated"],
                shared["projected"],
                self._turned[rank],
                self._scores[rank],
                self._ones,
                shared["logits"],
            )

        self._crew.run(part)
        return shared["logits"][:n]
