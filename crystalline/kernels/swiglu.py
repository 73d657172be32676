"""The gated feed-forward activation, silu(gate) * up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.blocks import row_blocks

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["swiglu", "swiglu_backward"]


def swiglu(gate: Floats, up: Floats, *, out: Floats, sigmoid: Floats) -> None:
    """Gate: out = silu(gate) * up, with silu(g) = g * sigmoid(g). Leaves silu(gate) in `gate`.

    What the backward pass needs of `gate` is its silu and its sigmoid, not `gate` itself. The sigmoid is
    (1 + tanh(g / 2)) / 2, which takes fewer passes than one over 1 + exp(-g) and cannot overflow. It is a
    small number made of large ones where g is far below zero: in float32 its absolute error stays below
    1e-7 everywhere, but at -10 that is nearly a part in a thousand, and below about -18 nothing is left.

    Args:
        gate: (rows, columns), becomes silu(gate).
        up: (rows, columns).
        out: (rows, columns).
        sigmoid: (rows, columns), kept for the backward pass.

    Source: Shazeer 2020, "GLU variants improve transformer".
    """
    for rows in row_blocks(gate, operands=4):
        silu, sigma = gate[rows], sigmoid[rows]
        np.multiply(silu, 0.5, out=sigma)
        np.tanh(sigma, out=sigma)
        sigma *= 0.5
        sigma += 0.5
        silu *= sigma
        np.multiply(silu, up[rows], out=out[rows])


def swiglu_backward(
    d_out: Floats,
    silu: Floats,
    up: Floats,
    sigmoid: Floats,
    *,
    d_gate: Floats,
    d_up: Floats,
    out: Floats,
) -> None:
    """Gradients of `swiglu`: d_up = d_out * silu, d_gate = d_out * up * (sigmoid + silu * (1 - sigmoid)).

    Args:
        d_out: (rows, columns).
        silu: (rows, columns), what the forward pass left in `gate`.
        up: (rows, columns), as given forward.
        sigmoid: (rows, columns), from the forward pass.
        d_gate: (rows, columns), overwritten.
        d_up: (rows, columns), overwritten.
        out: (rows, columns), the forward output once more: one multiply is cheaper than keeping it.
    """
    for rows in row_blocks(d_out, operands=7):
        d_block, d_gate_block = d_out[rows], d_gate[rows]
        np.subtract(1.0, sigmoid[rows], out=d_gate_block)
        d_gate_block *= silu[rows]
        d_gate_block += sigmoid[rows]
        d_gate_block *= up[rows]
        d_gate_block *= d_block
        np.multiply(d_block, silu[rows], out=d_up[rows])
        np.multiply(silu[rows], up[rows], out=out[rows])
