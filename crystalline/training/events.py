"""What a training run tells whoever holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors import message

__all__ = ["EpochDone", "Event", "Saved", "SphereTime", "StepDone", "TrainReport"]


@message("crystalline.step_done")
class StepDone:
    """One optimizer step was taken.

    Attributes:
        epoch: the epoch it belongs to, from 1.
        epochs: planned.
        step: counted over the whole run, from 1.
        steps: planned in the whole run.
        loss: mean cross-entropy over the step's tokens, nats.
        grad_norm: of the gradient, before clipping.
        learning_rate: of this step.
        tokens: real tokens in the step.
        seconds: how long it took.
        busy: for each sphere the part of that time in which it computed.
        waiting: for each sphere the part in which it had work at hand but did not compute, as in
            `SphereTime`.
        skipped: why the step did not change the weights; empty when it did. Then loss and norm mean nothing.
        spike: whether the loss is far above those of the steps before.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    tokens: int
    seconds: float
    busy: tuple[float, ...]
    waiting: tuple[float, ...]
    skipped: str = ""
    spike: bool = False

    @property
    def idle(self) -> tuple[float, ...]:
        """For each sphere the rest of that time."""
        parts = zip(self.busy, self.waiting, strict=True)
        return tuple(max(0.0, 1.0 - busy - waiting) for busy, waiting in parts)


@message("crystalline.sphere_time")
class SphereTime:
    """How one sphere spent an epoch.

    Attributes:
        name: `sphere-0` and so on.
        busy_s: seconds computing.
        waiting_s: seconds with work at hand but not computing: for a thread, or for the spheres below.
        idle_s: the rest.
    """

    name: str
    busy_s: float
    waiting_s: float
    idle_s: float


@message("crystalline.epoch_done")
class EpochDone:
    """An epoch is over, validation included.

    Attributes:
        epoch: its number, from 1.
        epochs: planned.
        step: steps of the run so far.
        train_loss: mean cross-entropy over the epoch's training tokens, nats; None when every step was
            skipped.
        val_loss: the same over held-out tokens, after the epoch; None without any.
        tokens: training tokens of the epoch.
        seconds: how long its training part took.
        spheres: how each sphere spent it.
    """

    epoch: int
    epochs: int
    step: int
    train_loss: float | None
    val_loss: float | None
    tokens: int
    seconds: float
    spheres: tuple[SphereTime, ...]


@message("crystalline.saved")
class Saved:
    """A checkpoint is complete on disk.

    Attributes:
        folder: the checkpoint.
        step: steps of the run in it.
        weights_sha256: hash of its weights.
    """

    folder: str
    step: int
    weights_sha256: str


Event = StepDone | EpochDone | Saved


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """How a run ended.

    Attributes:
        epochs: begun.
        steps: taken, those before a resume included.
        tokens: trained on in this run of the program, over all its epochs.
        train_loss: of the last finished epoch, nats per token; None when none was finished.
        val_loss: likewise; None also without held-out text.
        unigram_loss: cross-entropy of the held-out tokens under the frequencies of the training tokens.
        tokens_per_s: training tokens over the time of the training steps.
        wall_s: from the first step to the last, validation and checkpoints included.
        spheres: in the tree.
        shards: a batch was cut into.
        parameters: of the model.
        model: the folder of the model; None when the run kept no files.
        weights_sha256: of the weights at the end.
        sphere_busy: for each sphere the part of the training time in which it computed.
        sphere_waiting: likewise, with work at hand but not computing: for a thread, or for the spheres below.
        sphere_idle: the rest.
        peak_rss_bytes: the most memory that the process had in use since it was started, whatever for.
        planned_bytes: what the buffers of the run take, see `Footprint`.
        resting: spheres that had no shard.
        skipped: steps that did not change the weights, because a number was not finite.
        spikes: steps whose loss was far above those before.
        interrupted: whether the run was stopped before its planned end.
    """

    epochs: int
    steps: int
    tokens: int
    train_loss: float | None
    val_loss: float | None
    unigram_loss: float | None
    tokens_per_s: float
    wall_s: float
    spheres: int
    shards: int
    parameters: int
    model: str | None
    weights_sha256: str
    sphere_busy: list[float]
    sphere_waiting: list[float]
    sphere_idle: list[float]
    peak_rss_bytes: int
    planned_bytes: int
    resting: int
    skipped: int
    spikes: int
    interrupted: bool

    def to_json(self) -> dict[str, Any]:
        """The summary that `crystalline train --json` prints."""
        keys = (
            "epochs steps tokens train_loss val_loss tokens_per_s wall_s spheres shards parameters model "
            "weights_sha256 sphere_busy sphere_waiting sphere_idle peak_rss_bytes planned_bytes"
        )
        return {key: getattr(self, key) for key in keys.split()}
