"""What the lines of metrics.jsonl say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalline.training.events import StepDone
    from crystalline.training.messages import EpochReport

__all__ = ["epoch_record", "step_record"]


def step_record(done: StepDone) -> dict[str, Any]:
    """The line of a step; loss and norm of a skipped one are null."""
    record: dict[str, Any] = {
        "kind": "step",
        "step": done.step,
        "epoch": done.epoch,
        "loss": None if done.skipped else done.loss,
        "grad_norm": None if done.skipped else done.grad_norm,
        "lr": done.learning_rate,
        "tokens": done.tokens,
        "seconds": done.seconds,
        "time": time.time(),
    }
    if done.spike:
        record["spike"] = True
    if done.skipped:
        record["skipped"] = done.skipped
    return record


def epoch_record(report: EpochReport) -> dict[str, Any]:
    """The line of an epoch that is over."""
    return {
        "kind": "epoch",
        "epoch": report.epoch,
        "step": report.step,
        "train_loss": report.train_loss,
        "val_loss": report.val_loss,
        "tokens": report.tokens,
        "seconds": report.seconds,
        "time": time.time(),
    }
