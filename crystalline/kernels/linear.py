"""Matrix product with a weight of shape (out features, in features)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["linear", "linear_backward"]


def linear(x: Floats, weight: Floats, *, out: Floats) -> None:
    """Project: out = x weight^T.

    Either memory order will do for `x` and `out`: the BLAS transposes for free, so a caller chooses a
    layout by handing in a transposed view.

    Args:
        x: (N, I).
        weight: (O, I).
        out: (N, O).
    """
    np.matmul(x, weight.T, out=out)


def linear_backward(d_out: Floats, x: Floats, weight: Floats, *, d_x: Floats, d_weight: Floats) -> None:
    """Gradients of `linear`: d_x = d_out weight, d_weight = d_out^T x.

    Args:
        d_out: (N, O).
        x: (N, I), as given forward.
        weight: (O, I), as given forward.
        d_x: (N, I), overwritten.
        d_weight: (O, I), overwritten.
    """
    np.matmul(d_out, weight, out=d_x)
    np.matmul(d_out.T, x, out=d_weight)
