"""How long saving a checkpoint holds training up, and how much slower steps are while it is written.

usage: python tests/benchmarks/checkpoint.py [--saves N] [--every N] [--spheres N] [--sizes SIZES]

One run, at the sizes that `crystalline train` has without options, which saves every so many steps. The
pause between two steps is the time from the end of one to the end of the next, less what the latter took by
itself. A stall is the pause behind a step that is saved, less the median of the other pauses. The first two
steps do not count, since buffers are allocated in them; the first save does, although the run folder is made
in it.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when the median or the
longest stall is above 50 ms. The time until a checkpoint is on the disk, and the slowdown of the steps
meanwhile, have no goal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.training import Saved, StepDone, Trainer
from tests.benchmarks.cost.rounds import Goal, table
from tests.benchmarks.exact.sizes import SIZES
from tests.benchmarks.exact.stalls import Moment, Stalls, stalls_of

if TYPE_CHECKING:
    from tests.benchmarks.exact.sizes import Sizes

GOAL_MS: Final = 50.0
WARM: Final = 2


async def measure(sizes: Sizes, spheres: int, saves: int, every: int, out: Path) -> Stalls:
    """Train, and save so often within one epoch.

    Raises:
        SystemExit: the text is too short for that.
    """
    steps = WARM + saves * every + 1  # the last step is saved too, but nothing comes behind it
    train = sizes.train(spheres=spheres, steps=steps, epochs=1, val_fraction=0.0, save_every=every)
    moments: list[Moment] = []
    saved_at_s: dict[int, float] = {}
    async with Trainer(sizes.model, train, sizes.corpus(), out=out) as trainer:
        if trainer.steps < steps:
            raise SystemExit(f"error: the text has {trainer.steps} steps, not {steps}: save less often")
        async for event in trainer.events():
            now_s = time.perf_counter()
            if isinstance(event, StepDone):
                moments.append(Moment(event.step, now_s, event.seconds))
                progress(event)
            elif isinstance(event, Saved):
                saved_at_s[event.step] = now_s
    del saved_at_s[steps]
    assert sorted(saved_at_s) == list(range(every, steps, every)), f"saved: {sorted(saved_at_s)}"
    return stalls_of(moments[WARM - 1 :], saved_at_s)


def progress(event: StepDone) -> None:
    """Where it is, for whoever looks on."""
    if sys.stderr.isatty():
        end = "\n" if event.step == event.steps else ""
        print(f"\rstep {event.step} of {event.steps}", end=end, file=sys.stderr)


def findings(stalls: Stalls) -> dict[str, Any]:
    """Figures and goals."""
    goals = {
        "median": Goal(statistics.median(stalls.stalls_ms), at_most=GOAL_MS),
        "worst": Goal(max(stalls.stalls_ms), at_most=GOAL_MS),
    }
    return {
        "saves_measured": len(stalls.stalls_ms),
        "stall_ms": {name: round(goal.figure or 0.0, 2) for name, goal in goals.items()},
        "stalls_ms": [round(ms, 2) for ms in stalls.stalls_ms],
        "usual_pause_ms": round(stalls.pause_ms, 2),
        "written_after_ms": summary(stalls.written_ms),
        "step_beside_a_writing_ms": summary(stalls.beside_ms),
        "step_alone_ms": summary(stalls.alone_ms),
        "slowdown": None if stalls.slowdown is None else round(stalls.slowdown, 3),
        "goal_ms": GOAL_MS,
        "goal_reached": all(goal.reached for goal in goals.values()),
    }


def summary(values_ms: tuple[float, ...]) -> dict[str, float | None]:
    """How many there are, their median and the largest."""
    median, worst = (statistics.median(values_ms), max(values_ms)) if values_ms else (None, None)
    return {
        "count": len(values_ms),
        "median": None if median is None else round(median, 2),
        "worst": None if worst is None else round(worst, 2),
    }


def show(found: dict[str, Any]) -> str:
    """The table for people."""
    names = {
        "stall": {"count": found["saves_measured"], **found["stall_ms"]},
        "until it is on the disk": found["written_after_ms"],
        "a step beside a writing": found["step_beside_a_writing_ms"],
        "a step alone": found["step_alone_ms"],
    }
    rows = [
        [name, *("-" if of[key] is None else f"{of[key]:g}" for key in ("count", "median", "worst"))]
        for name, of in names.items()
    ]
    word = "reached" if found["goal_reached"] else "MISSED"
    return f"{table(['ms', 'count', 'median', 'worst'], rows)}\n\nstalls at most {GOAL_MS:g} ms: {word}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--saves", type=int, default=15)
    parser.add_argument("--every", type=int, default=5, help="steps from one save to the next")
    parser.add_argument("--spheres", type=int, default=2)
    parser.add_argument("--sizes", choices=SIZES, default="default")
    parser.add_argument(
        "--place", type=Path, help="a folder on the disk that is meant; default: a temporary one"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        stalls = asyncio.run(
            measure(SIZES[options.sizes], options.spheres, options.saves, options.every, Path(place, "out"))
        )
    found = findings(stalls)
    print(show(found), file=sys.stderr)
    asked = {name: str(value) if name == "place" else value for name, value in vars(options).items()}
    print(json.dumps({**asked, "cores": os.cpu_count(), **found}))
    sys.exit(0 if found["goal_reached"] else 1)


if __name__ == "__main__":
    main()
