"""Curves of a run: which number, over what, and smoothed."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystalline.runs.folder import Run
    from crystalline.runs.metrics import Metrics

__all__ = ["Axis", "Curve", "Metric", "curve_of", "metric_by_step", "smoothed"]

_DRAWABLE_MAX: Final = 1e100  # beyond it differences and margins overflow; nothing can be seen there anyway


class Metric(StrEnum):
    """What a curve shows."""

    LOSS = "loss"
    VAL_LOSS = "val_loss"
    GRAD_NORM = "grad_norm"
    LR = "lr"


class Axis(StrEnum):
    """What it is drawn over: steps of the run, tokens trained on, or seconds of training."""

    STEP = "step"
    TOKENS = "tokens"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points to draw. A `y` that is nan is a gap.

    Attributes:
        name: of the run.
        xs: ascending.
        ys: as many.
    """

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]

    def points(self) -> list[tuple[float, float]]:
        """Those that are no gaps."""
        return [(x, y) for x, y in zip(self.xs, self.ys, strict=True) if not math.isnan(y)]


def metric_by_step(metrics: Metrics, metric: Metric) -> dict[int, float]:
    """Step -> value, in the order of the steps; nan where there is none. Validation is at ends of epochs."""
    if metric is Metric.VAL_LOSS:
        return {row.step: row.val_loss for row in metrics.epochs}
    return {row.step: getattr(row, metric.value) for row in metrics.steps}


def curve_of(run: Run, metric: Metric, axis: Axis) -> Curve:
    """One number of a run over its steps, tokens or seconds; tokens and seconds add up over the run."""
    values = metric_by_step(run.metrics, metric)
    place = _places(run.metrics, axis)
    ys = (value if abs(value) <= _DRAWABLE_MAX else math.nan for value in values.values())
    return Curve(run.name, tuple(map(place, values)), tuple(ys))


def _places(metrics: Metrics, axis: Axis) -> Callable[[int], float]:
    """Where a step stands on an axis."""
    if axis is Axis.STEP:
        return float
    numbers = [row.step for row in metrics.steps]
    known = (getattr(row, axis.value) for row in metrics.steps)
    sums = [0.0, *accumulate(value if 0 <= value <= _DRAWABLE_MAX else 0.0 for value in known)]
    return lambda step: sums[bisect_right(numbers, step)]


def smoothed(curve: Curve, window: int) -> Curve:
    """The mean of each point and those before it, `window` in all; gaps stay, and count for nothing.

    Args:
        curve: is not changed.
        window: 1 leaves every point as it is.

    Raises:
        SettingError: `window` is below 1.
    """
    if window < 1:
        raise SettingError(f"smooth is {window}: choose a number of points, 1 or more")
    return curve if window == 1 else replace(curve, ys=_means(curve.ys, window))


def _means(values: Sequence[float], window: int) -> tuple[float, ...]:
    # Each window is added afresh: after one enormous value, a running sum would have forgotten the others.
    means = []
    for end, value in enumerate(values, 1):
        held = [each for each in values[max(end - window, 0) : end] if not math.isnan(each)]
        means.append(math.nan if math.isnan(value) else math.fsum(held) / len(held))
    return tuple(means)
