"""Element-wise work in other ways than the kernels do it: what was tried, in the same blocks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from crystalline.kernels.blocks import row_blocks

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["rms_norm_backward_by_reductions", "swiglu_by_exponentials"]

# exp(80) is within float32.
_SATURATED: Final = 80.0


def swiglu_by_exponentials(gate: Floats, up: Floats, *, out: Floats, sigmoid: Floats) -> None:
    """As `swiglu`, with the sigmoid as 1 / (1 + exp(-g))."""
    for rows in row_blocks(gate, operands=4):
        silu, sigma = gate[rows], sigmoid[rows]
        np.negative(silu, out=sigma)
        np.minimum(sigma, _SATURATED, out=sigma)
        np.exp(sigma, out=sigma)
        sigma += 1.0
        np.reciprocal(sigma, out=sigma)
        silu *= sigma
        np.multiply(silu, up[rows], out=out[rows])


def rms_norm_backward_by_reductions(
    d_out: Floats, x: Floats, gain: Floats, inv_rms: Floats, *, d_x: Floats, d_gain: Floats, scratch: Floats
) -> None:
    """As `rms_norm_backward`, with the normalised input computed once more and numpy's own sums.

    Args:
        d_out: (N, D).
        x: (N, D).
        gain: (D,).
        inv_rms: (N,).
        d_x: (N, D), added to.
        d_gain: (D,), overwritten.
        scratch: (2, N, D).
    """
    d_gain[:] = 0
    for rows in row_blocks(x, operands=5):
        block = x[rows]
        x_hat, product = scratch[:, : len(block)]
        np.multiply(block, inv_rms[rows, None], out=x_hat)
        np.multiply(d_out[rows], x_hat, out=product)
        d_gain += np.add.reduce(product, axis=0)
        mean = product @ gain
        mean /= x.shape[1]
        np.multiply(d_out[rows], gain, out=product)
        x_hat *= mean[:, None]
        product -= x_hat
        product *= inv_rms[rows, None]
        d_x[rows] += product
