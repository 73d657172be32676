from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crystalline.kernels.blocks import block_entries, block_rows, row_blocks


@given(rows=st.integers(1, 3000), columns=st.integers(1, 70_000), operands=st.integers(1, 8))
def test_blocks_cover_the_rows_once_in_order(rows: int, columns: int, operands: int) -> None:
    array = np.broadcast_to(np.float32(0), (rows, columns))
    blocks = list(row_blocks(array, operands=operands))
    assert blocks[0].start == 0
    assert blocks[-1].stop == rows
    assert all(left.stop == right.start for left, right in pairwise(blocks))
    most = block_rows(rows, columns, 4, operands=operands)
    assert all(0 < block.stop - block.start <= most for block in blocks)


def test_all_operands_of_a_block_fit_in_two_mebibytes() -> None:
    assert block_rows(10**6, 256, 4, operands=4) * 256 * 4 * 4 == 2 * 1024 * 1024


def test_a_row_wider_than_a_block_is_a_block_by_itself() -> None:
    assert block_rows(10, 10_000_000, 4, operands=1) == 1


@given(rows=st.integers(1, 3000), columns=st.integers(1, 700_000), operands=st.integers(1, 8))
def test_the_entries_of_a_block_are_enough_and_grow_with_the_array(
    rows: int, columns: int, operands: int
) -> None:
    entries = block_entries(rows, columns, 4, operands=operands)
    assert block_rows(rows, columns, 4, operands=operands) * columns <= entries <= rows * columns
    assert entries <= block_entries(rows, columns + 1, 4, operands=operands)
    assert entries <= block_entries(rows + 1, columns, 4, operands=operands)
