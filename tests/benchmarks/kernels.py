"""How long each kernel takes in a real training, and how near a step comes to the limit of its arithmetic.

usage: python tests/benchmarks/kernels.py [--sizes SIZES] [--spheres N] [--rounds N] [--steps N]

Two trainings, with one sphere (half the rounds) and with several, each in its own `Trainer`. A training is a
row of blocks of steps. Before each block all spheres wait while the limits are measured in the same process,
by as many threads at once as there are spheres: float32 matrix products, and bytes of memory. A round is a
block as it always runs, and one with clocks around the kernels; every second round has the opposite order.

The fraction of the limit is that of blocks without clocks: operations of matrix products that the steps
needed, per second, over the limit, the higher one of those measured before and behind the block. A step takes
from the end of the one before to its own, as a program hears of them: what lies between steps is within. The
median over the rounds counts; the best step over the best limit stands beside it. Kernels, and the table of
where the rest goes, are from blocks with clocks, and held to their limit in the same way.

Prints tables on standard error and one JSON object on standard output. Exit code 1 when the fraction with
several spheres is below 0.70; 2 for more spheres than cores. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.bench import Effort, bandwidth, forward_flops, sgemm, this_machine, training_flops
from crystalline.errors import CrystallineError
from crystalline.kernels.blas import arithmetic
from crystalline.training import StepDone, Trainer, prepare
from tests.benchmarks.anatomy.account import Steps, kernel_rows, where_it_goes
from tests.benchmarks.anatomy.clocks import Clocks, Row, merged
from tests.benchmarks.anatomy.turns import GatedWork, Schedule
from tests.benchmarks.cost.rounds import Goal, table
from tests.benchmarks.exact.sizes import SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystalline.bench import Bandwidth, Products
    from crystalline.model import ModelConfig
    from tests.benchmarks.exact.sizes import Sizes

GOAL: Final = 0.70
SHARDS: Final = 12
SPHERES_MAX: Final = 4


@dataclass
class Seen:
    """What one training showed.

    Attributes:
        schedule: of its steps.
        spheres: that trained.
        config: sizes of the model, with the vocabulary that the text gave.
        steps: all of them, in order. Their seconds are from the end of one to that of the next.
        products: measured at each gate.
        memory: likewise.
        rows: from the clocks.
        ended_s: when the last step was heard to have ended; before the first, when the training began.
    """

    schedule: Schedule
    spheres: int
    config: ModelConfig
    steps: list[StepDone] = field(default_factory=list)
    products: list[Products] = field(default_factory=list)
    memory: list[Bandwidth] = field(default_factory=list)
    rows: Mapping[str, Row] = field(default_factory=dict)
    ended_s: float = 0.0

    def hear(self, event: StepDone, at_s: float) -> None:
        """A step has ended. What lies between steps belongs to it, which its own seconds leave out."""
        self.steps.append(replace(event, seconds=at_s - self.ended_s))
        self.ended_s = at_s

    def limit_gflops(self, block: int) -> float:
        """The limit of a block: the higher one of those measured before and behind it."""
        return max(products.gflops for products in self.products[block : block + 2])


async def measure(sizes: Sizes, spheres: int, schedule: Schedule, effort: Effort) -> Seen:
    """Train through the whole schedule."""
    seen = Seen(schedule, spheres, sizes.model)
    clocks, tables = Clocks(weight_names(sizes.model)), list[dict[str, Row]]()
    array_bytes = min(this_machine().array_bytes, 64 << 20 if sizes.model.dim < 64 else 256 << 20)

    def at_gate(number: int) -> None:
        clocks.take_off()
        if schedule.clocked(number - 1):
            tables.append(clocks.take())
        seen.products.append(sgemm(spheres, effort))
        seen.memory.append(bandwidth(spheres, array_bytes, effort))
        if schedule.clocked(number):
            clocks.put_on()

    def at_start() -> None:
        clocks.take()  # what the step at the gate took does not count

    make = functools.partial(
        GatedWork, schedule=schedule, spheres=spheres, at_gate=at_gate, at_start=at_start
    )
    train = sizes.train(spheres=spheres, shards=SHARDS, epochs=1000, steps=schedule.total, val_fraction=0.0)
    try:
        with mock.patch.object(prepare, "ShardWork", make):
            async with Trainer(sizes.model, train, sizes.corpus()) as trainer:
                seen.config, seen.ended_s = trainer.model_config, time.perf_counter()
                async for event in trainer.events():
                    if isinstance(event, StepDone):
                        seen.hear(event, time.perf_counter())
                        progress(event, spheres)
    finally:
        clocks.take_off()
    seen.rows = merged(tables)
    return seen


def progress(event: StepDone, spheres: int) -> None:
    """Where it is, for whoever looks on."""
    if sys.stderr.isatty():
        end = "\n" if event.step == event.steps else ""
        print(f"\r{spheres} spheres, step {event.step} of {event.steps} ", end=end, file=sys.stderr)


def weight_names(config: ModelConfig) -> dict[frozenset[int], str]:
    """The weights by their two dimensions."""
    D, F, H = config.dim, config.feed_forward_dim, config.heads * config.head_dim
    keys_and_values = 2 * config.key_value_heads * config.head_dim
    return {
        frozenset((config.vocab_size, D)): "head",
        frozenset((2 * F, D)): "gate_up",
        frozenset((F, D)): "down_proj",
        frozenset((H + keys_and_values, D)): "qkv",
        frozenset((H, D)): "o_proj",
    }


def fractions(seen: Seen) -> list[float]:
    """For each round the part of the limit that its block without clocks reached."""
    found = []
    for block in range(seen.schedule.blocks):
        if seen.schedule.clocked(block):
            continue
        rates = map(gflops_of(seen), steps_of(seen, {block}))
        found.append(statistics.median(rates) / seen.limit_gflops(block))
    return found


def gflops_of(seen: Seen) -> Any:
    """A function from a step to its useful operations per second, in units of 1e9."""
    flops = training_flops(seen.config)
    return lambda step: step.tokens * flops / step.seconds / 1e9


def steps_of(seen: Seen, blocks: set[int]) -> list[StepDone]:
    """The steps that count in some blocks."""
    return [step for step in seen.steps if seen.schedule.block(step.step) in blocks]


def clocked_steps(seen: Seen) -> Steps:
    """All steps that count and had clocks on, as one."""
    clocked = {block for block in range(seen.schedule.blocks) if seen.schedule.clocked(block)}
    steps = steps_of(seen, clocked)
    tokens = sum(step.tokens for step in steps)
    return Steps(
        spheres=seen.spheres,
        seconds=sum(step.seconds for step in steps),
        shards=SHARDS * len(steps),
        flops=tokens * training_flops(seen.config),
        attention_flops=tokens * 3 * forward_flops(seen.config)["attention"],
        sgemm_gflops=statistics.median(map(seen.limit_gflops, clocked)),
        gb_per_s=max(memory.best for memory in seen.memory),
    )


def findings(seen: Seen) -> dict[str, Any]:
    """The figures of one training."""
    plain = {block for block in range(seen.schedule.blocks) if not seen.schedule.clocked(block)}
    steps, clocked = steps_of(seen, plain), clocked_steps(seen)
    rates = list(map(gflops_of(seen), steps))
    limit = max(products.gflops for products in seen.products)
    reached = fractions(seen)
    goal = Goal(statistics.median(reached), max(rates) / limit, at_least=GOAL)
    plain_ms, clocked_ms = (
        statistics.median(step.seconds for step in each) * 1e3
        for each in (steps, steps_of(seen, set(range(seen.schedule.blocks)) - plain))
    )
    return {
        "spheres": seen.spheres,
        "parameters": seen.config.parameter_count(),
        "mflop_per_token": round(training_flops(seen.config) / 1e6, 3),
        "fraction_of_limit": goal.report(),
        "fractions": [round(each, 4) for each in reached],
        "step_ms": round(plain_ms, 3),
        "step_with_clocks_ms": round(clocked_ms, 3),
        "tokens_per_s": round(statistics.median(step.tokens / step.seconds for step in steps)),
        "limits": {
            "sgemm_gflops": [round(products.gflops, 1) for products in seen.products],
            "processor_share": [round(products.processor_share, 3) for products in seen.products],
            "copy_gb_per_s": round(max(memory.copy for memory in seen.memory), 2),
            "triad_gb_per_s": round(max(memory.triad for memory in seen.memory), 2),
        },
        "kernels": rounded(kernel_rows(seen.rows, clocked)),
        "where_it_goes": {name: round(part, 4) for name, part in where_it_goes(seen.rows, clocked).items()},
    }


def rounded(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of kernels, the longest first, without more digits than mean something."""
    by_time = sorted(rows.items(), key=lambda item: -item[1]["ms_per_shard"])
    return {name: {key: round(value, 4) for key, value in row.items()} for name, row in by_time}


