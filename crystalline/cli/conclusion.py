"""The last words of `crystalline train`: for people, and for programs."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystalline.training import TrainReport

__all__ = ["conclusion", "json_line"]


def json_line(report: TrainReport) -> str:
    """The report as one line of JSON."""
    return json.dumps(report.to_json())


def conclusion(report: TrainReport) -> list[str]:
    """What was learned, where it is, and how to talk to it; one string a line."""
    end = "stopped early" if report.interrupted else "done"
    learned = f"{report.parameters:,} parameters, {report.tokens:,} tokens in {report.steps} steps"
    lines = [f"{end}: {learned}, {report.wall_s:.1f} s", *_losses(report)]
    if report.resting:
        lines.append(
            f"note: {report.resting} of {report.spheres} spheres rested, there were {report.shards} shards "
            "to share; more --shards would give them work"
        )
    if report.model is not None:
        talk = shlex.join(["crystalline", "generate", report.model, "--prompt", "The "])
        lines += [f"model: {report.model}", f"talk to it: {talk}"]
    return lines


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
