"""By how much saving holds training up, from when its steps ended. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Moment", "Stalls", "stalls_of"]


@dataclass(frozen=True, slots=True)
class Moment:
    """The end of a step.

    Attributes:
        step: its number.
        at_s: when it ended.
        seconds: how long it took by itself, without what lay between it and the step before.
    """

    step: int
    at_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Stalls:
    """What saving cost.

    Attributes:
        stalls_ms: how much longer than usual the pause was before the step behind each save.
        pause_ms: the usual pause between two steps, the median of those without a save.
        written_ms: from the end of the step that was saved until its checkpoint was on the disk.
        beside_ms: steps that began while a checkpoint was written.
        alone_ms: the others.
    """

    stalls_ms: tuple[float, ...]
    pause_ms: float
    written_ms: tuple[float, ...]
    beside_ms: tuple[float, ...]
    alone_ms: tuple[float, ...]

    @property
    def slowdown(self) -> float | None:
        """How many times as long as the others steps beside a writing take, by the medians."""
        if not self.beside_ms or not self.alone_ms:
            return None
        return statistics.median(self.beside_ms) / statistics.median(self.alone_ms)


def stalls_of(moments: Sequence[Moment], saved_at_s: Mapping[int, float]) -> Stalls:
    """Tell pauses with a save from those without.

    Args:
        moments: the ends of successive steps of one epoch.
        saved_at_s: steps that were saved -> when their checkpoint was on the disk.
    """
    pauses = [
        (before, after, (after.at_s - before.at_s - after.seconds) * 1e3)
        for before, after in pairwise(moments)
    ]
    usual_ms = statistics.median(ms for before, _, ms in pauses if before.step not in saved_at_s)
    writing = [(moment.at_s, saved_at_s[moment.step]) for moment in moments if moment.step in saved_at_s]
    beside: list[float] = []
    alone: list[float] = []
    for _, after, _ in pauses:
        begun_s = after.at_s - after.seconds
        in_writing = any(begin_s <= begun_s < end_s for begin_s, end_s in writing)
        (beside if in_writing else alone).append(after.seconds * 1e3)
    return Stalls(
        stalls_ms=tuple(ms - usual_ms for before, _, ms in pauses if before.step in saved_at_s),
        pause_ms=usual_ms,
        written_ms=tuple((end_s - begin_s) * 1e3 for begin_s, end_s in writing),
        beside_ms=tuple(beside),
        alone_ms=tuple(alone),
    )
