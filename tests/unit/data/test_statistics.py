"""The unigram yardstick is what its definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import unigram_cross_entropy


def test_by_hand() -> None:
    # p(0) = 4/7, p(1) = 2/7, p(2) = 1/7
    train, held_out = np.array([0, 0, 0, 1, -1]), np.array([[0, 2], [-1, -1]])
    expected = -(math.log(4 / 7) + math.log(1 / 7)) / 2
    assert unigram_cross_entropy(train, held_out, 3) == pytest.approx(expected)


def test_knowing_nothing_costs_the_logarithm_of_the_vocabulary() -> None:
    nothing = np.array([], dtype=np.int64)
    assert unigram_cross_entropy(nothing, np.arange(10), 10) == pytest.approx(math.log(10))


@given(st.lists(st.integers(-1, 5), max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_it_is_the_mean_over_held_out_tokens(train: list[int], held_out: list[int]) -> None:
    seen = [t for t in train if t >= 0]
    costs = [-math.log((seen.count(t) + 1) / (len(seen) + 6)) for t in held_out]
    found = unigram_cross_entropy(np.array(train, np.int32), np.array(held_out, np.int32), 6)
    assert found == pytest.approx(sum(costs) / len(costs))


def test_held_out_padding_alone_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no token"):
        unigram_cross_entropy(np.array([1]), np.array([-1]), 3)


def test_an_id_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token id 3 is not below"):
        unigram_cross_entropy(np.array([3]), np.array([1]), 3)
