"""What a tell, an ask, a fan-out, a start and an idle actor cost, beside a bare Future and other libraries.

usage: python tests/benchmarks/runtime.py [--rounds N] [--peers NAMES] [--scale X] [--idle N] [--clock C]

Everything runs in one process and one event loop: a round samples each measure of each way once, in turn,
after a collection of garbage. Only idle memory is taken in a new process for each way, by the growth of the
resident set. Figures are microseconds a message; a fan-out is one message to each of 12 children, in our case
from a handler of their parent. Ratios are taken within a round, and their median counts; the ratio of the
best samples stands beside it. On a machine on which others work too, `--clock cpu` leaves their share out; it
leaves out as well what threads wait for each other.

Ways: `actors` (every law in force, trace off), `traced` (the same with the trace in memory), and the peers:
`future` (two tasks and a bare Future), `queue` (asyncio.Queue with 256 places), `anyio` (memory object
streams with 256 places), `pykka` (actors in threads, inboxes without bound), `xoscar` (same process, the
reference that create_actor returns) and `xoscar_direct` (same process, the reference that actor_ref returns:
a method call, nothing is sent). A message has one int and is made before the clock starts. A tell counts
until the last message was handled. `ask` is asked from outside the tree, `ask_child` by a handler of the
parent, and has no goal.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when a goal was missed, 2
when a peer is not installed: `pip install -e '.[peers]'`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import platform
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks.cost import idle
from tests.benchmarks.cost.rounds import (
    Goal,
    Samples,
    goals_table,
    ratio,
    ratio_of_bests,
    ratios,
    sample_rounds,
    summaries,
    table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.cost.ways import Way

COST: Final = "tests.benchmarks.cost"
OWN: Final = {"actors": (f"{COST}.own", "actors"), "traced": (f"{COST}.own", "traced")}
PEERS: Final = {
    "future": (f"{COST}.bare", "future"),
    "queue": (f"{COST}.bare", "queue"),
    "anyio": (f"{COST}.streams", "streams"),
    "pykka": (f"{COST}.threads", "threads"),
    "xoscar": (f"{COST}.pool", "pool"),
    "xoscar_direct": (f"{COST}.pool", "direct_pool"),
}
MEASURES: Final = ("ask", "ask_child", "tell", "fan_out", "spawn_stop")
# Messages in a sample, which takes up to a tenth of a second.
COUNTS: Final = {"ask": 3000, "ask_child": 3000, "tell": 16_384, "fan_out": 200, "spawn_stop": 300}
# These get fewer, to take about as long. Of tells all get the same number: in a short burst threads are not
# yet in each other's way.
SLOWER: Final = {"anyio": 2, "pykka": 2, "xoscar": 6}

CLOCKS: Final = {"wall": time.perf_counter, "cpu": time.process_time}


def load(names: Sequence[str]) -> dict[str, Way]:
    """The ways by name.

    Raises:
        SystemExit: a peer is not installed.
    """
    places, found = {**OWN, **PEERS}, {}
    for name in names:
        module, function = places[name]
        try:
            found[name] = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            print(
                f"error: {error.name} is not installed: install the extra with `pip install -e '.[peers]'`, "
                f"or leave it out with --peers",
                file=sys.stderr,
            )
            raise SystemExit(2) from None
    return found


async def measure(ways: dict[str, Way], rounds: int, scale: float, clock: str) -> Samples:
    """Open every way, sample in turn, close them."""

    def counts(way: str, name: str) -> int:
        share = 1 if name == "tell" else SLOWER.get(way, 1)
        return max(1, round(COUNTS[name] * scale / share))

    def progress(number: int) -> None:
        if sys.stderr.isatty():
            print(f"\rround {number} of {rounds}", end="\n" if number == rounds else "", file=sys.stderr)

    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(way()) for name, way in ways.items()}
        gc.collect()
        gc.freeze()  # what the libraries hold is no business of the collections within the samples
        return await sample_rounds(opened, counts, rounds, progress, CLOCKS[clock])


def goals(samples: Samples, idle_kib: dict[str, float]) -> dict[str, Goal]:
    """What must be reached."""

    def between(over: str, under: str, name: str) -> tuple[float | None, float | None]:
        cells = (over, name), (under, name)
        return ratio(samples, *cells), ratio_of_bests(samples, *cells)

    return {
        "ask_to_future": Goal(*between("actors", "future", "ask"), at_most=2.0),
        "pykka_to_ask": Goal(*between("pykka", "actors", "ask"), at_least=3.0),
        "xoscar_to_ask": Goal(*between("xoscar", "actors", "ask"), at_least=5.0),
        "pykka_to_tell": Goal(*between("pykka", "actors", "tell"), at_least=2.0),
        "traced_to_ask": Goal(*between("traced", "actors", "ask"), at_most=1.25),
        "idle_actor_kib": Goal(idle_kib.get("actors"), at_most=8.0),
    }


def show(found: dict[str, Any]) -> str:
    """The table for people: medians, and in brackets how many times as much as our actors."""
    rows = []
    for way, of_way in found["ways"].items():
        row = [way]
        for name in MEASURES:
            text = f"{of_way[name]['median_us']:.2f}" if name in of_way else "-"
            times = found["times_actors"].get(name, {}).get(way)
            row.append(f"{text} ({times:.2f}x)" if times is not None else text)
        idle_kib = found["idle"]["kib_each"].get(way)
        rows.append([*row, "-" if idle_kib is None else f"{idle_kib:.2f}"])
    text = table(["median us", *MEASURES, "idle KiB"], rows)
    return f"{text}\n\n{goals_table(found['goals'])}"


def peers_of(text: str) -> list[str]:
    """Parse `--peers`."""
    names = [] if text == "none" else text.split(",")
    if unknown := sorted(set(names) - PEERS.keys()):
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return [name for name in PEERS if name in names]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--peers", type=peers_of, default=list(PEERS), help="names with commas, or none")
    parser.add_argument("--scale", type=float, default=1.0, help="times the messages in a sample")
    parser.add_argument("--idle", type=int, default=10_000, help="how many idle actors, 0 for none")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu for a machine that is busy")
    options = parser.parse_args()
    ways = load([*OWN, *options.peers])
    samples = asyncio.run(measure(ways, options.rounds, options.scale, options.clock))
    kinds = [way for way in ways if way in idle.WAYS and options.idle]
    idle_kib = {way: idle.measure(way, options.idle) for way in kinds}
    judged = goals(samples, idle_kib)
    found = {
        "python": platform.python_version(),
        "rounds": options.rounds,
        "clock": options.clock,
        "ways": summaries(samples),
        "times_actors": ratios(samples, "actors"),
        "idle": {"count": options.idle, "kib_each": idle_kib},
        "goals": {name: goal.report() for name, goal in judged.items()},
        "goals_reached": all(goal.reached is not False for goal in judged.values()),
    }
    print(show(found), file=sys.stderr)
    print(json.dumps(found))
    sys.exit(0 if found["goals_reached"] else 1)


if __name__ == "__main__":
    main()
