"""Everything that `crystalline bench` measures, in order, within a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from crystalline.bench.advice import advise, sphere_numbers, thread_counts
from crystalline.bench.flops import training_flops
from crystalline.bench.limits import Effort, bandwidth, sgemm
from crystalline.bench.machine import this_machine
from crystalline.bench.report import BenchReport, Limits, limit_of
from crystalline.bench.sizes import SIZES, synthetic_text
from crystalline.bench.speed import speed_of
from crystalline.data import Corpus
from crystalline.training import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crystalline.bench.machine import Machine
    from crystalline.bench.sizes import BenchSizes
    from crystalline.bench.speed import Speed

    Show = Callable[[str, float], None]

__all__ = ["FULL", "QUICK", "Plan", "foreseen_s", "measure"]

# A step large enough to take long is not likely to run below this part of the limit.
_FRACTION_FORESEEN: Final = 0.4
_STEPS_FORESEEN: Final = 3
_PREPARING_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure, and how long.

    Attributes:
        names: of the sizes to train.
        effort: for the limits.
        training_s: of one training, unless two steps take longer.
        total_s: after which no training is begun. One that would not be done by then is left out.
        array_bytes_max: largest arrays to measure memory with.
    """

    names: tuple[str, ...]
    effort: Effort
    training_s: float
    total_s: float
    array_bytes_max: int


FULL: Final = Plan(
    names=tuple(SIZES), effort=Effort(), training_s=3.0, total_s=50.0, array_bytes_max=512 << 20
)
"""At most a minute."""

QUICK: Final = Plan(
    names=("small",),
    effort=Effort(trials=2, window_s=0.04, sizes=(512, 1024)),
    training_s=0.5,
    total_s=10.0,
    array_bytes_max=128 << 20,
)
"""A few seconds."""


def measure(plan: Plan, spheres: Iterable[int] | None, show: Show) -> BenchReport:
    """Measure limits and trainings. Blocks; owns an event loop of its own while a model trains.

    Args:
        plan: what.
        spheres: numbers of spheres to train with; None for one, and as many as the limits and the
            shards of a batch advise.
        show: is told what comes next, and which part of the whole is done.

    Raises:
        InputError: the machine has too little memory.
    """
    begun_s = time.monotonic()
    machine = this_machine()
    counts, numbers, shards = thread_counts(machine), sorted(set(spheres or ())), TrainConfig().shards
    parts = len(counts) + len(plan.names) * (len(numbers) or 2)
    limits: list[Limits] = []
    for done, count in enumerate(counts):
        show(f"limits of {_counted(count, 'thread')}", done / parts)
        limits.append(_limits(count, machine, plan))
    sgemms = {each.threads: each.sgemm for each in limits}
    numbers = numbers or sphere_numbers(machine, sgemms, shards=shards)
    trainings = [(name, number) for name in plan.names for number in numbers]
    corpus = Corpus.from_text(synthetic_text())
    speeds: list[Speed] = []
    left_out: list[tuple[str, int]] = []
    for done, (name, number) in enumerate(trainings, len(counts)):
        left_s = plan.total_s - (time.monotonic() - begun_s)
        if foreseen_s(SIZES[name], number, limits) > left_s:
            left_out.append((name, number))
            continue
        show(f"training {name} with {_counted(number, 'sphere')}", done / parts)
        seconds = min(plan.training_s, left_s)
        speeds.append(
            anyio.run(partial(speed_of, name, SIZES[name], corpus, spheres=number, seconds=seconds))
        )
    return BenchReport(
        machine=machine,
        limits=tuple(limits),
        speeds=tuple(speeds),
        left_out=tuple(left_out),
        advice=advise(machine, sgemms, speeds, shards=shards),
        seconds=time.monotonic() - begun_s,
    )


def foreseen_s(sizes: BenchSizes, spheres: int, limits: Sequence[Limits]) -> float:
    """Seconds that the shortest measurement of a training will hardly exceed. Pure."""
    limit = limit_of(spheres, limits)
    flops = sizes.batch_size * sizes.model.seq_len * training_flops(sizes.model)
    return _PREPARING_S + _STEPS_FORESEEN * flops / (_FRACTION_FORESEEN * limit.sgemm.gflops * 1e9)


def _limits(threads: int, machine: Machine, plan: Plan) -> Limits:
    array_bytes = min(machine.array_bytes, plan.array_bytes_max)
    return Limits(threads, sgemm(threads, plan.effort), bandwidth(threads, array_bytes, plan.effort))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
