"""Quantiles of times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Quantiles"]


class Quantiles(NamedTuple):
    """How long something took each time.

    Exact, by nearest rank: the shortest of the times that so many of them do not exceed. All are 0 when it
    never happened.

    Attributes:
        times: how often it happened.
        total_s: all times together, in seconds.
        p50_s: half of them took no longer.
        p99_s: 99 of 100 took no longer.
        max_s: none took longer.
    """

    times: int = 0
    total_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0

    @classmethod
    def of(cls, times_s: Iterable[float]) -> Quantiles:
        """Those of some times, in any order."""
        ordered = sorted(times_s)
        if not ordered:
            return cls()
        number = len(ordered)
        p50_s, p99_s = (ordered[math.ceil(number * hundredths / 100) - 1] for hundredths in (50, 99))
        return cls(number, math.fsum(ordered), p50_s, p99_s, ordered[-1])
