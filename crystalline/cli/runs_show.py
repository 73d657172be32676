"""`crystalline runs show`: everything that is known of one run."""

from __future__ import annotations

import json as json_format
from dataclasses import replace
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalline.cli.curves import chart, save_plot
from crystalline.cli.output import put_out
from crystalline.cli.runs import Json, Plot, Smooth  # noqa: TC001  (the same)
from crystalline.cli.tables import moment, number, printable, table, value
from crystalline.runs import Axis, Metric, curve_of, number_or_none, open_run, smoothed, summarise

if TYPE_CHECKING:
    from crystalline.runs import EpochRow, Run, RunSummary

__all__ = ["show"]

_NAMED_MAX = 8  # steps that are named one by one


def show(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that was --out of `crystalline train`.")
    ],
    *,
    smooth: Smooth = 1,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Show one run: settings, epochs, loss curve.

    Settings and weights are those of the latest checkpoint; steps and losses may be further. Steps that were
    skipped, and losses that were reported as spikes, are named.

    The text has the curve of the training loss; the file of --plot also has that of the validation loss.
    """
    run = open_run(folder)
    training = replace(smoothed(curve_of(run, Metric.LOSS, Axis.STEP), smooth), name="training")
    held_out = replace(curve_of(run, Metric.VAL_LOSS, Axis.STEP), name="validation")
    drawn = [curve for curve in (training, held_out) if curve.points()]
    save_plot(plot, drawn, Metric.LOSS, Axis.STEP)
    if json:
        put_out(json_format.dumps(_object(run), allow_nan=False))
        return
    parts = [_head(run, summarise(run)), _settings(run), _epochs(run), _incidents(run)]
    parts.append(chart([training], Metric.LOSS, Axis.STEP))
    put_out("\n\n".join("\n".join(part) for part in parts if part))


def _object(run: Run) -> dict[str, Any]:
    record = run.record
    return {
        **summarise(run).to_json(),
        "checkpoint_step": record.step if record else None,
        "data": record.data if record else None,
        "data_fingerprint": record.data_fingerprint if record else None,
        "settings": dict(record.settings) if record else {},
        "epochs": [_epoch_object(row) for row in run.metrics.epochs],
        "spikes": [row.step for row in run.metrics.steps if row.spike],
        "skipped": [
            {"step": row.step, "reason": row.skipped} for row in run.metrics.steps if row.skipped is not None
        ],
    }


def _epoch_object(row: EpochRow) -> dict[str, Any]:
    return {
        "epoch": row.epoch,
        "step": row.step,
        "train_loss": number_or_none(row.train_loss),
        "val_loss": number_or_none(row.val_loss),
        "tokens": number_or_none(row.tokens),
        "seconds": number_or_none(row.seconds),
    }


def _head(run: Run, summary: RunSummary) -> list[str]:
    record = run.record
    facts = [
        ("run", printable(run.name)),
        ("data", value(record.data if record else None)),
        ("fingerprint of data", value(record.data_fingerprint if record else None)),
        ("steps", f"{number(summary.steps, 'd')}, epoch {number(summary.epoch, 'd')}"),
        ("last loss", number(summary.last_loss)),
        ("best validation loss", number(summary.best_val_loss)),
        ("tokens/s", number(summary.tokens_per_s, ",.0f")),
        ("written", moment(summary.time)),
        ("checkpoint", f"step {number(record.step, 'd')}" if record else "none yet"),
        ("weights", value(summary.weights_sha256)),
    ]
    return _pairs(facts)


def _settings(run: Run) -> list[str]:
    if run.record is None:
        return []
    return _pairs([(printable(name), value(setting)) for name, setting in run.record.settings.items()])


def _pairs(facts: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in facts), default=0)
    return [f"{name:<{width}}  {fact}" for name, fact in facts]


def _epochs(run: Run) -> list[str]:
    rows = [
        [
            str(row.epoch),
            str(row.step),
            number(row.train_loss),
            number(row.val_loss),
            number(row.tokens, ",.0f"),
            number(row.tokens / row.seconds if row.seconds > 0 else None, ",.0f"),
            number(row.seconds, ".1f"),
        ]
        for row in run.metrics.epochs
    ]
    heads = ("epoch", "step", "train loss", "val loss", "tokens", "tokens/s", "seconds")
    return table(heads, rows, left=0) if rows else []


def _incidents(run: Run) -> list[str]:
    """What was unusual, a line each; many of a kind are counted."""
    skipped = [row for row in run.metrics.steps if row.skipped is not None]
    spikes = [f"step {row.step}: loss {number(row.loss)}" for row in run.metrics.steps if row.spike]
    lines = _some("spikes", spikes)
    return lines + _some("skipped", [f"step {row.step}: {printable(row.skipped or '')}" for row in skipped])


def _some(kind: str, texts: list[str]) -> list[str]:
    if not texts:
        return []
    more = [f"  and {len(texts) - _NAMED_MAX} more"] if len(texts) > _NAMED_MAX else []
    return [f"{kind}: {len(texts)}", *(f"  {text}" for text in texts[:_NAMED_MAX]), *more]