def show(trainings: Sequence[dict[str, Any]]) -> str:
    """The tables for people."""
    most = trainings[-1]
    goal = most["fraction_of_limit"]
    word = "reached" if goal["reached"] else "MISSED"
    return "\n\n".join(
        [
            kernel_table(trainings),
            where_table(most),
            limits_table(trainings),
            f"of the limit {goal['figure']:.3f}, best step {goal['of_bests']:.3f}, goal {GOAL:.2f}: {word}",
        ]
    )


def kernel_table(trainings: Sequence[dict[str, Any]]) -> str:
    """Each kernel with one sphere and with several; rates are those of one thread of several."""
    heads = [f"ms a shard, {each['spheres']}" for each in trainings]
    rows = []
    for name, row in trainings[-1]["kernels"].items():
        times = [figure(each["kernels"].get(name, {}).get("ms_per_shard"), ".3f") for each in trainings]
        rates = [figure(row.get(key), form) for key, form in _RATES]
        rows.append([name, *times, figure(row["share"], ".1%"), *rates])
    return table(["with clocks", *heads, "share", "GFLOP/s", "GB/s", "of limit"], rows)


_RATES = (("gflops", ".1f"), ("gb_per_s", ".1f"), ("of_limit", ".0%"))


def where_table(training: dict[str, Any]) -> str:
    """Where the time of all threads goes."""
    parts = [[name, f"{part:.1%}"] for name, part in training["where_it_goes"].items()]
    return table(["all threads' time", "part"], [*parts, ["together", "100.0%"]])


