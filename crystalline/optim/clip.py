"""Gradient clipping by the global norm, in fixed slices, so that who computes what changes no bit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["SLICE", "clip_scale", "global_norm", "slice_bounds", "sum_of_squares"]

SLICE = 262_144
"""Floats in a slice of the flat buffer: 1 MiB of float32. Another value gives other last bits."""

# What torch adds to the norm before it divides.
_NORM_EPS = 1e-6


def slice_bounds(size: int) -> list[tuple[int, int]]:
    """The slices [lo, hi) of a flat buffer of `size` floats: SLICE floats each, the last may have fewer."""
    return [(lo, min(lo + SLICE, size)) for lo in range(0, size, SLICE)]


def sum_of_squares(gradient: NDArray[np.float32], scratch: NDArray[np.float64] | None = None) -> float:
    """The sum of squares of one slice, in float64.

    Squares of float32 are exact in float64 and cannot overflow. NaN and infinity come through, which is
    how a broken gradient is found. The sum is numpy's own pairwise one, never BLAS, whose order of
    additions depends on its number of threads.

    Args:
        gradient: (n,), not modified.
        scratch: (n,) or longer, overwritten; made if None.
    """
    n = len(gradient)
    squares = np.empty(n, np.float64) if scratch is None else scratch[:n]
    np.square(gradient, out=squares, dtype=np.float64)
    return float(squares.sum())


def global_norm(slice_sums: Iterable[float]) -> float:
    """The Euclidean norm of the whole gradient.

    Args:
        slice_sums: `sum_of_squares` of every slice, in slice order.
    """
    total = 0.0
    # Not sum(): from Python 3.12 on it compensates, and other Pythons would give other bits.
    for slice_sum in slice_sums:
        total += slice_sum
    return math.sqrt(total)


def clip_scale(norm: float, max_norm: float) -> float:
    """The factor that brings a gradient down to a norm: min(1, max_norm / (norm + 1e-6)).

    Args:
        norm: the gradient's, finite.
        max_norm: the most it may be; 0 does not clip.

    Source: Pascanu et al. 2013, "On the difficulty of training recurrent neural networks", algorithm 1;
    the small constant as in `torch.nn.utils.clip_grad_norm_`.
    """
    return 1.0 if max_norm == 0.0 else min(1.0, max_norm / (norm + _NORM_EPS))
