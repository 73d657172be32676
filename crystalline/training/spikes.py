"""Loss spikes: steps whose loss stands out from those just before. Pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RECENT", "is_spike"]

RECENT: Final = 64
"""Steps that a loss is compared with."""

_ENOUGH: Final = 16
# The median absolute deviation of a normal distribution is this part of its standard deviation.
_DEVIATIONS: Final = 0.6745
_SIGMAS: Final = 8.0
_NATS: Final = 0.3


def is_spike(loss: float, recent: Sequence[float]) -> bool:
    """Whether a step's loss is far above the median of the steps before it.

    Far is eight robust standard deviations (median absolute deviation, Hampel 1974), and at least 0.3 nats:
    when the losses hardly differ, nothing that small is worth a word.

    Args:
        loss: of the step, nats per token.
        recent: losses of the steps before it. Of fewer than sixteen nothing follows.
    """
    if len(recent) < _ENOUGH:
        return False
    usual = median(recent)
    sigma = median(abs(each - usual) for each in recent) / _DEVIATIONS
    return loss - usual > max(_SIGMAS * sigma, _NATS)
