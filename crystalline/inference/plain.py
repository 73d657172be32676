"""Matrices that may be int8, for products in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from crystalline.model import LayerParameters

if TYPE_CHECKING:
    from crystalline.inference.decode_compiled import CompiledProducts
    from crystalline.inference.weights import LayerWeights, Matrix, Weights
    from crystalline.kernels.arrays import Floats
    from crystalline.model import ModelConfig

__all__ = ["PlainLayers", "project"]

_BLOCK_ENTRIES: Final = 512 * 1024
"""Of a matrix at a time: the rows stay in the cache until every stream has met them."""


def project(x: Floats, matrix: Matrix, *, out: Floats) -> None:
    """Project: out = x matrix^T, one product of a block of rows with one row of `x` at a time.

    So a row of the result has the same bits whatever the other rows of `x` are.

    Args:
        x: (n, I).
        matrix: (O, I).
        out: (n, O).
    """
    rows, columns = matrix.entries.shape
    step = max(1, _BLOCK_ENTRIES // columns)
    for start in range(0, rows, step):
        at = slice(start, start + step)
        block = matrix.rows(at)
        for stream, result in zip(x, out, strict=True):
            np.dot(block, stream, out=result[at])


class PlainLayers:
    """The layers one after another in float32: views, or made from int8 shortly before they are used.

    Args:
        weights: of the model.
        threads: that fill together.
        products: that restore rows faster than numpy; None for numpy.
    """

    def __init__(self, weights: Weights, threads: int, products: CompiledProducts | None) -> None:
        self._weights, self._threads, self._products = weights, threads, products
        # Two sets in turn: a thread may fill the next layer while others still read this one.
        sets = 2 if weights.precision == "int8" else 0
        self._sets = [_empty(weights.config) for _ in range(sets)]

    def fill(self, index: int, rank: int) -> bool:
        """Do a thread's part of what must be done before a layer is read; False when there is nothing.

        When true, the layer may be read as soon as every thread has returned.
        """
        if not self._sets:
            return False
        for matrix, plain in zip(_matrices(self._weights.layers[index]), self._sets[index % 2], strict=True):
            rows = len(plain)
            own = slice(rows * rank // self._threads, rows * (rank + 1) // self._threads)
            if self._products is not None:
                self._products.restore(matrix, own, out=plain)
            else:
                np.multiply(matrix.entries[own], matrix.scales[own, None], out=plain[own])
        return True

    def __getitem__(self, index: int) -> LayerParameters:
        """A layer, once it was filled."""
        layer = self._weights.layers[index]
        qkv, o_proj, gate_up, down_proj = (
            self._sets[index % 2] if self._sets else [matrix.entries for matrix in _matrices(layer)]
        )
        return LayerParameters(qkv, o_proj, gate_up, down_proj, layer.attention_norm, layer.mlp_norm)


def _matrices(layer: LayerWeights) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    return layer.qkv, layer.o_proj, layer.gate_up, layer.down_proj


def _empty(config: ModelConfig) -> list[Floats]:
    D, F, attended = config.dim, config.feed_forward_dim, config.heads * config.head_dim
    heads = attended + 2 * config.key_value_heads * config.head_dim
    shapes = (heads, D), (D, attended), (2 * F, D), (D, F)
    return [np.empty(shape, np.float32) for shape in shapes]
