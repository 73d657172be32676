"""The spheres below one coordinator: who has which part of the work, also when some are lost. Pure."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from actors.notes import with_notes
from crystalline.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actors import ActorRef

__all__ = ["Setback", "Team", "split_run"]

Run = tuple[int, int]

LOGGER: Final = logging.getLogger("crystalline")


def split_run(run: Run, weights: Sequence[int]) -> list[Run]:
    """Cut a run of units into contiguous parts, in proportion to weights, as evenly as whole units allow.

    >>> split_run((0, 12), [1, 1, 2])
    [(0, 3), (3, 6), (6, 12)]
    """
    lo, units, total = run[0], run[1] - run[0], sum(weights)
    cuts, before = [lo], 0
    for weight in weights:
        before += weight
        cuts.append(lo + before * units // total)
    return list(pairwise(cuts))


@dataclass(frozen=True, slots=True)
class Setback:
    """Why a part of the work was not done.

    Attributes:
        story: in one line.
        notes: what else is known of it: who waited for whom just then, and who had asked for it.
    """

    story: str
    notes: tuple[str, ...] = ()

    def after(self, earlier: Setback | None) -> Setback:
        """The same, with what had happened to whoever it was before."""
        if earlier is None:
            return self
        notes = dict.fromkeys((*self.notes, *earlier.notes))
        return Setback(f"{self.story}; before that, {earlier.story}", tuple(notes))

    def error(self, what: str) -> TrainingError:
        """The error of a training that cannot go on after it."""
        return with_notes(TrainingError(f"{what}: {self.story}"), self.notes)


class Team:
    """The spheres below a coordinator, in order, without those that are lost for good.

    Args:
        members: how many leaves each of them stands for.
        redistribute: whether the others take over what one that is lost should have done.
    """

    def __init__(self, members: Mapping[ActorRef[Any], int], *, redistribute: bool) -> None:
        self._members = dict(members)
        self._redistribute = redistribute

    @property
    def refs(self) -> tuple[ActorRef[Any], ...]:
        """Those that are left."""
        return tuple(self._members)

    def share(self, run: Run) -> list[tuple[ActorRef[Any], Run]]:
        """Who does which part of a run; those for whom nothing is left are not named."""
        parts = zip(self._members, split_run(run, list(self._members.values())), strict=True)
        return [(ref, part) for ref, part in parts if part[0] < part[1]]

    def lose(self, ref: ActorRef[Any], setback: Setback) -> None:
        """Go on without one that is lost for good.

        Raises:
            TrainingError: the others are not to take over, or there are none.
        """
        if not self._redistribute:
            raise setback.error(f"{ref} could not do its part")
        if self._members.pop(ref, None) is None:
            return  # it had been asked for two parts, and both tell the same
        if not self._members:
            raise setback.error(f"{ref} was the last one left, and could not do its part")
        LOGGER.warning("%s is lost, the others do its part from now on: %s", ref, setback.story)
