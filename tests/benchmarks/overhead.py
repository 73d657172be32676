"""What a step costs beside its arithmetic: actors, messages, threads, reduction, bookkeeping.

usage: python tests/benchmarks/overhead.py [--steps N] [--real-steps N] [--sizes SIZES] [--profile N]

Two things are measured, each with a run folder in a temporary place, where every step writes its line of
metrics, as in use. Checkpoints are not written between the steps.

Empty steps: the real Root, spheres, archive, messages, threads, metrics and commits, but jobs that compute
nothing, for 1, 2, 12, 13 and 25 spheres. Milliseconds from the end of one step to that of the next. A batch
has the 36 x 128 tokens of a real one, the model next to nothing.

Real steps, at headline sizes unless others are asked for, with a sphere on each of two threads. What the two
threads have, twice the wall time of a step, is divided into
  arithmetic  forward and backward passes, AdamW;
  additions   sums of gradients within a sphere, over its tree nodes;
  reduction   sums over the spheres, slice by slice, and their squares;
  checks      what jobs do besides, such as looking for numbers that are not finite;
  messages    all else while a thread has no job: messages, the event loop, threads that wake up, metrics, and
              a batch that is not ready;
  imbalance   a thread that has done its part waits for the other one.
Overhead is all of that but arithmetic and imbalance: the parts of a step are equally large, so that one
thread waits for the other as long as the machine gives it less time. That stands beside, and so do the
milliseconds in which the next batch is made, in a third thread: what it takes from the two, they seem to need
themselves.

With `--profile N` nothing is judged: empty steps with N spheres run under cProfile, whose table is printed.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when the median of an
empty step is above 1 ms with 2 spheres or above 5 ms with 25, or the median overhead of a real one above 3 %.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.kernels.blas import arithmetic
from tests.benchmarks.cost.rounds import Goal, table
from tests.benchmarks.exact.sizes import SIZES
from tests.benchmarks.overheads.empty import intervals_of, text_of
from tests.benchmarks.overheads.shares import PARTS, measure, parts_of
from tests.benchmarks.speed.options import spheres_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystalline.training import StepDone
    from tests.benchmarks.overheads.shares import StepTimes

SPHERES: Final = (1, 2, 12, 13, 25)
EMPTY_GOALS_MS: Final = {2: 1.0, 25: 5.0}
GOAL_SHARE: Final = 0.03
THREADS: Final = 2
WARM_EMPTY: Final = 50
WARM_REAL: Final = 3
OVERHEAD: Final = tuple(part for part in PARTS if part not in {"arithmetic", "imbalance"})


def empty_findings(samples_ms: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """Median and best of empty steps, by the number of spheres, and the goals."""
    found = {
        str(spheres): {
            "median_ms": round(statistics.median(values_ms), 3),
            "best_ms": round(min(values_ms), 3),
        }
        for spheres, values_ms in samples_ms.items()
    }
    goals = {
        f"empty_ms_{spheres}": Goal(
            statistics.median(samples_ms[spheres]), min(samples_ms[spheres]), at_most=most_ms
        )
        for spheres, most_ms in EMPTY_GOALS_MS.items()
        if spheres in samples_ms
    }
    return {"empty": found, "goals": goals}


def real_findings(steps: Sequence[StepTimes]) -> dict[str, Any]:
    """Shares of what the threads have, over all steps; and the goal, by the median of the steps."""
    parts = [parts_of(step, THREADS) for step in steps]
    had_s = sum(THREADS * step.wall_s for step in steps)
    overheads = [
        sum(of_step[part] for part in OVERHEAD) / (THREADS * step.wall_s)
        for of_step, step in zip(parts, steps, strict=True)
    ]
    return {
        "real": {
            "steps": len(steps),
            "step_ms": round(statistics.median(step.wall_s for step in steps) * 1e3, 2),
            "batch_beside_ms": round(statistics.median(step.batch_s for step in steps) * 1e3, 3),
            "share": {part: round(sum(of[part] for of in parts) / had_s, 5) for part in PARTS},
            "ms_a_step": {
                part: round(sum(of[part] for of in parts) / len(steps) / THREADS * 1e3, 3) for part in PARTS
            },
        },
        "goals": {"overhead_share": Goal(statistics.median(overheads), min(overheads), at_most=GOAL_SHARE)},
    }


def show(found: Mapping[str, Any]) -> str:
    """The tables for people."""
    empty = [
        [spheres, f"{of['median_ms']:.3f}", f"{of['best_ms']:.3f}"] for spheres, of in found["empty"].items()
    ]
    real = found["real"]
    rows = [[part, f"{real['ms_a_step'][part]:.2f}", f"{real['share'][part]:.2%}"] for part in PARTS]
    lines = []
    for name, goal in found["goals"].items():
        word = "reached" if goal["reached"] else "MISSED"
        lines.append(f"{name}: {goal['figure']}, best {goal['of_bests']}, goal {goal['at_most']}: {word}")
    lines.append(f"the next batch is made beside a step, in {real['batch_beside_ms']} ms")
    parts = [
        table(["spheres, empty steps", "median ms", "best ms"], empty),
        table([f"a step of {real['step_ms']} ms, {THREADS} threads", "ms", "share"], rows),
        "\n".join(lines),
    ]
    return "\n\n".join(parts)


def progress(event: StepDone) -> None:
    """Where it is, for whoever looks on."""
    if sys.stderr.isatty():
        end = "\n" if event.step == event.steps else ""
        print(f"\rstep {event.step} of {event.steps}", end=end, file=sys.stderr)


def profile(spheres: int, steps: int, folder: Path) -> None:
    """Print where empty steps spend the event loop's time; the jobs' threads are not seen."""
    corpus, profiler = text_of(steps + WARM_EMPTY), cProfile.Profile()
    profiler.enable()
    asyncio.run(intervals_of(spheres, corpus, steps, WARM_EMPTY, folder / "run"))
    profiler.disable()
    pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(40)


def measured(options: argparse.Namespace, folder: Path) -> tuple[dict[int, list[float]], list[StepTimes]]:
    """Empty steps by the number of spheres, and real ones; run folders are made in `folder`."""
    corpus, steps = text_of(options.steps + WARM_EMPTY), options.real_steps + WARM_REAL
    empty = {
        spheres: asyncio.run(
            intervals_of(spheres, corpus, options.steps, WARM_EMPTY, folder / f"empty-{spheres}")
        )
        for spheres in SPHERES
    }
    real = asyncio.run(measure(SIZES[options.sizes], THREADS, steps, folder / "real", progress))
    return empty, real[WARM_REAL:]


def at_least(least: int) -> Any:
    """Parse a number."""

    def parse(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} say nothing: choose {least} or more")
        return int(text)

    return parse


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--steps", type=at_least(10), default=400, help="empty ones, behind those that warm up"
    )
    parser.add_argument("--real-steps", type=at_least(3), default=40, help="likewise, with arithmetic")
    parser.add_argument("--sizes", choices=SIZES, default="large")
    parser.add_argument("--profile", type=spheres_of, metavar="SPHERES")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            if options.profile:
                profile(options.profile, options.steps, Path(folder))
                return
            empty, real = measured(options, Path(folder))
    except KeyboardInterrupt:
        sys.exit(130)
    first, second = empty_findings(empty), real_findings(real)
    goals = {**first.pop("goals"), **second.pop("goals")}
    found = {**first, **second, "goals": {name: goal.report() for name, goal in goals.items()}}
    reached = all(goal.reached for goal in goals.values())
    print(show(found), file=sys.stderr)
    machine = {"cores": os.cpu_count(), "arithmetic": arithmetic()}
    print(json.dumps({**vars(options), **machine, **found, "goal_reached": reached}))
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
