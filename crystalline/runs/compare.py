"""Several runs side by side: where their losses part, which settings differ, whether the weights agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from crystalline.runs.curves import Metric, metric_by_step
from crystalline.training.resume import NEUTRAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.runs.folder import Record, Run

__all__ = ["Comparison", "Difference", "Parting", "Weights", "compare_runs"]

_ROWS_MAX: Final = 12  # of the table; with the step where the losses part perhaps one more for each run


class Weights(StrEnum):
    """Whether the latest checkpoints of two runs hold the same weights."""

    SAME = "same"
    DIFFERENT = "different"
    OTHER_STEPS = "at different steps"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not the same in all runs.

    Attributes:
        name: of the setting.
        values: one for each run; None where it is not known.
        neutral: whether it changes no bit of a result, as the number of spheres does not.
    """

    name: str
    values: tuple[object, ...]
    neutral: bool


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the training losses of a run are no longer those of the first run, to the last bit.

    Attributes:
        step: the first common step with another loss; None when there is none.
        common: steps that both have recorded.
    """

    step: int | None
    common: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        rows: some of the steps that all runs have, and the metric there, one value for each run.
        common: how many steps all runs have.
        partings: of each run but the first.
        differences: of settings and data, of those runs in which these are known.
        weights: of each run but the first, beside those of the first.
    """

    rows: tuple[tuple[int, tuple[float, ...]], ...]
    common: int
    partings: tuple[Parting, ...]
    differences: tuple[Difference, ...]
    weights: tuple[Weights, ...]


def compare_runs(runs: Sequence[Run], metric: Metric) -> Comparison:
    """Compare runs with the first of them.

    Args:
        runs: one or more.
        metric: for the table. Where the runs part is always a matter of the training loss.
    """
    partings = tuple(_parting(runs[0], run) for run in runs[1:])
    tables = [metric_by_step(run.metrics, metric) for run in runs]
    common = sorted(set(tables[0]).intersection(*tables[1:]))
    wanted = {*_spread(common), *(parting.step for parting in partings)}
    return Comparison(
        rows=tuple((step, tuple(table[step] for table in tables)) for step in common if step in wanted),
        common=len(common),
        partings=partings,
        differences=tuple(_differences([run.record for run in runs])),
        weights=tuple(_weights(runs[0].record, run.record) for run in runs[1:]),
    )


def _parting(first: Run, other: Run) -> Parting:
    ours, theirs = (metric_by_step(run.metrics, Metric.LOSS) for run in (first, other))
    common = [step for step in ours if step in theirs]
    step = next((step for step in common if not _is_same(ours[step], theirs[step])), None)
    return Parting(step, len(common))


def _is_same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _spread(steps: Sequence[int]) -> set[int]:
    """The first, the last, and some between them."""
    last = len(steps) - 1
    if last < _ROWS_MAX:
        return set(steps)
    return {steps[round(index * last / (_ROWS_MAX - 1))] for index in range(_ROWS_MAX)}


def _differences(records: Sequence[Record | None]) -> list[Difference]:
    said = [_said(record) if record is not None else {} for record in records]
    names = dict.fromkeys(name for settings in said for name in settings)
    found = [Difference(name, tuple(each.get(name) for each in said), name in NEUTRAL) for name in names]
    known = [number for number, record in enumerate(records) if record is not None]
    return [each for each in found if any(each.values[number] != each.values[known[0]] for number in known)]


def _said(record: Record) -> dict[str, object]:
    return {
        "data": record.data,
        "data_fingerprint": record.data_fingerprint,
        **record.settings,
    }


def _weights(first: Record | None, other: Record | None) -> Weights:
    if first is None or other is None or first.weights_sha256 is None or other.weights_sha256 is None:
        return Weights.UNKNOWN
    if first.weights_sha256 == other.weights_sha256:
        return Weights.SAME
    return Weights.DIFFERENT if first.step == other.step else Weights.OTHER_STEPS
