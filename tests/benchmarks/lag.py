"""How late the embedding program's event loop runs while a model trains beside it.

usage: python tests/benchmarks/lag.py [--spheres N] [--steps N] [--period-ms MS] [--goal-ms MS]

Ticks are due on a fixed grid, in the loop in which a `Trainer` works at headline sizes (V 10,000, D 256, 6
layers, T 128, 36 sequences a step). How much later than that the loop comes to a tick is the delay; when it
was blocked over several of them, each counts with its own.
Prints a table on standard error and one JSON object on standard output: the delay while training and, for
comparison, in the same loop before. Exit code 1 when the 99th percentile while training is above the goal, 2
for settings that cannot be, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np

from crystalline.data import Corpus
from crystalline.kernels.blas import arithmetic
from crystalline.model import ModelConfig
from crystalline.training import StepDone, TrainConfig, Trainer
from tests.benchmarks.cost.rounds import table
from tests.benchmarks.speed.options import spheres_of

HEADLINE = ModelConfig(vocab_size=10_000, dim=256, layers=6, heads=8, ffn_dim=688, seq_len=128)
STEPS_MIN = 3


def overdue(due_s: float, now_s: float, period_s: float) -> list[float]:
    """How late each tick is that was due from `due_s` until now: none, one, or more if the loop was blocked.

    >>> overdue(10.0, 11.25, 0.5)
    [1.25, 0.75, 0.25]
    """
    ticks = math.floor((now_s - due_s) / period_s) + 1
    return [now_s - due_s - tick * period_s for tick in range(ticks)]


async def tick(period_s: float, delays_s: list[float]) -> None:
    """Append how late each tick of a fixed grid was, until cancelled.

    What was due while the loop was blocked counts as well, each tick with its own delay. Otherwise a loop
    that is blocked half of the time, but seldom, would look like one that is hardly ever late.
    """
    due_s = time.perf_counter() + period_s
    while True:
        await asyncio.sleep(due_s - time.perf_counter())
        late_s = overdue(due_s, time.perf_counter(), period_s)
        delays_s += late_s
        due_s += len(late_s) * period_s


async def end(ticker: asyncio.Task[None]) -> None:
    """Cancel it, and wait until it has ended."""
    ticker.cancel()
    with suppress(asyncio.CancelledError):
        await ticker


def summary(delays_s: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    p50, p99, worst = np.percentile(np.array(delays_s) * 1e3, [50, 99, 100]).tolist()
    return {
        "ticks": len(delays_s),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(worst, 2),
    }


async def measure(
    spheres: int,
    steps: int,
    period_s: float,
    *,
    model: ModelConfig = HEADLINE,
    corpus: Corpus | None = None,
    quiet_s: float = 2.0,
) -> dict[str, object]:
    """Train for some steps, or as many as the text has, beside the ticker.

    Args:
        spheres: that train.
        steps: at most.
        period_s: of the ticker.
        model: its sizes.
        corpus: text; None is the built-in one.
        quiet_s: for which the loop is measured before.
    """
    quiet: list[float] = []
    training: list[float] = []
    rates: list[float] = []
    train = TrainConfig(spheres=spheres, epochs=1, steps=steps, batch_size=36, val_fraction=0.01)
    async with Trainer(model, train, corpus or Corpus.builtin()) as trainer:
        ticker = asyncio.create_task(tick(period_s, quiet))
        try:
            await asyncio.sleep(quiet_s)  # the measurement itself: an idle loop for comparison
            await end(ticker)
            async for event in trainer.events():
                if isinstance(event, StepDone):
                    if event.step == 1:  # buffers are allocated in the first step
                        ticker = asyncio.create_task(tick(period_s, training))
                    else:
                        rates.append(event.tokens / event.seconds)
                    if event.step == event.steps:
                        await end(ticker)
        finally:
            await end(ticker)
    return {
        "spheres": spheres,
        "steps": len(rates) + 1,
        "period_ms": period_s * 1e3,
        "idle": summary(quiet),
        "training": summary(training),
        "arithmetic": arithmetic(),
        "tokens_per_s_median": round(float(np.median(rates))),
    }


def show(found: dict[str, object]) -> str:
    """The table for people."""
    columns = ("ticks", "p50_ms", "p99_ms", "max_ms")
    delays = {way: found[way] for way in ("idle", "training")}
    return table(
        ["the loop is late", *columns],
        [[way, *(str(delay[name]) for name in columns)] for way, delay in delays.items()],  # type: ignore[index] # built above
    )


def enough(text: str) -> int:
    """Parse `--steps`."""
    if int(text) < STEPS_MIN:
        raise argparse.ArgumentTypeError(f"{text} steps say nothing: choose {STEPS_MIN} or more")
    return int(text)


def period(text: str) -> float:
    """Parse `--period-ms`."""
    if not 0 < float(text) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no period: choose a number > 0")
    return float(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spheres", type=spheres_of, default=2)
    parser.add_argument("--steps", type=enough, default=12)
    parser.add_argument("--period-ms", type=period, default=5.0)
    parser.add_argument("--goal-ms", type=float, default=10.0)
    arguments = parser.parse_args()
    try:
        found = asyncio.run(measure(arguments.spheres, arguments.steps, arguments.period_ms / 1e3))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    p99_ms = found["training"]["p99_ms"]  # type: ignore[index] # built above
    print(show(found), file=sys.stderr)
    print(
        json.dumps({**found, "goal_p99_ms": arguments.goal_ms, "goal_reached": p99_ms <= arguments.goal_ms})
    )
    sys.exit(0 if p99_ms <= arguments.goal_ms else 1)


if __name__ == "__main__":
    main()
