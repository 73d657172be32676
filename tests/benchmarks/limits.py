"""What a time limit around each message costs: our heap of deadlines against scopes of others.

usage: python tests/benchmarks/limits.py [--turns N] [--rounds N]

One turn of the event loop, without a limit and with one of 30 s in three ways, in turn, round after round.
Prints one JSON object: for each way the best and the median microseconds a turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import TYPE_CHECKING

import anyio

from actors.waits import Deadlines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LIMIT_S = 30.0


class Limit:
    """An entry of the heap that is closed before its time, as nearly all are."""

    def __init__(self) -> None:
        self.open = True

    def on_deadline(self) -> None:
        """Never called here."""


async def no_limit(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def heap(turns: int) -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop)
    for _ in range(turns):
        limit = Limit()
        deadlines.add(loop.time() + LIMIT_S, limit)
        await asyncio.sleep(0)
        limit.open = False
    deadlines.close()


async def asyncio_timeout(turns: int) -> None:
    for _ in range(turns):
        async with asyncio.timeout(LIMIT_S):
            await asyncio.sleep(0)


async def anyio_fail_after(turns: int) -> None:
    for _ in range(turns):
        with anyio.fail_after(LIMIT_S):
            await asyncio.sleep(0)


WAYS: list[Callable[[int], Awaitable[None]]] = [no_limit, heap, asyncio_timeout, anyio_fail_after]


async def measure(turns: int, rounds: int) -> dict[str, dict[str, float]]:
    times_us: dict[str, list[float]] = {way.__name__: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            begun_s = time.perf_counter()
            await way(turns)
            times_us[way.__name__].append((time.perf_counter() - begun_s) / turns * 1e6)
    return {
        name: {"best_us": round(min(values), 2), "median_us": round(statistics.median(values), 2)}
        for name, values in times_us.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(measure(options.turns, options.rounds))))


if __name__ == "__main__":
    main()
