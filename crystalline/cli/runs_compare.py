"""`crystalline runs compare`: several runs side by side."""

from __future__ import annotations

import json as json_format
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from crystalline.cli.curves import chart, lettered, save_plot
from crystalline.cli.output import put_out
from crystalline.cli.runs import Json, Plot, Smooth  # noqa: TC001  (the same)
from crystalline.cli.tables import number, printable, short_hash, table, value
from crystalline.errors import SettingError
from crystalline.runs import (
    LETTERS,
    Axis,
    Metric,
    Weights,
    compare_runs,
    curve_of,
    number_or_none,
    open_run,
    smoothed,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.runs import Comparison, Difference, Parting, Run

__all__ = ["compare"]

_WEIGHTS: Final = {
    Weights.SAME: "the same weights to the last bit",
    Weights.DIFFERENT: "different weights",
    Weights.OTHER_STEPS: "weights not compared, their checkpoints are of different steps",
    Weights.UNKNOWN: "weights not compared, there is no checkpoint",
}
_FORMS: Final = {Metric.LR: ".3e"}


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...", help="Two folders or more; the first is what others are compared with."
        ),
    ],
    *,
    metric: Annotated[Metric, typer.Option(help="What the table and the curves show.")] = Metric.LOSS,
    by: Annotated[Axis, typer.Option(help="What the curves are drawn over.")] = Axis.STEP,
    smooth: Smooth = 1,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Compare runs: losses, settings, weights.

    The same settings, data and seed give the same losses to the last bit, whatever the number of spheres.
    So the first step at which the losses of two runs part says where to look.

    The table has some of the steps that all runs have, those at which losses part among them.
    """
    _check_count(len(folders))
    runs = [open_run(folder) for folder in folders]
    curves = lettered([smoothed(curve_of(run, metric, by), smooth) for run in runs])
    compared = compare_runs(runs, metric)
    save_plot(plot, curves, metric, by)
    if json:
        put_out(json_format.dumps(_object(runs, compared, metric), allow_nan=False))
        return
    parts = [
        _names(runs),
        _settings(compared.differences, len(runs)),
        _verdict(compared),
        _losses(compared, metric),
        chart(curves, metric, by),
    ]
    put_out("\n\n".join("\n".join(part) for part in parts))


def _check_count(count: int) -> None:
    if not 2 <= count <= len(LETTERS):  # noqa: PLR2004  (one run cannot be compared)
        raise SettingError(f"got {count} run(s) to compare: name from 2 to {len(LETTERS)} run folders")


def _object(runs: Sequence[Run], compared: Comparison, metric: Metric) -> dict[str, Any]:
    return {
        "metric": metric.value,
        "runs": [
            {**summarise(run).to_json(), "checkpoint_step": run.record.step if run.record else None}
            for run in runs
        ],
        "settings": {each.name: list(each.values) for each in compared.differences},
        "neutral": [each.name for each in compared.differences if each.neutral],
        "weights": [weights.value for weights in compared.weights],
        "parts_at": [parting.step for parting in compared.partings],
        "common_steps": compared.common,
        "table": [
            {"step": step, "values": [number_or_none(amount) for amount in amounts]}
            for step, amounts in compared.rows
        ],
    }


def _names(runs: Sequence[Run]) -> list[str]:
    rows = [
        [
            letter,
            printable(run.name),
            number(summary.steps, "d"),
            number(summary.last_loss),
            number(summary.best_val_loss),
            number(run.record.step if run.record else None, "d"),
            short_hash(summary.weights_sha256),
        ]
        for letter, run in zip(LETTERS, runs, strict=False)
        for summary in [summarise(run)]
    ]
    return table(("", "run", "steps", "last loss", "best val loss", "checkpoint", "weights"), rows, left=2)


def _settings(differences: Sequence[Difference], count: int) -> list[str]:
    if not differences:
        return ["settings and data: no difference known"]
    rows = [
        [each.name, *map(value, each.values), "changes no bit" if each.neutral else ""]
        for each in differences
    ]
    return table(("settings that differ", *LETTERS[:count], ""), rows, left=count + 2)


def _verdict(compared: Comparison) -> list[str]:
    others = zip(LETTERS[1:], compared.partings, compared.weights, strict=False)
    return [
        f"{LETTERS[0]} and {letter}: {_parting(parting)}; {_WEIGHTS[weights]}"
        for letter, parting, weights in others
    ]


def _parting(parting: Parting) -> str:
    if not parting.common:
        return "no common step"
    if parting.step is None:
        return f"losses equal to the last bit in all {parting.common} common steps"
    return f"losses part at step {parting.step}"


def _losses(compared: Comparison, metric: Metric) -> list[str]:
    if not compared.rows:
        return [f"no common step with {metric.value}"]
    form = _FORMS.get(metric, ".6f")
    rows = [[str(step), *(number(each, form) for each in amounts)] for step, amounts in compared.rows]
    count = len(compared.rows[0][1])
    return table((f"{metric.value} at step", *LETTERS[:count]), rows, left=0)
