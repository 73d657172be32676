"""The last words of `crystalline train`: for people, and for programs."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystalline.training import TrainReport

__all__ = ["conclusion", "json_line", "whereabouts"]


def json_line(report: TrainReport) -> str:
    """The report as one line of JSON."""
    return json.dumps(report.to_json())


def conclusion(report: TrainReport) -> list[str]:
    """What was learned; one string a line."""
    end = "stopped early" if report.interrupted else "done"
    learned = f"{report.parameters:,} parameters, {report.tokens:,} tokens in {report.steps} steps"
    lines = [f"{end}: {learned}, {report.wall_s:.1f} s", *_losses(report)]
    if report.skipped:
        lines.append(f"note: {report.skipped} steps were skipped, because a number was not finite")
    if report.spikes:
        lines.append(f"note: in {report.spikes} steps the loss stood out; see spike in metrics.jsonl")
    if report.resting:
        lines.append(
            f"note: {report.resting} of {report.spheres} spheres rested, there were {report.shards} shards "
            "to share; more --shards would give them work"
        )
    return lines


def whereabouts(report: TrainReport) -> list[str]:
    """Where the model is, and how to talk to it; to be copied, hence never to be broken over lines.

    Returns:
        One string a line; none when the run kept no files.
    """
    if report.model is None:
        return []
    folder = shlex.quote(report.model)
    further = [f"go on: crystalline train --resume {folder}"] if report.interrupted else []
    return [
        f"model: {report.model}",
        f"talk to it: crystalline generate {folder} --prompt 'The'",
        *further,
    ]


def _losses(report: TrainReport) -> list[str]:
    lines = []
    if report.train_loss is not None:
        lines.append(f"training loss: {report.train_loss:.3f} nats per token in the last epoch")
    if report.val_loss is not None and report.unigram_loss is not None:
        lines.append(
            f"validation loss: {report.val_loss:.3f} nats per token, against {report.unigram_loss:.3f} "
            "of the unigram distribution of the training tokens"
        )
    return lines
