"""What the fixed tree of sums costs: steps of training with it and without, in turn.

usage: python tests/benchmarks/exactness.py [--rounds N] [--spheres N] [--sizes SIZES] [--against WAY]

One run, at the sizes that `crystalline train` has without options, in which the gradients of a sphere's
shards are added in two ways, step by step: `tree`, as it is, in the order of a fixed binary tree, which gives
the same bits for any number of spheres; and `naive`, which adds one shard after the other into one buffer.
The spheres' buffers are added either way. With `--against at_once` the other way has no shards at all: each
sphere computes its sequences in one pass. That one has no goal: it tells what shards cost.

A round is a step of each, and each second round has the opposite order. The first four steps do not count,
since buffers are allocated in them. Ratios are taken within a round, and their median counts; the ratio of
the best samples stands beside it.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when a step with the tree
takes more than 1.03 of a naive one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.kernels.blas import arithmetic
from crystalline.training import StepDone, Trainer, prepare
from tests.benchmarks.cost.rounds import Goal, Samples, ratio, ratio_of_bests, table
from tests.benchmarks.exact.accumulation import OTHERS, TREE, TakingTurns, way_of
from tests.benchmarks.exact.sizes import SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.exact.sizes import Sizes

GOAL_RATIO: Final = 1.03
STEP: Final = "step_ms"
WARM: Final = 4
ROUNDS_MIN: Final = 5


async def measure(sizes: Sizes, other: str, spheres: int, rounds: int) -> list[StepDone]:
    """Train for so many rounds behind those that do not count; return the steps of all."""
    steps = WARM + 2 * rounds
    train = sizes.train(spheres=spheres, epochs=1000, steps=steps, val_fraction=0.0)
    made: list[TakingTurns] = []

    @functools.wraps(TakingTurns)
    def make(*args: Any, **kwargs: Any) -> TakingTurns:
        made.append(TakingTurns(*args, **kwargs, other=other))
        return made[-1]

    found: list[StepDone] = []
    with mock.patch.object(prepare, "ShardWork", make):
        async with Trainer(sizes.model, train, sizes.corpus()) as trainer:
            async for event in trainer.events():
                if isinstance(event, StepDone):
                    found.append(event)
                    progress(event)
    computed = made[0].computed
    assert computed[TREE] == computed[other] == steps // 2 * spheres, f"not what was meant: {computed}"
    return found


def progress(event: StepDone) -> None:
    """Where it is, for whoever looks on."""
    if sys.stderr.isatty():
        end = "\n" if event.step == event.steps else ""
        print(f"\rstep {event.step} of {event.steps}", end=end, file=sys.stderr)


def samples_of(steps: Sequence[StepDone], other: str) -> Samples:
    """Milliseconds of the steps that count; entry r of each way is of round r."""
    samples: Samples = {(TREE, STEP): [], (other, STEP): []}
    for event in steps[WARM:]:
        samples[way_of(event.step, other), STEP].append(event.seconds * 1e3)
    return samples


def findings(samples: Samples, other: str) -> dict[str, Any]:
    """Medians, the ratio and the goal."""
    cells = (TREE, STEP), (other, STEP)
    goal = Goal(
        ratio(samples, *cells),
        ratio_of_bests(samples, *cells),
        at_most=GOAL_RATIO if other == "naive" else None,
    )
    times = [a / b for a, b in zip(*(samples[cell] for cell in cells), strict=True)]
    return {
        "rounds": len(times),
        "ways": {
            way: {
                "median_ms": round(statistics.median(values_ms), 3),
                "best_ms": round(min(values_ms), 3),
            }
            for (way, _), values_ms in samples.items()
        },
        "quartiles": [round(value, 4) for value in statistics.quantiles(times, n=4)],
        "ratio": {**goal.report(), "at_most": goal.at_most},
        "goal_reached": goal.reached is True,
    }


def show(found: dict[str, Any]) -> str:
    """The table for people."""
    rows = [
        [way, *(f"{figures[key]:.2f}" for key in ("median_ms", "best_ms"))]
        for way, figures in found["ways"].items()
    ]
    ratios = found["ratio"]
    word = "reached" if found["goal_reached"] else "MISSED"
    goal = "no goal" if ratios["at_most"] is None else f"goal at most {ratios['at_most']}: {word}"
    last = f"ratio {ratios['figure']:.3f}, of bests {ratios['of_bests']:.3f}, {goal}"
    return f"{table(['way', 'median ms', 'best ms'], rows)}\n\n{last}"


def at_least_five(text: str) -> int:
    """Parse `--rounds`."""
    if int(text) < ROUNDS_MIN:
        raise argparse.ArgumentTypeError(f"{text} rounds say nothing: choose {ROUNDS_MIN} or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=at_least_five, default=40)
    parser.add_argument("--spheres", type=int, choices=(1, 2, 4), default=2)
    parser.add_argument("--sizes", choices=SIZES, default="default")
    parser.add_argument("--against", choices=OTHERS, default="naive")
    options = parser.parse_args()
    steps = asyncio.run(measure(SIZES[options.sizes], options.against, options.spheres, options.rounds))
    found = findings(samples_of(steps, options.against), options.against)
    print(show(found), file=sys.stderr)
    print(json.dumps({**vars(options), "cores": os.cpu_count(), "arithmetic": arithmetic(), **found}))
    sys.exit(0 if found["goal_reached"] else 1)


if __name__ == "__main__":
    main()
