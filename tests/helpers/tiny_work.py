"""What a simulated training is made of: the smallest model that trains, a text, trees, and the jobs."""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from actors import JobToken
from crystalline.data import Windows
from crystalline.model import ModelConfig
from crystalline.training.plan import Run, TreePlan
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from random import Random

    from crystalline.model import Parameters
    from crystalline.training.memory import Target
    from crystalline.training.messages import ApplySlices, ComputeShards, ReduceSlices, Shards

__all__ = ["CONFIG", "PLANS", "REMEMBERED", "SHARDS", "SLICES", "TinyWork", "leaves_of", "text"]

CONFIG: Final = ModelConfig(vocab_size=13, dim=2, layers=1, heads=1, ffn_dim=2, seq_len=4)
SHARDS: Final = 12
# Twelve slices of the sixty weights: as many as the most leaves, so that every sphere has some of the update.
SLICES: Final = [(lo, lo + 5) for lo in range(0, CONFIG.parameter_count(), 5)]
# In an epoch two batches of twelve sequences and one of six, which leaves shards empty; three are held out.
TOKENS: Final = np.random.default_rng(7).integers(0, CONFIG.vocab_size, 33 * CONFIG.seq_len + 1)
# A job that was left behind writes each of its slices within so much time, about as long as two steps take.
LATE_WRITES_S: Final = 4.0


def text() -> Windows:
    """What all runs train on."""
    return Windows(TOKENS, CONFIG.seq_len, 0.1)


class NarrowPlan(TreePlan):
    """A tree with two spheres at most below each: a few of them are a deep tree."""

    def __post_init__(self) -> None:
        below: dict[int | None, tuple[int, ...]] = {None: tuple(range(min(2, self.spheres)))}
        for sphere in range(self.spheres):
            below[sphere] = tuple(range(2 * sphere + 2, min(2 * sphere + 4, self.spheres)))
        object.__setattr__(self, "below", below)


def leaves_of(plan: TreePlan) -> int:
    """How many spheres compute."""
    return sum(not plan.below[sphere] for sphere in range(plan.spheres))


PLANS: Final = (
    *map(TreePlan, (1, 2, 3, 4, 5, 13, 14)),
    *map(NarrowPlan, (3, 5, 6, 7)),
)


@dataclass(frozen=True, slots=True)
class Remembered:
    """Losses of shards, and gradients of nodes."""

    losses: bytes
    nodes: tuple[tuple[Run, bytes], ...]


REMEMBERED: dict[tuple[bytes, ...], Remembered] = {}
"""What `ShardWork.compute` returned, by all that it depends on. Other weights, by one bit, are computed."""


class TinyWork(ShardWork):
    """The jobs of a run, with small slices and, if wanted, with jobs that outlive their sphere.

    Args:
        loop: of the simulation.
        random: decides when a job that was left behind writes.
        heedless: whether it writes at all, slice by slice; else it notices, and ends. A thread does the one
            or the other, as it has looked at its token for the last time or has not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, random: Random, *, heedless: bool) -> None:
        super().__init__(CONFIG, shards=SHARDS, rows_max=1, weight_decay=0.1)
        self.slices = SLICES
        self._loop = loop
        self._random = random
        self._heedless = heedless

    def compute(self, token: JobToken, weights: Parameters, request: ComputeShards) -> Sums:
        """As that of every work, but nothing is computed twice."""
        token.check()
        numbers = bytes([request.lo, request.tokens_in_step])
        key = (weights.flat.tobytes(), numbers, _bytes(request.shards))
        if key not in REMEMBERED:
            sums = super().compute(token, weights, request)
            nodes = tuple((node, gradient.flat.tobytes()) for node, gradient in sums.nodes)
            REMEMBERED[key] = Remembered(sums.losses.tobytes(), nodes)
            return sums
        known = REMEMBERED[key]
        filled = [(node, self._filled(flat)) for node, flat in known.nodes]
        return Sums(np.frombuffer(known.losses).copy(), filled, 0.0)

    def _filled(self, flat: bytes) -> Parameters:
        gradient = self.gradients.take()
        gradient.flat[...] = np.frombuffer(flat, np.float32)
        return gradient

    def reduce(self, token: JobToken, target: Target, request: ReduceSlices) -> Any:
        """As that of every work."""
        self._leave_behind(token, request, functools.partial(super().reduce, Unheard(), target))
        return super().reduce(token, target, request)

    def apply(self, token: JobToken, target: Target, current: Any, request: ApplySlices) -> Any:
        """As that of every work."""
        self._leave_behind(token, request, functools.partial(super().apply, Unheard(), target, current))
        return super().apply(token, target, current, request)

    def _leave_behind(
        self, token: JobToken, request: ReduceSlices | ApplySlices, write: Callable[[Any], object]
    ) -> None:
        """If nobody waits any more, write all the same, one slice now and another then.

        Raises:
            JobAbandoned: so it is.
        """
        for at in range(*request.run) if token.cancelled and self._heedless else ():
            self._loop.call_later(
                self._random.uniform(0.0, LATE_WRITES_S), _in_silence, write, request.part((at, at + 1))
            )
        token.check()


class Unheard(JobToken):
    """The token of a job that does not look at it any more."""

    def __init__(self) -> None:
        super().__init__(math.inf)


def _in_silence(write: Callable[[Any], object], part: Any) -> None:
    """Whatever a job that was left behind finds wrong, nobody hears of it."""
    with contextlib.suppress(Exception):
        write(part)


def _bytes(shards: Shards) -> bytes:
    return b"|".join([shards.inputs.tobytes(), shards.targets.tobytes(), repr(shards.bounds).encode()])
