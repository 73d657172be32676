"""How far a run has come: what a checkpoint remembers besides the weights. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

from actors import message
from crystalline.training.spikes import RECENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.training.events import StepDone

__all__ = ["Progress"]


@message("crystalline.progress")
class Progress:
    """Where a run stands. Sums are kept over stops, so that a resumed epoch reports what a whole one does.

    Attributes:
        epoch: the last one in which a step was taken, 0 before the first.
        step: steps taken in the run, skipped ones included.
        step_in_epoch: steps taken in that epoch.
        updates: steps that changed the weights.
        validated: whether that epoch is over, its loss on the held-out text included.
        epoch_loss: summed cross-entropy of that epoch's tokens so far, nats.
        epoch_tokens: how many tokens those are.
        epoch_seconds: what its steps took.
        skipped: steps that did not change the weights.
        spikes: steps whose loss was far above those before.
        skipped_in_a_row: the latest steps that did not change the weights.
        recent_losses: of the latest steps, at most `RECENT`, nats per token; what a spike is measured by.
        metrics_bytes: length of the metrics file at this point.
    """

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    updates: int = 0
    validated: bool = False
    epoch_loss: float = 0.0
    epoch_tokens: int = 0
    epoch_seconds: float = 0.0
    skipped: int = 0
    spikes: int = 0
    skipped_in_a_row: int = 0
    recent_losses: tuple[float, ...] = ()
    metrics_bytes: int = 0

    def begun(self, epoch: int) -> Progress:
        """The same at the beginning of `epoch`, or in its middle if that is where it was stopped."""
        if self.epoch == epoch:
            return self
        return replace(
            self,
            epoch=epoch,
            step_in_epoch=0,
            validated=False,
            epoch_loss=0.0,
            epoch_tokens=0,
            epoch_seconds=0.0,
        )

    def after(self, done: StepDone) -> Progress:
        """The same after one more step."""
        further = replace(
            self,
            step=self.step + 1,
            step_in_epoch=self.step_in_epoch + 1,
            epoch_seconds=self.epoch_seconds + done.seconds,
        )
        if done.skipped:
            return replace(further, skipped=self.skipped + 1, skipped_in_a_row=self.skipped_in_a_row + 1)
        return replace(
            further,
            updates=self.updates + 1,
            epoch_loss=self.epoch_loss + done.loss * done.tokens,
            epoch_tokens=self.epoch_tokens + done.tokens,
            spikes=self.spikes + done.spike,
            skipped_in_a_row=0,
            recent_losses=(*self.recent_losses, done.loss)[-RECENT:],
        )

    @property
    def train_loss(self) -> float | None:
        """Mean cross-entropy of the epoch so far, nats per token; None without any step that counted."""
        return self.epoch_loss / self.epoch_tokens if self.epoch_tokens else None

    def to_json(self) -> dict[str, Any]:
        """As it stands in a checkpoint; floats survive to the last bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Progress:
        """Read what `to_json` made; other entries are ignored.

        Raises:
            ValueError: an entry is missing, of another type, negative or not finite.
        """
        found = {}
        for name in (field.name for field in fields(cls)):
            if name not in record:
                raise ValueError(f"{name} is missing")
            found[name] = _checked(name, record[name])
        progress = cls(**found)
        if not (progress.step_in_epoch <= progress.step and progress.updates <= progress.step):
            raise ValueError(f"{progress.step} steps cannot hold those of their epoch, or their updates")
        if progress.step and not progress.epoch:
            raise ValueError(f"{progress.step} steps cannot be of no epoch")
        return progress


_FLOATS = frozenset({"epoch_loss", "epoch_seconds"})


def _checked(name: str, value: Any) -> Any:
    if name == "validated":
        fits = isinstance(value, bool)
    elif name == "recent_losses":
        fits = isinstance(value, list) and len(value) <= RECENT and all(map(_is_number, value))
        value = tuple(value) if fits else value
    elif name in _FLOATS:
        fits = _is_number(value)
    else:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
    if not fits:
        raise ValueError(f"{name} cannot be {value!r:.80}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and value >= 0
