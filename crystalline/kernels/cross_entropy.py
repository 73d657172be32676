"""Cross-entropy of logits against target ids, fused with its gradient, in place, in blocks of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.blocks import row_blocks
from crystalline.kernels.sums import sum_of_rows

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats, Ids

__all__ = ["cross_entropy", "cross_entropy_backward"]


def cross_entropy(logits: Floats, targets: Ids) -> float:
    """Sum over the rows of -log softmax(logits)[target], in nats. Destroys `logits`.

    Args:
        logits: (N, V).
        targets: (N,), each below V; a negative one means padding, which costs nothing.

    Returns:
        The sum, not the mean, in float64.
    """
    return sum(_exponentials(logits[rows], targets[rows])[0] for rows in row_blocks(logits, operands=1))


def cross_entropy_backward(logits: Floats, targets: Ids, *, scale: float) -> float:
    """Turn `logits` into the gradient of scale * cross_entropy, and return the unscaled sum.

    d_logits = scale * (softmax(logits) - one_hot(target)), and 0 in rows of padding. The loss comes with
    the gradient because both need the same exponentials.

    Args:
        logits: (N, V), becomes d_logits.
        targets: (N,), each below V; a negative one means padding.
        scale: factor of the gradient, not of the returned sum.
    """
    total = 0.0
    for rows in row_blocks(logits, operands=1):
        block, block_targets = logits[rows], targets[rows]
        loss, sums = _exponentials(block, block_targets)
        total += loss
        real = block_targets >= 0
        block *= np.where(real, scale / sums, 0.0).astype(block.dtype)[:, None]
        block[np.flatnonzero(real), block_targets[real]] -= scale
    return total


def _exponentials(block: Floats, targets: Ids) -> tuple[float, Floats]:
    """Replace logits by exp(logits - row maximum); return the loss of the rows, and each row's sum."""
    block -= np.maximum.reduce(block, axis=1, keepdims=True)
    real = targets >= 0
    at_target = np.where(real, block[np.arange(len(block)), np.maximum(targets, 0)], 0.0)
    np.exp(block, out=block)
    sums = sum_of_rows(block)
    # The logarithm and the sum over tokens are in float64: the loss of a shard is a long sum.
    losses = np.where(real, np.log(sums.astype(np.float64)) - at_target, 0.0)
    return float(np.add.reduce(losses)), sums
