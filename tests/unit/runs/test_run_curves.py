"""Which numbers become points, where they stand, and what smoothing does to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import SettingError
from crystalline.runs import Axis, Curve, Metric, Run, curve_of, parse_metrics, smoothed
from tests.helpers.run_folders import encoded, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN = math.nan


def run_with(losses: Sequence[float | None]) -> Run:
    return Run("run", parse_metrics(encoded(lines(losses)), "m"), None)


@pytest.mark.parametrize(
    ("metric", "ys"),
    [
        (Metric.LOSS, (5.0, 4.0, 3.0, 2.0, 1.0)),
        (Metric.GRAD_NORM, (1.5, 2.5, 3.5, 4.5, 5.5)),
        (Metric.LR, (0.001, 0.002, 0.003, 0.004, 0.005)),
        (Metric.VAL_LOSS, (2.25,)),
    ],
)
def test_a_metric_is_a_curve(metric: Metric, ys: tuple[float, ...]) -> None:
    assert curve_of(run_with([5.0, 4.0, 3.0, 2.0, 1.0]), metric, Axis.STEP).ys == ys


@pytest.mark.parametrize(
    ("axis", "xs"),
    [
        (Axis.STEP, (1.0, 2.0, 3.0, 4.0, 5.0)),
        (Axis.TOKENS, (100.0, 200.0, 300.0, 400.0, 500.0)),
        (Axis.SECONDS, (0.5, 1.0, 1.5, 2.0, 2.5)),
    ],
)
def test_tokens_and_seconds_add_up(axis: Axis, xs: tuple[float, ...]) -> None:
    run = run_with([5.0, 4.0, 3.0, 2.0, 1.0])
    assert curve_of(run, Metric.LOSS, axis).xs == xs
    assert curve_of(run, Metric.VAL_LOSS, axis).xs == (xs[3],), "of the epoch's last step"


def test_a_skipped_step_is_a_gap_and_so_is_what_no_chart_can_hold() -> None:
    curve = curve_of(run_with([5.0, None, 1e200, 2.0]), Metric.LOSS, Axis.STEP)
    assert curve.points() == [(1.0, 5.0), (4.0, 2.0)]
    assert len(curve.ys) == 4


def test_each_point_becomes_the_mean_of_the_last_ones() -> None:
    curve = Curve("run", (1, 2, 3, 4, 5), (4.0, 2.0, NAN, 6.0, 7.0))
    assert smoothed(curve, 2).points() == [(1, 4.0), (2, 3.0), (4, 6.0), (5, 6.5)]
    assert smoothed(curve, 3).points() == [(1, 4.0), (2, 3.0), (4, 4.0), (5, 6.5)]
    assert smoothed(curve, 1) is curve


def test_a_spike_is_forgotten_when_it_has_left_the_window() -> None:
    curve = Curve("run", (1, 2, 3, 4), (1.0, 1e30, 1.0, 3.0))
    assert smoothed(curve, 2).ys[3] == 2.0


@given(st.lists(st.floats(-100, 100) | st.just(NAN)), st.integers(1, 9))
def test_smoothing_stays_within_what_it_smooths(values: list[float], window: int) -> None:
    curve = smoothed(Curve("run", tuple(map(float, range(len(values)))), tuple(values)), window)
    assert [math.isnan(y) for y in curve.ys] == [math.isnan(value) for value in values]
    for end, mean in enumerate(curve.ys, 1):
        held = [value for value in values[max(end - window, 0) : end] if not math.isnan(value)]
        assert math.isnan(mean) or min(held) - 1e-9 <= mean <= max(held) + 1e-9


@pytest.mark.parametrize("window", [0, -3])
def test_no_window_is_refused(window: int) -> None:
    with pytest.raises(SettingError, match="smooth"):
        smoothed(Curve("run", (), ()), window)
