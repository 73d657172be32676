"""What more spheres give: two beside one in turn, and then how the work is shared out among up to 25.

usage: python tests/benchmarks/scaling.py [--pairs N] [--steps N] [--spheres NUMBERS] [--sizes SIZES]
           [--as-set]

A pair is a process with one sphere and a process with two, and each second pair has the opposite order. A
process counts with the median of its steps behind those of warm-up. Ratios are taken within a pair, and their
median counts; the ratio of the best steps stands beside it.

Then a process for each number of spheres: tokens a second, messages a step (answers are none), and for each
kind of sphere how many shards it has and which part of the time it computes, waits with work at hand, and is
idle: least, mean, most. A control sphere passes work on; a resting one has no shard, because there are more
spheres than shards. These shares are of the whole process, warm-up included, and have no goal: more spheres
than cores wait for each other.

Variables of the environment that hold OpenBLAS to other kernels than it would choose are taken out, and
named, unless `--as-set` is given.

Prints tables on standard error and one JSON object on standard output. Exit code 1 when two spheres are not
1.85 times as fast as one, or a process failed; 2 for more steps than the text has; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.training.plan import TreePlan
from tests.benchmarks.cost.rounds import goals_table, table
from tests.benchmarks.speed.options import (
    add_as_set,
    at_least_one,
    begun,
    let_libraries_choose,
    numbers,
    report,
)
from tests.benchmarks.speed.ours import measured
from tests.benchmarks.speed.sizes import SIZES
from tests.benchmarks.speed.turns import arithmetic_of, in_turn, samples_of, speeds, times_as_fast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.speed.turns import Answer, Run

GOAL_RATIO: Final = 1.85
WARM: Final = 2
PAIR: Final = {"one": 1, "two": 2}
KINDS: Final = ("control", "computing", "resting")
SHARES: Final = ("busy", "waiting", "idle")


def kind_of(plan: TreePlan, sphere: int, shards: int) -> str:
    """What a sphere does in a step."""
    if plan.below[sphere]:
        return "control"
    return "resting" if sphere in plan.resting(shards) else "computing"


def spread(values: Sequence[float]) -> list[float]:
    """Least, mean and most."""
    return [round(value, 3) for value in (min(values), statistics.mean(values), max(values))]


def sharing(answer: Answer) -> dict[str, dict[str, Any]]:
    """For each kind of sphere that there is: how many, their shards, and the shares of their time."""
    spheres, shards = answer["spheres"], answer["shards"]
    plan = TreePlan(spheres)
    kinds = [kind_of(plan, sphere, shards) for sphere in range(spheres)]
    runs = plan.runs(shards)
    found: dict[str, dict[str, Any]] = {}
    for kind in (kind for kind in KINDS if kind in kinds):
        members = [sphere for sphere in range(spheres) if kinds[sphere] == kind]
        sizes = [runs[sphere][1] - runs[sphere][0] for sphere in members]
        found[kind] = {"spheres": len(members), "shards": [min(sizes), max(sizes)]}
        for share in SHARES:
            found[kind][share] = spread([_share(answer["usage"][sphere], share) for sphere in members])
    return found


def _share(usage: dict[str, float], share: str) -> float:
    whole_s = sum(usage[f"{name}_s"] for name in SHARES)
    return usage[f"{share}_s"] / whole_s


def pairs(options: argparse.Namespace) -> list[Run]:
    """One sphere and two, in turn.

    Raises:
        ChildError: a process failed.
    """
    runs: list[Run] = []
    for number, way in in_turn(list(PAIR), options.pairs):
        begun(f"pair {number} of {options.pairs}: spheres {PAIR[way]}")
        runs.append((way, measured(options.sizes, PAIR[way], steps=options.steps, warm=WARM)))
    return runs


def each_number(options: argparse.Namespace) -> list[Answer]:
    """One process for each number of spheres.

    Raises:
        ChildError: a process failed.
    """
    answers: list[Answer] = []
    for spheres in options.spheres:
        begun(f"spheres {spheres}, of {', '.join(map(str, options.spheres))}")
        answers.append(measured(options.sizes, spheres, steps=options.steps, warm=WARM))
    return answers


def findings(runs: Sequence[Run], answers: Sequence[Answer]) -> dict[str, Any]:
    """Speeds, the goal, and how the work was shared out."""
    samples, tokens_per_step = samples_of(runs), runs[0][1]["tokens_per_step"]
    goal = times_as_fast(samples, "two", "one", GOAL_RATIO)
    return {
        "parameters": runs[0][1]["parameters"],
        "tokens_per_step": tokens_per_step,
        "arithmetic": arithmetic_of([*(answer for _, answer in runs), *answers]),
        "ways": speeds(samples, tokens_per_step),
        "step_ms": [(way, [round(s * 1e3, 1) for s in answer["step_s"]]) for way, answer in runs],
        "goals": {"two_to_one": goal.report()},
        "goals_reached": goal.reached is True,
        "spheres": {
            str(answer["spheres"]): {
                "tokens_per_s_median": round(tokens_per_step / statistics.median(answer["step_s"])),
                "tokens_per_s_best": round(tokens_per_step / min(answer["step_s"])),
                "messages_per_step": answer["messages_per_step"],
                "kinds": sharing(answer),
            }
            for answer in answers
        },
    }


def show(found: dict[str, Any]) -> str:
    """The tables for people."""
    keys = ("tokens_per_s_median", "tokens_per_s_best", "step_ms")
    rows = [[way, *(f"{of_way[key]:,g}" for key in keys)] for way, of_way in found["ways"].items()]
    parts = [
        table(["spheres", "tokens/s median", "best", "median step ms"], rows),
        goals_table(found["goals"]),
    ]
    rows = []
    for spheres, of in found["spheres"].items():
        figures = [f"{of[key]:,g}" for key in ("tokens_per_s_median", "messages_per_step")]
        for kind, sharing_of in of["kinds"].items():
            row = [f"{spheres}: {sharing_of['spheres']} {kind}", *figures]
            shards = "-".join(map(str, dict.fromkeys(sharing_of["shards"])))
            shares = [" ".join(f"{100 * value:.0f}" for value in sharing_of[share]) for share in SHARES]
            rows.append([*row, shards, *shares])
            figures = ["", ""]
    columns = ["spheres", "tokens/s", "messages a step", "shards each", *(f"{share} %" for share in SHARES)]
    return "\n\n".join([*parts, table(columns, rows)] if rows else parts)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for.

    Raises:
        ChildError: a process failed.
    """
    taken_out = let_libraries_choose(os.environ, as_set=options.as_set)
    return {
        "taken_out": taken_out,
        "sizes": options.sizes,
        "pairs": options.pairs,
        "steps": options.steps,
        "cores": os.cpu_count(),
        **findings(pairs(options), each_number(options)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=at_least_one, default=5)
    parser.add_argument("--steps", type=at_least_one, default=8, help="of each process, warm-up apart")
    parser.add_argument("--spheres", type=numbers, default=[1, 2, 4, 8, 12, 13, 25], help="with commas")
    parser.add_argument("--sizes", choices=SIZES, default="headline")
    add_as_set(parser)
    options = parser.parse_args()
    report(lambda: run(options), show)


if __name__ == "__main__":
    main()
