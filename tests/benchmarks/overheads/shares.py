"""Where the time of the threads goes in real steps: arithmetic, sums, waiting for each other, messages."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

from crystalline.model import loss_and_gradient
from crystalline.optim import adamw_update
from crystalline.training import StepDone, Trainer, prepare, work
from crystalline.training.root import Root
from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crystalline.model import ModelConfig
    from tests.benchmarks.exact.sizes import Sizes

__all__ = ["PARTS", "Job", "StepTimes", "measure", "parts_of"]

PARTS = ("arithmetic", "additions", "reduction", "checks", "messages", "imbalance")
"""What the time of the threads is divided into; see `parts_of`."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a step.

    Attributes:
        kind: `compute`, `reduce` or `apply`.
        begun_s: when its thread began.
        ended_s: when it ended.
        arithmetic_s: seconds in forward and backward passes, or in AdamW.
        additions_s: seconds in sums of gradients within the sphere.
    """

    kind: str
    begun_s: float
    ended_s: float
    arithmetic_s: float = 0.0
    additions_s: float = 0.0


@dataclass(slots=True)
class StepTimes:
    """What was seen of one step.

    Attributes:
        wall_s: from the end of the step before to its own.
        batch_s: seconds in which the next batch was made, in a thread beside those of the spheres.
        jobs: all of them.
    """

    wall_s: float = 0.0
    batch_s: float = 0.0
    jobs: list[Job] = field(default_factory=list)


def parts_of(step: StepTimes, threads: int) -> dict[str, float]:
    """Seconds of so many threads, by `PARTS`; together they are `threads` times the step's wall time.

    `checks` are what jobs do beside arithmetic and sums, `imbalance` is what a thread waits for the last one
    of the same kind of job, and `messages` is all that is left while no job of its sphere is at work.
    """
    of_kind: dict[str, list[Job]] = defaultdict(list)
    for job in step.jobs:
        of_kind[job.kind].append(job)
    length = {
        kind: sum(job.ended_s - job.begun_s for job in of_kind[kind])
        for kind in ("compute", "reduce", "apply")
    }
    found = {
        "arithmetic": sum(job.arithmetic_s for job in step.jobs),
        "additions": sum(job.additions_s for job in step.jobs),
        "reduction": length["reduce"],
        "imbalance": sum(
            max(job.ended_s for job in jobs) - job.ended_s for jobs in of_kind.values() for job in jobs
        ),
    }
    found["checks"] = length["compute"] + length["apply"] - found["arithmetic"] - found["additions"]
    found["messages"] = threads * step.wall_s - sum(found.values())
    return {part: found[part] for part in PARTS}


class Stopwatch:
    """Counts the seconds in calls, in each thread for itself."""

    def __init__(self) -> None:
        self._own = threading.local()

    def around(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun_s = time.perf_counter()
            try:
                return fn(*args, **kwargs)
            finally:
                self._own.seconds = getattr(self._own, "seconds", 0.0) + time.perf_counter() - begun_s

        return timed

    def take(self) -> float:
        """Seconds of this thread since it was asked before."""
        seconds: float = getattr(self._own, "seconds", 0.0)
        self._own.seconds = 0.0
        return seconds


class TimedWork(ShardWork):
    """The jobs of a run, which write down how long they took.

    Args:
        config: as for `ShardWork`, like the others that are not named here.
        arithmetic: is around forward and backward passes and AdamW, already.

    Attributes:
        ended: jobs, in the order in which they ended.
    """

    def __init__(self, config: ModelConfig, *, arithmetic: Stopwatch, **others: Any) -> None:
        super().__init__(config, **others)
        self.ended: list[Job] = []
        self._arithmetic = arithmetic
        self._additions = Stopwatch()
        self._add = self._additions.around(self._add)  # type: ignore[method-assign] # to be timed

    def compute(self, *args: Any) -> Any:
        return self._timed("compute", super().compute, args)

    def reduce(self, *args: Any) -> Any:
        return self._timed("reduce", super().reduce, args)

    def apply(self, *args: Any) -> Any:
        return self._timed("apply", super().apply, args)

    def _timed(self, kind: str, job: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        begun_s = time.perf_counter()
        made = job(*args)
        times = self._arithmetic.take(), self._additions.take()
        self.ended.append(Job(kind, begun_s, time.perf_counter(), *times))
        return made


async def measure(
    sizes: Sizes, spheres: int, steps: int, out: Path, tell: Callable[[StepDone], None]
) -> list[StepTimes]:
    """Train for so many steps with a run folder, which must not be there; return what was seen of each."""
    arithmetic, cut = Stopwatch(), Root._cut
    made: list[TimedWork] = []
    batches_s: list[float] = []

    def timed_cut(root: Root, *args: Any) -> Any:
        begun_s = time.perf_counter()
        shards = cut(root, *args)
        batches_s.append(time.perf_counter() - begun_s)
        return shards

    def make(config: ModelConfig, **others: Any) -> TimedWork:
        made.append(TimedWork(config, arithmetic=arithmetic, **others))
        return made[0]

    train = sizes.train(spheres=spheres, epochs=1000, steps=steps, val_fraction=0.0, save_every_s=0.0)
    found: list[StepTimes] = []
    with ExitStack() as stack:
        for owner, name, timed in [
            (prepare, "ShardWork", make),
            (work, "loss_and_gradient", arithmetic.around(loss_and_gradient)),
            (work, "adamw_update", arithmetic.around(adamw_update)),
            (Root, "_cut", timed_cut),
        ]:
            stack.enter_context(mock.patch.object(owner, name, timed))
        async with Trainer(sizes.model, train, sizes.corpus(), out=out) as trainer:
            ended_s = time.perf_counter()
            async for event in trainer.events():
                if isinstance(event, StepDone):
                    now_s = time.perf_counter()
                    cuts_s = batches_s.copy()
                    del batches_s[: len(cuts_s)]  # another thread may have added to them meanwhile
                    found.append(StepTimes(now_s - ended_s, sum(cuts_s), made[0].ended.copy()))
                    made[0].ended.clear()
                    ended_s = now_s
                    tell(event)
    return found
