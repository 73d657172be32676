"""Memory of idle parties, each kind in a process of its own.

usage: python -m tests.benchmarks.cost.idle WAY COUNT

Prints one JSON object: KiB for each of COUNT idle parties, by the growth of the resident set.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors import ActorSystem
from tests.benchmarks.cost.bare import FutureServer, end, started
from tests.benchmarks.cost.own import Echo
from tests.benchmarks.cost.ways import Arrivals

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ROOT: Final = Path(__file__).resolve().parents[3]
PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024
WARM: Final = 50  # the first ones fill caches that all share
LIMIT_S: Final = 300.0


def resident_kib() -> float:
    """The resident set of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KIB


async def actors(count: int) -> float:
    async with ActorSystem("idle") as system:
        for _ in range(WARM):
            await system.spawn(Echo)
        before_kib = resident_kib()
        for _ in range(count):
            await system.spawn(Echo)
        return resident_kib() - before_kib


async def future(count: int) -> float:
    arrivals = Arrivals()
    tasks = [await started(FutureServer(arrivals).serve()) for _ in range(WARM)]
    before_kib = resident_kib()
    tasks += [await started(FutureServer(arrivals).serve()) for _ in range(count)]
    grown_kib = resident_kib() - before_kib
    await end(tasks)
    return grown_kib


WAYS: Final[dict[str, Callable[[int], Coroutine[Any, Any, float]]]] = {"actors": actors, "future": future}


def measure(way: str, count: int) -> float:
    """KiB for each of `count` idle parties, measured in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.cost.idle", way, str(count)],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
    )
    each_kib: float = json.loads(done.stdout)["kib_each"]
    return each_kib


def main() -> None:
    way, count = sys.argv[1], int(sys.argv[2])
    each_kib = asyncio.run(WAYS[way](count)) / count
    print(json.dumps({"way": way, "count": count, "kib_each": round(each_kib, 2)}))


if __name__ == "__main__":
    main()