def limits_table(trainings: Sequence[dict[str, Any]]) -> str:
    """Limits, steps and what the clocks cost."""
    rows = [
        [
            str(each["spheres"]),
            f"{max(each['limits']['sgemm_gflops']):.1f}",
            f"{min(each['limits']['processor_share']):.0%}",
            f"{each['limits']['copy_gb_per_s']:.1f}",
            f"{each['limits']['triad_gb_per_s']:.1f}",
            f"{each['step_ms']:.1f}",
            f"{each['step_with_clocks_ms']:.1f}",
            f"{each['tokens_per_s']:,}",
            f"{each['fraction_of_limit']['figure']:.3f}",
        ]
        for each in trainings
    ]
    heads = "spheres,sgemm GFLOP/s,processors,copy GB/s,triad GB/s,step ms,with clocks,tokens/s,fraction"
    return table(heads.split(","), rows)


def figure(value: float | None, form: str) -> str:
    """A number, or a dash for one that there is not."""
    return "-" if value is None else format(value, form)


def positive(text: str) -> int:
    """Parse a number of rounds or steps."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not enough: choose 1 or more")
    return int(text)


def spheres_for(cores: int) -> range:
    """Numbers of spheres that can be asked for: each needs a core, or nothing is known of the limit."""
    return range(1, min(SPHERES_MAX, cores) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", choices=SIZES, default="large", help="as in exact/sizes.py")
    choices = spheres_for(os.cpu_count() or 1)
    parser.add_argument("--spheres", type=int, choices=choices, default=min(2, choices[-1]))
    parser.add_argument("--rounds", type=positive, default=5)
    parser.add_argument("--steps", type=positive, default=3, help="that count in a block")
    parser.add_argument("--window-ms", type=positive, default=100, help="of a trial of the limits")
    options = parser.parse_args()
    effort = Effort(trials=2, window_s=options.window_ms / 1e3)
    if options.sizes == "tiny":
        effort = Effort(trials=1, window_s=options.window_ms / 1e3, sizes=(128,))
    rounds = {1: -(-options.rounds // 2), options.spheres: options.rounds}
    try:
        trainings = [
            findings(
                asyncio.run(measure(SIZES[options.sizes], spheres, Schedule(number, options.steps), effort))
            )
            for spheres, number in rounds.items()
        ]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except CrystallineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(show(trainings), file=sys.stderr)
    goal_reached = trainings[-1]["fraction_of_limit"]["reached"]
    print(
        json.dumps(
            {
                **vars(options),
                "cores": os.cpu_count(),
                "blas": [blas.kernels for blas in this_machine().blas],
                "arithmetic": arithmetic(),
                "trainings": trainings,
                "goal_reached": goal_reached,
            }
        )
    )
    sys.exit(0 if goal_reached else 1)


if __name__ == "__main__":
    main()
