"""How much memory training takes beside what its buffers must hold, and whether that stays the same.

usage: python tests/benchmarks/memory.py [--steps N] [--spheres N] [--sizes SIZES] [--files] [--recompute]

One run in a process of its own, at headline sizes unless others are asked for. The resident memory of the
interpreter with its modules loaded, before the trainer is open, is its own; what comes on top of it, at the
most, is compared with the sum of the planned buffers (`Footprint`). Growth is how far any step from the
twentieth to the last lies above the twentieth; the slope is that of a straight line through all of them.
The text is prepared in another process before, so that it comes from the cache.

With `--files` checkpoints are written after each epoch. Their files are made in memory before they are
written, which no plan counts: peak and growth show it. With `--recompute` layers keep their inputs alone;
what that costs shows in the time of a step.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when the peak is above
1.25 of what is planned, or the growth above 2 % of the resident memory; 2 when there is nothing to read
the resident memory from, or a setting cannot be; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks.cost.rounds import Goal, table
from tests.benchmarks.exact.sizes import SIZES
from tests.benchmarks.soaking.memory import STATM
from tests.benchmarks.speed.child import ChildError, answer_of
from tests.benchmarks.speed.options import spheres_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHILD: Final = Path(__file__).resolve().parent / "resident" / "child.py"
LIMIT_S: Final = 600.0
STEP_LIMIT_S: Final = 30.0
GOAL_PEAK: Final = 1.25
GOAL_GROWTH: Final = 0.02
WARM: Final = 20
STEPS_MIN: Final = 2 * WARM
MB: Final = 1e6


def run(
    sizes: str,
    spheres: int,
    steps: int,
    out: str = "",
    *,
    recompute: bool = False,
    limit_s: float | None = None,
) -> dict[str, Any]:
    """Train in a new process, which ends with this one.

    Args:
        sizes: a name in SIZES.
        spheres: that train.
        steps: 0 prepares the text alone.
        out: run folder; empty for none.
        recompute: keep the inputs of layers alone.
        limit_s: seconds after which it is killed; None is half a minute a step, and ten minutes.

    Raises:
        ChildError: it has failed, and has said why; or took too long.
    """
    settings = [sizes, str(spheres), str(steps), out, str(int(recompute))]
    limit_s = LIMIT_S + steps * STEP_LIMIT_S if limit_s is None else limit_s
    return answer_of([sys.executable, str(CHILD), *settings], limit_s=limit_s, shows=True)


def growth(after_step: Sequence[int]) -> float | None:
    """How far the largest sample after the warm-up lies above the last one of it, as a part of that."""
    after = after_step[WARM:]
    return max(after) / after_step[WARM - 1] - 1 if after else None


def slope(after_step: Sequence[int]) -> float | None:
    """Bytes a step, by least squares over the samples after the warm-up."""
    after = after_step[WARM:]
    return statistics.linear_regression(range(len(after)), after).slope if len(after) > 1 else None


def findings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Figures and goals, of what the process has printed."""
    planned = sum(found["planned"].values())
    goals = {
        "peak_to_planned": Goal((found["peak"] - found["interpreter"]) / planned, at_most=GOAL_PEAK),
        "growth": Goal(growth(found["after_step"]), at_most=GOAL_GROWTH),
    }
    rising = slope(found["after_step"])
    return {
        "arithmetic": found["arithmetic"],
        "steps_measured": len(found["after_step"]),
        "step_ms": round(found["step_s"] * 1e3, 1),
        "interpreter_mb": round(found["interpreter"] / MB, 1),
        "opened_mb": round(found["opened"] / MB, 1),
        "planned_mb": {
            **{name: round(held / MB, 1) for name, held in found["planned"].items()},
            "total": round(planned / MB, 1),
        },
        "peak_mb": round(found["peak"] / MB, 1),
        "last_mb": round(found["after_step"][-1] / MB, 1),
        "slope_kb_per_step": None if rising is None else round(rising / 1e3, 2),
        "goals": {name: goal.report() for name, goal in goals.items()},
        "goal_reached": all(goal.reached for goal in goals.values()),
    }


def show(found: Mapping[str, Any]) -> str:
    """The table for people."""
    rows = [
        ["interpreter, modules loaded", f"{found['interpreter_mb']:.1f}"],
        *([f"planned: {name}", f"{held:.1f}"] for name, held in found["planned_mb"].items()),
        ["trainer open", f"{found['opened_mb']:.1f}"],
        ["peak", f"{found['peak_mb']:.1f}"],
        ["after the last step", f"{found['last_mb']:.1f}"],
    ]
    lines = []
    for name, goal in found["goals"].items():
        figure = "not measured" if goal["figure"] is None else f"{goal['figure']:.3f}"
        word = "reached" if goal["reached"] else "MISSED"
        lines.append(f"{name}: {figure}, goal at most {goal['at_most']}: {word}")
    lines.append(f"a step took {found['step_ms']:.1f} ms")
    return "\n".join([table(["memory", "MB"], rows), "", *lines])


def enough(text: str) -> int:
    """Parse `--steps`."""
    if int(text) < STEPS_MIN:
        raise argparse.ArgumentTypeError(f"{text} steps say nothing: choose {STEPS_MIN} or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=enough, default=500)
    parser.add_argument("--spheres", type=spheres_of, default=2)
    parser.add_argument("--sizes", choices=SIZES, default="large")
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    options = parser.parse_args()
    if not STATM.exists():
        parser.error(f"{STATM} is not there: this is measured on Linux")
    try:
        run(options.sizes, options.spheres, 0)
        with tempfile.TemporaryDirectory() as folder:
            out = str(Path(folder) / "run") if options.files else ""
            steps = run(options.sizes, options.spheres, options.steps, out, recompute=options.recompute)
            found = findings(steps)
    except ChildError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
    print(show(found), file=sys.stderr)
    print(json.dumps({**vars(options), "cores": os.cpu_count(), **found}))
    sys.exit(0 if found["goal_reached"] else 1)


if __name__ == "__main__":
    main()
