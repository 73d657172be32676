"""Rotary positions, in place, on feature-major arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.blocks import block_entries, block_rows

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats
    from crystalline.kernels.rope_scaling import RopeScaling

__all__ = ["rotary", "rotary_backward", "rotary_scratch_size", "rotary_tables"]

_OPERANDS = 2


def rotary_tables(
    positions: int, head_dim: int, theta: float, scaling: RopeScaling | None = None
) -> tuple[Floats, Floats]:
    """Cosines and sines of the angles position * theta^(-2 i / d), each (d/2, positions), in float64.

    Args:
        positions: how many, from 0.
        head_dim: width of a head, d, even.
        theta: base of the angles.
        scaling: how the frequencies are slowed down; None leaves them as they are.

    Source: Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".
    """
    frequencies: Floats = theta ** (-np.arange(0, head_dim, 2) / head_dim)  # (d/2,)
    if scaling is not None:
        frequencies = scaling.slowed(frequencies)
    angles = frequencies[:, None] * np.arange(positions)  # (d/2, T)
    return np.cos(angles), np.sin(angles)


def rotary(x: Floats, cos: Floats, sin: Floats, *, scratch: Floats) -> None:
    """Turn each pair of features (i, i + d/2) by its position's angle, in place.

    The pairing is the one of Hugging Face's `rotate_half`, not neighbouring features as in the paper. The
    tokens run along the last axis, so that each pass is over long contiguous rows.

    Args:
        x: (heads, d, N), turned in place.
        cos: (d/2, N), of each token's position.
        sin: (d/2, N).
        scratch: `rotary_scratch_size(heads, d, N, itemsize)` entries.
    """
    _turn(_halves(x), cos, sin, scratch)


def rotary_backward(d_x: Floats, cos: Floats, sin: Floats, *, scratch: Floats) -> None:
    """Gradient of `rotary`, in place: a rotation's transpose turns back by the same angle.

    Args:
        d_x: (heads, d, N), gradient of the turned array, becomes that of the given one.
        cos: (d/2, N).
        sin: (d/2, N).
        scratch: `rotary_scratch_size(heads, d, N, itemsize)` entries.
    """
    # With the two halves exchanged, the same rotation turns the other way.
    _turn(_halves(d_x)[:, ::-1], cos, sin, scratch)


def rotary_scratch_size(heads: int, d: int, N: int, itemsize: int) -> int:
    """Entries of the scratch that either direction needs; never less for a larger N."""
    return block_entries(heads, d * N, itemsize, operands=_OPERANDS)


def _halves(x: Floats) -> Floats:
    """(heads, d, N) as (heads, 2, d/2, N), a view."""
    heads, d, N = x.shape
    return x.reshape(heads, 2, d // 2, N)


def _turn(halves: Floats, cos: Floats, sin: Floats, scratch: Floats) -> None:
    """Replace (first, second) by (first * cos - second * sin, second * cos + first * sin)."""
    heads, entries = len(halves), halves[0].size
    step = block_rows(heads, entries, halves.itemsize, operands=_OPERANDS)
    for start in range(0, heads, step):
        block = halves[start : start + step]
        turned = scratch[: block.size].reshape(block.shape)
        np.multiply(block, sin, out=turned)
        block *= cos
        block[:, 0] -= turned[:, 1]
        block[:, 1] += turned[:, 0]
