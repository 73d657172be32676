"""Tokens fall in twelve groups, and a sequence belongs to the group that dominates it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from crystalline.lattice import SYMMETRY_ORDER, dominant_group, group_of


def test_the_group_is_the_id_modulo_twelve() -> None:
    ids = np.array([[0, 11, 12], [25, 65_535, 7]], dtype=np.uint16)
    assert group_of(ids).tolist() == [[0, 11, 0], [1, 3, 7]]


def test_the_majority_decides() -> None:
    assert dominant_group(np.array([[5, 17, 29, 1, 2], [3, 3, 4, 4, 4]])).tolist() == [5, 4]


def test_the_lowest_group_wins_a_tie() -> None:
    assert dominant_group(np.array([[9, 9, 2, 2, 14]])).tolist() == [2]
    assert dominant_group(np.array([[9, 21, 2, 2]])).tolist() == [2]


def test_padding_does_not_count() -> None:
    # -1 % 12 is 11 in Python: counted, it would win here.
    assert dominant_group(np.array([[7, -1, -1, -1], [-1, -1, -1, -1]])).tolist() == [7, 0]


def test_no_sequences_have_no_groups() -> None:
    assert dominant_group(np.empty((0, 4), dtype=np.int32)).shape == (0,)


def test_one_flat_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, T\), got shape \(3,\)"):
        dominant_group(np.arange(3))


@given(
    st_np.arrays(
        np.int32,
        st.tuples(st.integers(1, 5), st.integers(1, 12)),
        elements=st.integers(-2, 40),
    )
)
def test_no_group_has_more_tokens_than_the_dominant_one(windows: np.ndarray) -> None:
    for row, group in zip(windows, dominant_group(windows), strict=True):
        counts = [sum(1 for t in row if t >= 0 and t % 12 == g) for g in range(SYMMETRY_ORDER)]
        assert counts.index(max(counts)) == group
