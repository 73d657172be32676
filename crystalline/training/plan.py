"""Who sits where in the tree, and who does which part of the work. Pure.

Work is a row of units: the shards of a batch, or the slices of the flat buffer. The leaves of the tree, in
depth-first order, share it in contiguous runs; a sphere with children is responsible for the runs of all
leaves below it, which are contiguous too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from crystalline.lattice import children, leaves_in_order

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
    def leaf_ranges(self) -> dict[int, Run]:
        """For each sphere the range of leaves, by depth-first position, that it is responsible for."""
        ranges: dict[int, Run] = {leaf: (at, at + 1) for at, leaf in enumerate(leaves_in_order(self.spheres))}
        for sphere in reversed(range(self.spheres)):  # a parent's index is below its children's
            if self.below[sphere]:
                inner = [ranges[child] for child in self.below[sphere]]
                ranges[sphere] = (inner[0][0], inner[-1][1])
        return ranges

    @property
    def leaves(self) -> int:
        """How many spheres have no children: those that compute."""
        return sum(not self.below[sphere] for sphere in range(self.spheres))

    def run(self, sphere: int, units: int) -> Run:
        """Which of `units` units a sphere is responsible for, as [lo, hi); empty when it rests."""
        first, last = self.leaf_ranges[sphere]
        return first * units // self.leaves, last * units // self.leaves

    def children_at_work(self, sphere: int | None, units: int) -> list[tuple[int, Run]]:
        """The children of a sphere (None: of Root) that have work, with their runs."""
        runs = [(child, self.run(child, units)) for child in self.below[sphere]]
        return [(child, run) for child, run in runs if run[0] < run[1]]

    def resting(self, shards: int) -> list[int]:
        """Leaves that get no shard because there are more of them than shards."""
        leaves = (sphere for sphere in range(self.spheres) if not self.below[sphere])
        return [leaf for leaf in leaves if len(range(*self.run(leaf, shards))) == 0]


def steps_planned(steps_per_epoch: int, epochs: int, most: int | None) -> list[int]:
    """Steps of each epoch that will be begun.

    >>> steps_planned(10, 3, 15)
    [10, 5]
    """
    total = steps_per_epoch * epochs if most is None else min(most, steps_per_epoch * epochs)
    counts: Iterable[int] = (min(steps_per_epoch, total - done) for done in range(0, total, steps_per_epoch))
    return list(counts)
