"""Root-mean-square normalisation of the last axis, with a gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.blocks import block_rows, row_blocks

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["rms_norm", "rms_norm_backward", "rms_norm_scratch_shape"]

_FORWARD_OPERANDS, _BACKWARD_OPERANDS = 2, 5


def rms_norm(x: Floats, gain: Floats, *, eps: float, out: Floats, inv_rms: Floats) -> None:
    """Normalise each row: out = x * inv_rms * gain, with inv_rms = 1 / sqrt(mean(x^2) + eps).

    Args:
        x: (N, D).
        gain: (D,).
        eps: added to the mean square, > 0.
        out: (N, D).
        inv_rms: (N,), kept for the backward pass.

    Source: Zhang and Sennrich 2019, "Root mean square layer normalization".
    """
    np.vecdot(x, x, out=inv_rms)
    inv_rms /= x.shape[1]
    inv_rms += eps
    np.sqrt(inv_rms, out=inv_rms)
    np.reciprocal(inv_rms, out=inv_rms)
    for rows in row_blocks(x, operands=_FORWARD_OPERANDS):
        np.multiply(x[rows], inv_rms[rows, None], out=out[rows])
        out[rows] *= gain


def rms_norm_backward(
    d_out: Floats, x: Floats, gain: Floats, inv_rms: Floats, *, d_x: Floats, d_gain: Floats, scratch: Floats
) -> None:
    """Gradients of `rms_norm`; `d_x` is added to, because x also flows on in the residual stream.

    With x_hat = x * inv_rms and d_hat = d_out * gain:
    d_x += inv_rms * (d_hat - x_hat * mean(d_hat * x_hat)), d_gain = sum over rows of d_out * x_hat.

    Args:
        d_out: (N, D).
        x: (N, D), as given forward.
        gain: (D,), as given forward.
        inv_rms: (N,), from the forward pass.
        d_x: (N, D), added to.
        d_gain: (D,), overwritten.
        scratch: `rms_norm_scratch_shape(N, D, itemsize)`.
    """
    d_gain[:] = 0
    for rows in row_blocks(x, operands=_BACKWARD_OPERANDS):
        block = x[rows]
        x_hat, product = scratch[:, : len(block)]
        # Recomputed, not cached: x_hat is as large as x, one multiply is cheaper than keeping it.
        np.multiply(block, inv_rms[rows, None], out=x_hat)
        np.multiply(d_out[rows], x_hat, out=product)
        d_gain += np.add.reduce(product, axis=0)
        mean = product @ gain  # the sum of d_hat * x_hat over a row
        mean /= x.shape[1]
        np.multiply(d_out[rows], gain, out=product)
        x_hat *= mean[:, None]
        product -= x_hat
        product *= inv_rms[rows, None]
        d_x[rows] += product


def rms_norm_scratch_shape(rows: int, columns: int, itemsize: int) -> tuple[int, int, int]:
    """Shape of the scratch that `rms_norm_backward` needs for x of shape (rows, columns)."""
    return (2, block_rows(rows, columns, itemsize, operands=_BACKWARD_OPERANDS), columns)
