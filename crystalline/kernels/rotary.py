"""Rotary positions, in place, on feature-major arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["rotary", "rotary_backward", "rotary_tables"]


def rotary_tables(positions: int, head_dim: int, theta: float) -> tuple[Floats, Floats]:
    """Cosines and sines of the angles position * theta^(-2 i / d), each (d/2, positions), in float64.

    Source: Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding".
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)  # (d/2,)
    angles = frequencies[:, None] * np.arange(positions)  # (d/2, T)
    return np.cos(angles), np.sin(angles)


def rotary(x: Floats, cos: Floats, sin: Floats, *, scratch: Floats) -> None:
    """Turn each pair of features (i, i + d/2) by its position's angle, in place.

    The pairing is the one of Hugging Face's `rotate_half`, not neighbouring features as in the paper.
    Positions run along the last axis, so that each pass is over long contiguous rows.

    Args:
        x: (heads, d, B, T), turned in place.
        cos: (d/2, T).
        sin: (d/2, T).
        scratch: at least d * B * T entries.
    """
    _turn(_halves(x), cos, sin, scratch)


def rotary_backward(d_x: Floats, cos: Floats, sin: Floats, *, scratch: Floats) -> None:
    """Gradient of `rotary`, in place: a rotation's transpose turns back by the same angle.

    Args:
        d_x: (heads, d, B, T), gradient of the turned array, becomes that of the given one.
        cos: (d/2, T).
        sin: (d/2, T).
        scratch: at least d * B * T entries.
    """
    # With the two halves exchanged, the same rotation turns the other way.
    _turn(_halves(d_x)[:, ::-1], cos, sin, scratch)


def _halves(x: Floats) -> Floats:
    """(heads, d, B, T) as (heads, 2, d/2, B, T), a view."""
    heads, d, B, T = x.shape
    return x.reshape(heads, 2, d // 2, B, T)


def _turn(halves: Floats, cos: Floats, sin: Floats, scratch: Floats) -> None:
    """Replace (first, second) by (first * cos - second * sin, second * cos + first * sin)."""
    turned = scratch[: halves[0].size].reshape(halves.shape[1:])  # (2, d/2, B, T)
    for head in halves:  # one at a time stays in the cache
        np.multiply(head, sin[:, None], out=turned)
        np.multiply(head, cos[:, None], out=head)
        head[0] -= turned[1]
        head[1] += turned[0]
