"""The unigram yardstick is what its definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import token_counts, unigram_cross_entropy


def cross_entropy(train: list[int], held_out: list[int], vocab_size: int) -> float:
    counts = (token_counts([np.array(ids, np.int32)], vocab_size) for ids in (train, held_out))
    return unigram_cross_entropy(*counts)


def test_by_hand() -> None:
    # p(0) = 4/7, p(1) = 2/7, p(2) = 1/7
    expected = -(math.log(4 / 7) + math.log(1 / 7)) / 2
    assert cross_entropy([0, 0, 0, 1, -1], [0, 2, -1, -1], 3) == pytest.approx(expected)


def test_knowing_nothing_costs_the_logarithm_of_the_vocabulary() -> None:
    assert cross_entropy([], list(range(10)), 10) == pytest.approx(math.log(10))


@given(st.lists(st.integers(-1, 5), max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_it_is_the_mean_over_held_out_tokens(train: list[int], held_out: list[int]) -> None:
    seen = [t for t in train if t >= 0]
    costs = [-math.log((seen.count(t) + 1) / (len(seen) + 6)) for t in held_out]
    assert cross_entropy(train, held_out, 6) == pytest.approx(sum(costs) / len(costs))


@given(st.lists(st.lists(st.integers(-1, 5), min_size=4, max_size=4), max_size=9), st.integers(1, 9))
def test_counts_do_not_depend_on_the_blocks(rows: list[list[int]], at_once: int) -> None:
    ids = np.array(rows, np.int32).reshape(-1, 4)
    counts = token_counts((ids[at : at + at_once] for at in range(0, len(ids), at_once)), 6)
    assert counts.tolist() == [int((ids == token).sum()) for token in range(6)]


def test_held_out_padding_alone_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no token"):
        cross_entropy([1], [-1], 3)


def test_an_id_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="token id 3 is not below"):
        token_counts([np.array([1]), np.array([3])], 3)


def test_counts_of_two_vocabularies_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two vocabularies: \(3,\) and \(1,\)"):
        unigram_cross_entropy(np.ones(3, np.int64), np.ones(1, np.int64))
