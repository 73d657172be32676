"""Symmetry groups of token ids: which of twelve classes a token, or a whole sequence, belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SYMMETRY_ORDER", "dominant_group", "group_of"]

SYMMETRY_ORDER = 12
"""How many groups there are. Also the default number of shards of a batch."""


def group_of(ids: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The symmetry group of each token: id mod 12.

    Args:
        ids: token ids >= 0, any shape.

    Returns:
        Groups in [0, 12), same shape as `ids`.
    """
    groups: NDArray[np.intp] = np.remainder(ids, SYMMETRY_ORDER).astype(np.intp)
    return groups


def dominant_group(windows: NDArray[np.integer[Any]]) -> NDArray[np.intp]:
    """The group that most tokens of each sequence fall in.

    Args:
        windows: token ids (n, T). Negative ids are padding and do not count.

    Returns:
        Groups (n,). The lowest group wins a tie; a sequence of padding alone is in group 0.

    Raises:
        ValueError: `windows` does not have two axes.
    """
    if windows.ndim != 2:  # noqa: PLR2004  (two axes is what the signature says)
        raise ValueError(f"windows must be (n, T), got shape {windows.shape}")
    n = len(windows)
    rows, columns = np.nonzero(windows >= 0)
    # Row and group folded into one number, so that a single bincount counts every row apart.
    cells = rows * SYMMETRY_ORDER + group_of(windows[rows, columns])
    counts = np.bincount(cells, minlength=n * SYMMETRY_ORDER).reshape(n, SYMMETRY_ORDER)
    dominant: NDArray[np.intp] = counts.argmax(axis=1)  # the first, hence lowest, of equal counts
    return dominant
