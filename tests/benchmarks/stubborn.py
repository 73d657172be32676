"""How long a handler that swallows its cancellation holds up whoever waits for it.

usage: python tests/benchmarks/stubborn.py [--stubborn-s S]

A task swallows every cancellation for some seconds. An anyio task group around it, under a limit of 0.2 s,
is compared with an actor whose handler does the same: an ask with a limit of 0.2 s, and a shutdown with a
budget of 1 s. Prints one JSON object of seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import suppress

import anyio

from actors import Actor, ActorSystem, Context, Expired, message, on

LIMIT_S = 0.2
BUDGET_S = 1.0


@message("stubborn.go")
class Go:
    seconds: float


async def stubborn(seconds: float) -> None:
    """Swallow every cancellation for `seconds`."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(left_s)


class Stubborn(Actor):
    @on(Go)
    async def go(self, msg: Go, _ctx: Context) -> None:
        await stubborn(msg.seconds)


async def task_group(seconds: float) -> float:
    begun_s = time.monotonic()
    with anyio.move_on_after(LIMIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(stubborn, seconds)
    return time.monotonic() - begun_s


async def actor(seconds: float) -> tuple[float, float, int]:
    async with ActorSystem("stubborn") as system:
        ref = await system.spawn(Stubborn)
        begun_s = time.monotonic()
        with suppress(Expired):
            await system.ask(ref, Go(seconds), timeout_s=LIMIT_S)
        asked_s = time.monotonic() - begun_s
        report = await system.shutdown(BUDGET_S)
    return asked_s, report.duration_s, len(report.survivors)


def main() -> None:
    parser = argparse.ArgumentParser(description="What a stubborn handler holds up.")
    parser.add_argument("--stubborn-s", type=float, default=3.0)
    seconds = parser.parse_args().stubborn_s
    group_s = asyncio.run(task_group(seconds))
    ask_s, shutdown_s, survivors = asyncio.run(actor(seconds))
    found = {
        "stubborn_s": seconds,
        "task_group_s": round(group_s, 2),
        "ask_s": round(ask_s, 2),
        "shutdown_s": round(shutdown_s, 2),
        "survivors_named": survivors,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
