"""How a run is going: what the progress display knows, without how it looks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystalline.training import StepDone

__all__ = ["Pace"]

_RECENT_STEPS: Final = 20


@dataclass(slots=True)
class Pace:
    """Running figures over the steps of a run.

    Attributes:
        last: the newest step, None before the first.
        epoch_loss: mean over the tokens of the epoch so far, nats.
    """

    last: StepDone | None = None
    epoch_loss: float = 0.0
    _epoch_tokens: int = 0
    _recent: deque[StepDone] = field(default_factory=lambda: deque(maxlen=_RECENT_STEPS))

    def take(self, step: StepDone) -> None:
        """Take in the next step."""
        if self.last is None or self.last.epoch != step.epoch:
            self._epoch_tokens = 0
        self._epoch_tokens += step.tokens
        share = step.tokens / max(self._epoch_tokens, 1)
        self.epoch_loss = share * step.loss + (1 - share) * self.epoch_loss
        self._recent.append(step)
        self.last = step

    @property
    def tokens_per_s(self) -> float:
        """Over the last twenty steps; 0 before the first."""
        seconds = sum(step.seconds for step in self._recent)
        return sum(step.tokens for step in self._recent) / seconds if seconds > 0 else 0.0

    @property
    def left_s(self) -> float:
        """Seconds until the last step, if all to come are like the last twenty; 0 before the first."""
        if self.last is None:
            return 0.0
        return (self.last.steps - self.last.step) * fmean(step.seconds for step in self._recent)

    @property
    def busy(self) -> list[float]:
        """For each sphere the part of the last twenty steps in which it computed; [] before the first."""
        return _means([step.busy for step in self._recent])

    @property
    def waiting(self) -> list[float]:
        """Likewise, the part in which it had work at hand but did not compute."""
        return _means([step.waiting for step in self._recent])


def _means(rows: Iterable[Sequence[float]]) -> list[float]:
    return [fmean(column) for column in zip(*rows, strict=True)]
