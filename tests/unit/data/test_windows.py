"""Windows: every token is learned once, nothing is learned from padding, held-out text is spread evenly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import Windows
from crystalline.errors import CorpusError, SettingError


def blank(n: int) -> np.ndarray:
    return np.zeros(n, np.uint16)


def test_targets_are_the_inputs_one_later() -> None:
    windows = Windows(np.arange(10, 17, dtype=np.uint16), 3, 0.0)
    inputs, targets = windows.batch(np.array([1, 0]))
    assert inputs.tolist() == [[13, 14, 15], [10, 11, 12]]
    assert targets.tolist() == [[14, 15, 16], [11, 12, 13]]
    assert inputs.dtype == targets.dtype == np.int32


def test_the_last_partial_window_is_padded() -> None:
    windows = Windows(np.arange(10, 16, dtype=np.uint16), 3, 0.0)
    inputs, targets = windows.batch(np.array([1]))
    assert windows.count == 2
    assert inputs.tolist() == [[13, 14, 15]]
    assert targets.tolist() == [[14, 15, -1]]
    assert Windows(np.arange(10, 15), 3, 0.0).batch(np.array([1]))[0].tolist() == [[13, 14, 0]]


@given(st.integers(1, 9), st.integers(0, 40))
def test_every_token_but_the_first_is_a_target_once(seq_len: int, extra: int) -> None:
    tokens = np.arange(seq_len + 1 + extra)
    windows = Windows(tokens, seq_len, 0.0)
    inputs, targets = windows.batch(windows.train)
    assert targets[targets >= 0].tolist() == tokens[1:].tolist()
    assert (inputs[targets >= 0] == targets[targets >= 0] - 1).all()


@given(st.integers(1, 300), st.floats(0, 1, exclude_max=True))
def test_held_out_windows_are_spread_evenly(count: int, fraction: float) -> None:
    windows = Windows(blank(count + 1), 1, fraction)
    held_out = windows.validation
    assert sorted([*windows.train, *held_out]) == list(range(count))
    assert len(windows.train) > 0
    if fraction > 0 and count > 1:
        assert len(held_out) > 0
    if count * fraction >= 2:
        assert abs(len(held_out) - count * fraction) <= 1
        gaps = np.diff(held_out)
        assert gaps.max(initial=0) - gaps.min(initial=count) <= 1


def test_one_tenth_is_every_tenth_window() -> None:
    assert Windows(blank(31), 1, 0.1).validation.tolist() == [9, 19, 29]


def test_nothing_is_held_out_unless_asked() -> None:
    assert Windows(blank(31), 1, 0.0).validation.tolist() == []


def test_the_smallest_split_has_one_window_on_each_side() -> None:
    windows = Windows(blank(3), 1, 0.001)
    assert (windows.train.tolist(), windows.validation.tolist()) == ([0], [1])


def test_one_window_is_trained_on() -> None:
    windows = Windows(blank(5), 4, 0.5)
    assert (windows.train.tolist(), windows.validation.tolist()) == ([0], [])


def test_a_text_shorter_than_a_window_is_refused_with_both_sizes() -> None:
    with pytest.raises(
        CorpusError, match=r"has 128 tokens but one window takes 129: use a shorter --seq-len"
    ):
        Windows(blank(128), 128, 0.1)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(SettingError, match="val_fraction"):
        Windows(blank(9), 2, fraction)


@pytest.mark.parametrize("seq_len", [0, -1])
def test_an_impossible_length_is_refused(seq_len: int) -> None:
    with pytest.raises(SettingError, match="seq_len"):
        Windows(blank(9), seq_len, 0.0)


@pytest.mark.parametrize("index", [-1, 4])
def test_a_window_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match=r"\[0, 4\)"):
        Windows(blank(9), 2, 0.0).batch(np.array([index]))
