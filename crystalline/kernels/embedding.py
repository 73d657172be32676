"""Rows of a table by token id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats, Ids

__all__ = ["embedding", "embedding_backward"]


def embedding(ids: Ids, table: Floats, *, out: Floats) -> None:
    """Look up: out[n] = table[ids[n]].

    Args:
        ids: (N,), each in [0, V); the caller has checked.
        table: (V, D).
        out: (N, D).
    """
    # "clip" only because "raise" makes numpy copy through a buffer.
    np.take(table, ids, axis=0, out=out, mode="clip")


def embedding_backward(d_out: Floats, ids: Ids, *, d_table: Floats, scratch: Floats) -> None:
    """Gradient of `embedding`: adds to each row of the table the sum over the tokens that read it.

    Args:
        d_out: (N, D).
        ids: (N,), as given forward.
        d_table: (V, D), added to; rows of other ids are not touched.
        scratch: (2, N, D).
    """
    # A stable sort puts the tokens of one id side by side in order of position, so their sum has one
    # order, whatever the other ids are.
    order = np.argsort(ids, kind="stable")
    ids = ids[order]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    sums, rows = scratch[0, : len(starts)], scratch[1]
    np.take(d_out, order, axis=0, out=rows, mode="clip")
    np.add.reduceat(rows, starts, axis=0, out=sums)
    seen, updated = ids[starts], rows[: len(starts)]
    np.take(d_table, seen, axis=0, out=updated, mode="clip")
    updated += sums
    d_table[seen] = updated
