"""What a trace costs while it is made, and how long its answers take.

usage: python tests/benchmarks/tracing.py [--parts NAMES] [--rounds N] [--asks N] [--steps N] [--events N]
           [--sizes SIZES] [--as-set]

Parts:
  asks      microseconds of an ask from outside the tree: `bare` without a trace, `memory` with the trace in
            memory, `file` with it in a file as well. A sample is long enough for the thread that writes the
            file to be at work within it as it is in use. Ways in turn, ratios within a round.
  steps     milliseconds of a step of training, two spheres with one BLAS thread each, with a trace file and
            without: processes in turn, each with the median of its steps; and what a step leaves behind.
  answers   a file of made-up events, as a training leaves them: megabytes, and seconds to open it, to read
            it whole, for `summary`, and for `why` of a message in the middle and of an actor.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when a goal was missed:
an ask in file or memory at most 1.25 times a bare one, a step with a trace at most 1.02 times one without, a
summary in 5 s and each `why` in 1 s, of a million events; 2 for what cannot be measured; 130 after Ctrl-C.
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
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from actors.tracing import Trace, TraceFile, summarise, why
from tests.benchmarks.cost.own import actors
from tests.benchmarks.cost.rounds import (
    Goal,
    Samples,
    goals_table,
    ratio,
    ratio_of_bests,
    sample_rounds,
    summaries,
    table,
)
from tests.benchmarks.speed.child import ChildError
from tests.benchmarks.speed.options import add_as_set, at_least_one, begun, let_libraries_choose, names_of
from tests.benchmarks.speed.ours import measured
from tests.benchmarks.speed.sizes import SIZES
from tests.benchmarks.speed.turns import BEST, MEDIAN, in_turn, samples_of
from tests.helpers.synthetic_trace import synthetic_events

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: Final = ("asks", "steps", "answers")
SPHERES: Final = 2
WARM: Final = 2
ASK_LIMIT: Final = 1.25
STEP_LIMIT: Final = 1.02
SUMMARY_LIMIT_S: Final = 5.0
WHY_LIMIT_S: Final = 1.0
MILLION: Final = 1_000_000

Found = dict[str, Any]


async def ask_samples(folder: Path, rounds: int, asks: int) -> Samples:
    """Microseconds of an ask, with each kind of trace, in turn."""
    async with AsyncExitStack() as stack:
        ways = {}
        for name, trace in {"bare": None, "memory": True, "file": folder / "asks.trace"}.items():
            of_way = await stack.enter_async_context(actors(trace=trace))
            ways[name] = {"ask": of_way["ask"]}
        return await sample_rounds(
            ways, lambda *_: asks, rounds, lambda number: begun(f"asks, round {number} of {rounds}")
        )


def asks(folder: Path, options: argparse.Namespace) -> tuple[Found, dict[str, Goal]]:
    """What an ask costs."""
    samples = asyncio.run(ask_samples(folder, options.rounds, options.asks))
    goals = {}
    for way in ("memory", "file"):
        cells = (way, "ask"), ("bare", "ask")
        goals[f"ask_{way}"] = Goal(ratio(samples, *cells), ratio_of_bests(samples, *cells), at_most=ASK_LIMIT)
    return {way: of_way["ask"] for way, of_way in summaries(samples).items()}, goals


def steps(folder: Path, options: argparse.Namespace) -> tuple[Found, dict[str, Goal]]:
    """What a step of training costs.

    Raises:
        ChildError: a process failed.
    """
    runs = []
    path = folder / "steps.trace"
    for number, way in in_turn(["off", "on"], options.rounds):
        begun(f"steps, round {number} of {options.rounds}: trace {way}")
        trace = path if way == "on" else None
        runs.append((way, measured(options.sizes, SPHERES, steps=options.steps, warm=WARM, trace=trace)))
    samples = samples_of(runs)
    goal = Goal(
        ratio(samples, ("on", MEDIAN), ("off", MEDIAN)),
        ratio_of_bests(samples, ("on", BEST), ("off", BEST)),
        at_most=STEP_LIMIT,
    )
    found: Found = {
        f"{way}_ms": round(statistics.median(samples[way, MEDIAN]) * 1e3, 2) for way in ("off", "on")
    }
    found["events_per_step"] = round(len(Trace.open(path)) / (WARM + options.steps), 1)
    found["bytes_per_step"] = round(path.stat().st_size / (WARM + options.steps))
    return found, {"step": goal}


def timed(action: Callable[[], object]) -> float:
    """Seconds that it takes."""
    begun_s = time.perf_counter()
    action()
    return time.perf_counter() - begun_s


def answers(folder: Path, options: argparse.Namespace) -> tuple[Found, dict[str, Goal]]:
    """How long it takes to ask."""
    path = folder / "answers.trace"
    begun(f"answers: writing {options.events:,} events")
    file = TraceFile(path)
    for event in synthetic_events(options.events):
        file.write(event)
    file.close()
    begun("answers: asking")
    middle = next(
        event.msg_id
        for at, event in enumerate(synthetic_events(options.events))
        if at > options.events // 2 and event.kind == "receive"
    )
    actor = Trace.open(path).actors[-1]
    seconds = {
        "open_s": timed(lambda: Trace.open(path)),
        "read_s": timed(lambda: sum(1 for _ in Trace.open(path))),
        "summary_s": timed(lambda: summarise(Trace.open(path)).lines()),
        "why_message_s": timed(lambda: why(Trace.open(path), str(middle)).lines()),
        "why_actor_s": timed(lambda: why(Trace.open(path), actor).lines()),
    }
    # The goals are for a million events; of fewer, less would have to be expected.
    judged = options.events >= MILLION
    goals = {
        "summary_s": Goal(seconds["summary_s"], at_most=SUMMARY_LIMIT_S if judged else None),
        "why_message_s": Goal(seconds["why_message_s"], at_most=WHY_LIMIT_S if judged else None),
        "why_actor_s": Goal(seconds["why_actor_s"], at_most=WHY_LIMIT_S if judged else None),
    }
    megabytes = {"events": options.events, "megabytes": round(path.stat().st_size / 1e6, 1)}
    return megabytes | {name: round(value, 3) for name, value in seconds.items()}, goals


def show(found: Found) -> str:
    """The tables for people."""
    rows = []
    for part, of_part in found["parts"].items():
        for name, value in of_part.items():
            figures = value if isinstance(value, dict) else {"": value}
            rows += [[f"{part}, {name} {key}".rstrip(), f"{figure:,g}"] for key, figure in figures.items()]
    return f"{table(['', 'figure'], rows)}\n\n{goals_table(found['goals'])}"


def run(options: argparse.Namespace) -> Found:
    """Everything that was asked for.

    Raises:
        ChildError: a process failed.
    """
    taken_out = let_libraries_choose(os.environ, as_set=options.as_set)
    measures = {"asks": asks, "steps": steps, "answers": answers}
    parts: dict[str, Found] = {}
    goals: dict[str, Goal] = {}
    with tempfile.TemporaryDirectory() as folder:
        for part in options.parts:
            parts[part], of_part = measures[part](Path(folder), options)
            goals |= of_part
    return {
        "parts": parts,
        "goals": {name: goal.report() for name, goal in goals.items()},
        "goals_reached": all(goal.reached is not False for goal in goals.values()),
        "taken_out": taken_out,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=names_of(PARTS), default=list(PARTS), help="names with commas")
    parser.add_argument("--rounds", type=at_least_one, default=7)
    parser.add_argument("--asks", type=at_least_one, default=100_000, help="in a sample")
    parser.add_argument("--steps", type=at_least_one, default=10, help="of each process, warm-up apart")
    parser.add_argument("--events", type=at_least_one, default=MILLION)
    parser.add_argument("--sizes", choices=SIZES, default="headline")
    add_as_set(parser)
    options = parser.parse_args()
    try:
        found = run(options)
    except ChildError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    print(show(found), file=sys.stderr)
    print(json.dumps(found))
    sys.exit(0 if found["goals_reached"] else 1)


if __name__ == "__main__":
    main()
