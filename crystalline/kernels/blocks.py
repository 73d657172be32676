"""Blocks of rows, small enough that the passes over a block find it in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystalline.kernels.arrays import Floats

__all__ = ["block_entries", "block_rows", "row_blocks"]

# For all operands of a block together: what a core has of L2 and L3. Smaller blocks would stay in the L2
# and lose more to the calls: two threads that call numpy often wait for each other.
_CACHE_BYTES = 2 * 1024 * 1024


def block_rows(rows: int, columns: int, itemsize: int, *, operands: int) -> int:
    """Rows in one block of (rows, columns) arrays with entries of `itemsize` bytes; at least 1.

    Args:
        rows: of the whole array.
        columns: of the whole array.
        itemsize: bytes of one entry.
        operands: how many arrays of that shape the passes over a block touch.
    """
    return max(1, min(rows, _CACHE_BYTES // (operands * columns * itemsize)))


def block_entries(rows: int, columns: int, itemsize: int, *, operands: int) -> int:
    """Entries that no block of such an array exceeds; never less for more rows or columns.

    Args:
        rows: of the whole array.
        columns: of the whole array.
        itemsize: bytes of one entry.
        operands: how many arrays of that shape the passes over a block touch.
    """
    return min(rows * columns, max(columns, _CACHE_BYTES // (operands * itemsize)))


def row_blocks(array: Floats, *, operands: int) -> Iterator[slice]:
    """Consecutive slices of a 2-D array's rows that cover it once, in order.

    The cut depends on shape and entry size alone, so results do not depend on the machine's cache.

    Args:
        array: (rows, columns), one of the operands.
        operands: how many arrays of that shape the passes over a block touch.
    """
    rows, columns = array.shape
    step = block_rows(rows, columns, array.itemsize, operands=operands)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))
