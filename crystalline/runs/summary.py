"""A run in one row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystalline.runs.folder import Run

__all__ = ["RunSummary", "number_or_none", "summarise"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a list says of a run. What is not known is None, and a number that is not known is nan.

    Attributes:
        name: the run folder.
        steps: taken.
        epoch: the last one in which a step was taken.
        last_loss: of the last step that has one, nats per token.
        best_val_loss: the lowest after any epoch.
        tokens_per_s: tokens over the time of the training steps.
        spheres: that trained it.
        time: seconds since 1970 when its metrics or its checkpoint were last written.
        weights_sha256: of the latest checkpoint.
    """

    name: str
    steps: int | None
    epoch: int | None
    last_loss: float
    best_val_loss: float
    tokens_per_s: float
    spheres: int | None
    time: float
    weights_sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """An object for JSON: null is what is not known."""
        return {
            "run": self.name,
            "steps": self.steps,
            "epoch": self.epoch,
            "last_loss": number_or_none(self.last_loss),
            "best_val_loss": number_or_none(self.best_val_loss),
            "tokens_per_s": number_or_none(self.tokens_per_s),
            "spheres": self.spheres,
            "time": number_or_none(self.time),
            "weights_sha256": self.weights_sha256,
        }


def number_or_none(value: float) -> float | None:
    """The number when it is finite, which is what JSON has numbers for."""
    return value if math.isfinite(value) else None


def summarise(run: Run) -> RunSummary:
    """What a list says of a run. Metrics may be ahead of the checkpoint: they count."""
    steps, epochs, record = run.metrics.steps, run.metrics.epochs, run.record
    losses = [row.loss for row in steps if math.isfinite(row.loss)]
    val_losses = [row.val_loss for row in epochs if math.isfinite(row.val_loss)]
    times = [row.time for rows in (steps, epochs) for row in rows[-1:] if math.isfinite(row.time)]
    spheres = record.settings.get("spheres") if record is not None else None
    return RunSummary(
        name=run.name,
        steps=steps[-1].step if steps else record.step if record else None,
        epoch=steps[-1].epoch if steps else record.epoch if record else None,
        last_loss=losses[-1] if losses else math.nan,
        best_val_loss=min(val_losses, default=math.nan),
        tokens_per_s=_speed(run),
        spheres=spheres if isinstance(spheres, int) else None,
        time=max(times, default=record.saved if record else math.nan),
        weights_sha256=record.weights_sha256 if record else None,
    )


def _speed(run: Run) -> float:
    timed = [row for row in run.metrics.steps if math.isfinite(row.tokens) and math.isfinite(row.seconds)]
    seconds = math.fsum(row.seconds for row in timed)
    return math.fsum(row.tokens for row in timed) / seconds if seconds > 0 else math.nan
