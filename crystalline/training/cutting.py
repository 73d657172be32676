"""A batch, cut into shards. Pure."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from actors import freeze
from crystalline.data import cut_into_shards
from crystalline.training.messages import Shards

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crystalline.data import Windows

__all__ = ["cut_batch"]


def cut_batch(windows: Windows, indices: NDArray[Any], shards: int) -> Shards:
    """Read some windows of the text, and cut them into shards by symmetry group, evenly."""
    inputs, targets = windows.batch(indices)
    rows = cut_into_shards(np.where(targets >= 0, inputs, -1), shards)  # padding has no vote
    order, bounds = np.concatenate(rows), (0, *accumulate(map(len, rows)))
    return Shards(freeze(inputs[order]), freeze(targets[order]), bounds)
