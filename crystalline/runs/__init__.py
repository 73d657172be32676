"""Training runs looked at afterwards: found, read, compared and drawn.

Two modules need an extra and are not imported here: `crystalline.runs.picture` (matplotlib) and
`crystalline.runs.tensorboard` (tensorboardX).
"""

from __future__ import annotations

from crystalline.runs.chart import LETTERS, draw
from crystalline.runs.compare import Comparison, Difference, Parting, Weights, compare_runs
from crystalline.runs.curves import Axis, Curve, Metric, curve_of, smoothed
from crystalline.runs.folder import Record, Run, find_runs, open_run
from crystalline.runs.metrics import EpochRow, Metrics, StepRow, parse_metrics, read_metrics
from crystalline.runs.summary import RunSummary, number_or_none, summarise

__all__ = [
    "LETTERS",
    "Axis",
    "Comparison",
    "Curve",
    "Difference",
    "EpochRow",
    "Metric",
    "Metrics",
    "Parting",
    "Record",
    "Run",
    "RunSummary",
    "StepRow",
    "Weights",
    "compare_runs",
    "curve_of",
    "draw",
    "find_runs",
    "number_or_none",
    "open_run",
    "parse_metrics",
    "read_metrics",
    "smoothed",
    "summarise",
]
