"""Which windows make up which batch, and which of them go to which shard.

Every function is pure: the order of training follows from the arguments, whoever asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.lattice import dominant_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["batch_indices", "cut_into_shards", "epoch_order", "steps_per_epoch"]


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """The order of an epoch: a permutation of range(n) drawn from (seed, epoch) alone.

    Args:
        n: number of windows.
        seed: of the run, >= 0.
        epoch: number of the epoch, >= 0.

    Raises:
        ValueError: one of them is negative.
    """
    return np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(n)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches that `n` windows make. The last may be smaller; it is used, not dropped."""
    return -(-n // batch_size)


def batch_indices(order: NDArray[np.intp], step: int, batch_size: int) -> NDArray[np.intp]:
    """The part of an epoch's order that makes up batch `step`, counted from 0.

    Raises:
        IndexError: the epoch has no such step.
    """
    steps = steps_per_epoch(len(order), batch_size)
    if not 0 <= step < steps:
        raise IndexError(f"step must be in [0, {steps}), got {step}")
    return order[step * batch_size : (step + 1) * batch_size]


def cut_into_shards(windows: NDArray[np.integer[Any]], shards: int) -> list[NDArray[np.intp]]:
    """Share out the sequences of a batch: by symmetry group first, evenly always.

    Sequences are sorted by the group that dominates them, ties in batch order, and the sorted row is cut
    into runs whose lengths differ by at most one. So like goes with like, and yet no shard starves when
    all sequences belong to one group.

    Args:
        windows: the batch's token ids (B, T); negative ids do not count.
        shards: number of runs, >= 1. If there are fewer sequences, the last runs are empty.

    Returns:
        For each shard the rows of `windows` that it gets. Together they are every row once.

    Raises:
        ValueError: `shards` is not positive or `windows` does not have two axes.
    """
    by_group = np.argsort(dominant_group(windows), kind="stable")
    return np.array_split(by_group, shards)
