"""Who sits where in the tree, and who does which part of the work. Pure.

Work is a row of units: the shards of a batch, or the slices of the flat buffer. Whoever has a run of them
shares it out among its children in contiguous runs, to each in proportion to the leaves it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from crystalline.lattice import children
from crystalline.training.team import split_run

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TreePlan", "steps_planned"]

Run = tuple[int, int]


@dataclass(frozen=True)
class TreePlan:
    """The tree of a run.

    Attributes:
        spheres: how many there are, at least 1.
    """

    spheres: int
    below: dict[int | None, tuple[int, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "below", children(self.spheres))

    @cached_property
    def leaves(self) -> dict[int, int]:
        """For each sphere how many of those that compute it stands for: itself, or all below it."""
        counts: dict[int, int] = {}
        for sphere in reversed(range(self.spheres)):  # a parent's index is below its children's
            counts[sphere] = sum(counts[child] for child in self.below[sphere]) or 1
        return counts

    def runs(self, units: int) -> dict[int, Run]:
        """Which of `units` units each sphere is responsible for, as [lo, hi), while none is lost."""
        found: dict[int | None, Run] = {None: (0, units)}
        for parent in (None, *range(self.spheres)):
            below = self.below[parent]
            if below:
                parts = split_run(found[parent], [self.leaves[child] for child in below])
                found.update(zip(below, parts, strict=True))
        return {sphere: found[sphere] for sphere in range(self.spheres)}

    def resting(self, shards: int) -> list[int]:
        """Leaves that get no shard because there are more of them than shards."""
        runs = self.runs(shards)
        return [leaf for leaf, (lo, hi) in runs.items() if lo == hi and not self.below[leaf]]


def steps_planned(steps_per_epoch: int, epochs: int, most: int | None) -> list[int]:
    """Steps of each epoch that will be begun.

    >>> steps_planned(10, 3, 15)
    [10, 5]
    """
    total = steps_per_epoch * epochs if most is None else min(most, steps_per_epoch * epochs)
    counts: Iterable[int] = (min(steps_per_epoch, total - done) for done in range(0, total, steps_per_epoch))
    return list(counts)
