"""Clipping: the norm is the norm, the slices are fixed, the factor is torch's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from crystalline.optim import SLICE, clip_scale, global_norm, slice_bounds, sum_of_squares

FLOATS = st_np.arrays(np.float32, st.integers(0, 60), elements=st.floats(-100, 100, width=32))


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE + 5])
def test_slices_cover_the_buffer_once_in_order(size: int) -> None:
    bounds = slice_bounds(size)
    assert [i for lo, hi in bounds for i in (lo, hi)][1:-1:2] == [lo for lo, _ in bounds[1:]]
    assert sum(hi - lo for lo, hi in bounds) == size
    assert all(hi - lo == SLICE for lo, hi in bounds[:-1])
    assert all(hi > lo for lo, hi in bounds)


@given(FLOATS)
def test_the_sum_of_squares_is_a_float64_one(gradient: np.ndarray) -> None:
    kept = gradient.copy()
    assert sum_of_squares(gradient) == pytest.approx(math.fsum(float(x) ** 2 for x in gradient), rel=1e-14)
    assert np.array_equal(gradient, kept)


def test_float64_does_not_lose_small_terms() -> None:
    gradient = np.array([1e4] + [1e-2] * 1000, np.float32)
    # In float32 every one of the thousand is lost beside 1e8.
    assert sum_of_squares(gradient) - 1e8 == pytest.approx(0.1, rel=1e-3)


@given(FLOATS)
def test_scratch_full_of_garbage_changes_nothing(gradient: np.ndarray) -> None:
    scratch = np.full(64, np.nan)
    assert sum_of_squares(gradient, scratch) == sum_of_squares(gradient)


def test_the_largest_floats_do_not_overflow() -> None:
    largest = float(np.finfo(np.float32).max)
    assert sum_of_squares(np.full(4, largest, np.float32)) == pytest.approx(4 * largest**2)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_broken_gradient_shows_in_the_norm(broken: float) -> None:
    gradient = np.array([1.0, broken, 2.0], np.float32)
    assert not math.isfinite(global_norm([1.0, sum_of_squares(gradient), 1.0]))


def test_the_norm_of_three_and_four_is_five() -> None:
    assert global_norm([9.0, 16.0]) == 5.0
    assert global_norm([]) == 0.0


def test_slice_sums_are_added_one_by_one_in_order() -> None:
    # A compensated sum would give the square root of 2.
    assert global_norm([1.0, 1e100, 1.0, -1e100]) == 0.0
    assert global_norm([1e100, -1e100, 1.0]) == 1.0


def test_a_large_gradient_is_brought_down_to_the_limit() -> None:
    assert clip_scale(10.0, 1.0) == pytest.approx(0.1)
    assert clip_scale(2.0, 1.0) == 1.0 / (2.0 + 1e-6)


def test_a_small_gradient_is_left_alone() -> None:
    assert clip_scale(0.5, 1.0) == 1.0
    assert clip_scale(0.0, 1.0) == 1.0


def test_zero_means_no_clipping() -> None:
    assert clip_scale(1e30, 0.0) == 1.0
