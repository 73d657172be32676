"""The learning rate rises in a line, falls along a cosine, and minds its edges."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.optim import learning_rate

STEPS = st.integers(0, 60)


def rates(warmup: int, total: int, peak: float = 1.0) -> list[float]:
    return [learning_rate(step, peak=peak, warmup_steps=warmup, total_steps=total) for step in range(total)]


def test_warm_up_is_a_line_that_starts_above_zero() -> None:
    assert rates(4, 10)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_half_way_down_is_half_way_between_peak_and_floor() -> None:
    assert learning_rate(60, peak=2.0, warmup_steps=20, total_steps=100) == pytest.approx(1.1)


def test_the_cosine_is_the_papers() -> None:
    found = learning_rate(3, peak=1.0, warmup_steps=0, total_steps=8, floor_fraction=0.25)
    assert found == pytest.approx(0.25 + 0.5 * 0.75 * (1 + math.cos(math.pi * 3 / 8)))


def test_after_the_last_step_comes_the_floor() -> None:
    for step in (10, 11, 1000):
        assert learning_rate(step, peak=3.0, warmup_steps=2, total_steps=10) == pytest.approx(0.3)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert rates(0, 1) == [1.0]
    assert rates(0, 5)[0] == 1.0


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    assert rates(9, 4) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rates(4, 4) == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_a_peak_of_zero_is_always_zero() -> None:
    assert set(rates(3, 9, peak=0.0)) == {0.0}


@given(STEPS, st.integers(1, 60), st.floats(1e-6, 10))
def test_it_rises_then_falls_between_zero_and_the_peak(warmup: int, total: int, peak: float) -> None:
    found = rates(warmup, total, peak)
    assert all(0 < rate <= peak for rate in found)
    assert all(a < b for a, b in pairwise(found[: warmup + 1]))
    assert all(a > b for a, b in pairwise(found[warmup:]))
    assert all(rate >= 0.1 * peak for rate in found[warmup:])
