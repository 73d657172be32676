"""What a tell, an ask, a fan-out, a start and an idle actor cost, beside a bare Future and other libraries.

usage: python tests/benchmarks/runtime.py [--rounds N] [--peers NAMES] [--scale X] [--idle N] [--no-goals]

Everything runs in one process and one event loop: a round samples each measure of each way once, in turn, after
a collection of garbage. Only idle memory is taken in a new process for each way, by the growth of the resident
set. Figures are microseconds a message (a fan-out is one message to each of 12 children); ratios are taken
within a round, then their median.

Ways: `actors` (every law in force, trace off), `traced` (the same with the trace in memory), and the peers:
`future` (two tasks and a bare Future), `queue` (asyncio.Queue with 256 places), `anyio` (memory object streams
with 256 places), `pykka` (actors in threads), `xoscar` (same process, direct local references). A message has
one int and is made before the clock starts. A tell counts until the last message was handled. `ask` is asked
from outside the tree, `ask_child` by a handler.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when a goal was missed, 2 when a
peer is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import json
import platform
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks.cost import idle
from tests.benchmarks.cost.rounds import Goal, Samples, ratio, ratios, sample_rounds, summaries, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.cost.ways import Way

COST: Final = "tests.benchmarks.cost"
OWN: Final = {"actors": (f"{COST}.own", "actors"), "traced": (f"{COST}.own", "traced")}
PEERS: Final = {
    "future": (f"{COST}.bare", "future"),
    "queue": (f"{COST}.bare", "queue"),
    "anyio": (f"{COST}.bare", "anyio_streams"),
    "pykka": (f"{COST}.pykka_way", "pykka_actors"),
    "xoscar": (f"{COST}.xoscar_way", "xoscar_actors"),
}
MEASURES: Final = ("ask", "ask_child", "tell", "fan_out", "spawn_stop")
# Messages in a sample: about a tenth of a second each.
COUNTS: Final = {"ask": 6000, "ask_child": 6000, "tell": 16_384, "fan_out": 400, "spawn_stop": 600}
SLOWER: Final = {"anyio": 2, "pykka": 3, "xoscar": 6}  # these get fewer, to take about as long


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
                f"error: {error.name} is not installed: install the extra with `pip install -e '.[bench]'`, "
                f"or leave it out with --peers",
                file=sys.stderr,
            )
            raise SystemExit(2) from None
    return found


async def measure(ways: dict[str, Way], rounds: int, scale: float) -> Samples:
    """Open every way, sample in turn, close them."""

    def counts(way: str, name: str) -> int:
        return max(1, round(COUNTS[name] * scale / SLOWER.get(way, 1)))

    def progress(number: int) -> None:
        if sys.stderr.isatty():
            print(f"\rround {number} of {rounds}", end="\n" if number == rounds else "", file=sys.stderr)

    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(way()) for name, way in ways.items()}
        gc.collect()
        gc.freeze()  # what the libraries hold is no business of the collections within the samples
        return await sample_rounds(opened, counts, rounds, progress)


def goals(samples: Samples, idle_kib: dict[str, float]) -> dict[str, Goal]:
    """What must be reached."""
    own = ("actors", "ask")
    return {
        "ask_to_future": Goal(ratio(samples, own, ("future", "ask")), at_most=2.0),
        "pykka_to_ask": Goal(ratio(samples, ("pykka", "ask"), own), at_least=3.0),
        "xoscar_to_ask": Goal(ratio(samples, ("xoscar", "ask"), own), at_least=5.0),
        "pykka_to_tell": Goal(ratio(samples, ("pykka", "tell"), ("actors", "tell")), at_least=2.0),
        "traced_to_ask": Goal(ratio(samples, ("traced", "ask"), own), at_most=1.25),
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
    lines = [table(["median us", *MEASURES, "idle KiB"], rows), ""]
    for name, goal in found["goals"].items():
        bound = f"at most {goal['at_most']}" if "at_most" in goal else f"at least {goal['at_least']}"
        word = {True: "reached", False: "MISSED", None: "not measured"}[goal["reached"]]
        lines.append(
            f"{name:16} {goal['figure'] if goal['figure'] is not None else '-':>8}  {bound:14} {word}"
        )
    return "\n".join(lines)


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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=peers_of, default=list(PEERS), help="names with commas, or none")
    parser.add_argument("--scale", type=float, default=1.0, help="times the messages in a sample")
    parser.add_argument("--idle", type=int, default=10_000, help="how many idle actors, 0 for none")
    options = parser.parse_args()
    ways = load([*OWN, *options.peers])
    samples = asyncio.run(measure(ways, options.rounds, options.scale))
    kinds = [way for way in ways if way in idle.WAYS and options.idle]
    idle_kib = {way: idle.measure(way, options.idle) for way in kinds}
    judged = goals(samples, idle_kib)
    found = {
        "python": platform.python_version(),
        "rounds": options.rounds,
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
