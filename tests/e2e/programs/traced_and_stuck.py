"""Asks an actor many times and blocks its event loop for good.

python traced_and_stuck.py TRACE FLUSH_SECONDS
"""

from __future__ import annotations

import asyncio
import sys
import time

from actors import Actor, ActorSystem, Context, message, on
from actors.tracing import TraceOptions


@message("stuck.count")
class Count:
    number: int


@message("stuck.block")
class Block:
    seconds: float


class Worker(Actor):
    @on(Count)
    async def count(self, msg: Count, _ctx: Context) -> Count:
        return msg

    @on(Block)
    async def block(self, msg: Block, _ctx: Context) -> None:
        print("blocked", flush=True)
        time.sleep(msg.seconds)  # noqa: ASYNC251 - that is what it is for


async def main() -> None:
    options = TraceOptions(path=sys.argv[1], flush_s=float(sys.argv[2]))
    async with ActorSystem(trace=options) as system:
        worker = await system.spawn(Worker, name="worker")
        for number in range(5000):
            await system.ask(worker, Count(number), timeout_s=60)
        await system.ask(worker, Block(600), timeout_s=1000)


asyncio.run(main())
