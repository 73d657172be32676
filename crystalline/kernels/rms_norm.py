"""Root-mean-square normalisation of the last axis, with a gain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.blocks import block_rows, row_blocks

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["rms_norm", "rms_norm_backward", "rms_norm_scratch_shape"]

_FORWARD_OPERANDS, _BACKWARD_OPERANDS = 2, 4


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

    d_gain = sum over rows of inv_rms * (d_out * x), and with c = inv_rms^3 * mean(gain * d_out * x):
    d_x += inv_rms * gain * d_out - c * x. Both sums are products of the one array d_out * x with a vector,
    which is faster than reducing it.

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
        block, d_block, d_x_block, inv = x[rows], d_out[rows], d_x[rows], inv_rms[rows]
        product = scratch[: len(block)]
        np.multiply(d_block, block, out=product)
        d_gain += inv @ product
        c = product @ gain
        c *= inv
        c *= inv
        c *= inv
        c /= x.shape[1]
        np.multiply(block, c[:, None], out=product)
        d_x_block -= product
        np.multiply(d_block, gain, out=product)
        product *= inv[:, None]
        d_x_block += product


def rms_norm_scratch_shape(rows: int, columns: int, itemsize: int) -> tuple[int, int]:
    """Shape of the scratch that `rms_norm_backward` needs for x of shape (rows, columns)."""
    return (block_rows(rows, columns, itemsize, operands=_BACKWARD_OPERANDS), columns)
