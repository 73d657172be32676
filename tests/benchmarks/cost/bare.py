"""Tasks of one loop with nothing around them: a bare Future, and asyncio.Queue."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.benchmarks.cost.ways import CAPACITY, CHILDREN, Arrivals, Measures, Number, bursts, measures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

Reply: TypeAlias = "asyncio.Future[Number]"
Request: TypeAlias = "tuple[Number, Reply | None]"


class FutureServer:
    """A task that answers what lies in a deque, and sleeps on a Future of its own while there is nothing."""

    __slots__ = ("arrivals", "box", "loop", "wakeup")

    def __init__(self, arrivals: Arrivals) -> None:
        self.loop = asyncio.get_running_loop()
        self.arrivals = arrivals
        self.box: deque[Request] = deque()
        self.wakeup: asyncio.Future[None] = self.loop.create_future()

    async def serve(self) -> None:
        """Answer until cancelled."""
        box, arrivals = self.box, self.arrivals
        while True:
            if not box:
                self.wakeup = self.loop.create_future()
                await self.wakeup
            message, reply = box.popleft()
            if reply is None:
                arrivals.handled()
            else:
                reply.set_result(message)

    def send(self, message: Number, reply: Reply | None) -> None:
        """Leave a message, with the Future for its answer if there is to be one."""
        self.box.append((message, reply))
        if not self.wakeup.done():
            self.wakeup.set_result(None)


class Futures:
    """Two tasks and a bare Future: the least that a question and an answer can cost."""

    def __init__(self) -> None:
        self.loop, self.arrivals = asyncio.get_running_loop(), Arrivals()
        self.servers = [FutureServer(self.arrivals) for _ in range(CHILDREN)]

    async def ask(self, messages: Sequence[Number]) -> None:
        loop, server = self.loop, self.servers[0]
        for message in messages:
            reply: Reply = loop.create_future()
            server.send(message, reply)
            await reply

    async def tell(self, messages: Sequence[Number]) -> None:
        server = self.servers[0]
        for burst in bursts(messages):
            done = self.arrivals.expect(len(burst))
            for message in burst:
                server.send(message, None)
            await done

    async def fan_out(self, messages: Sequence[Number]) -> None:
        loop, servers = self.loop, self.servers
        for message in messages:
            replies: list[Reply] = []
            for server in servers:
                reply: Reply = loop.create_future()
                server.send(message, reply)
                replies.append(reply)
            for reply in replies:
                await reply

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for _ in messages:
            await end([await started(FutureServer(self.arrivals).serve())])


class Queues:
    """A bounded asyncio.Queue for requests, and a Future for the reply."""

    def __init__(self) -> None:
        self.loop, self.arrivals = asyncio.get_running_loop(), Arrivals()
        self.boxes: list[asyncio.Queue[Request]] = [asyncio.Queue(CAPACITY) for _ in range(CHILDREN)]

    async def serve(self, box: asyncio.Queue[Request]) -> None:
        arrivals = self.arrivals
        while True:
            message, reply = await box.get()
            if reply is None:
                arrivals.handled()
            else:
                reply.set_result(message)

    async def ask(self, messages: Sequence[Number]) -> None:
        loop, box = self.loop, self.boxes[0]
        for message in messages:
            reply: Reply = loop.create_future()
            await box.put((message, reply))
            await reply

    async def tell(self, messages: Sequence[Number]) -> None:
        box, done = self.boxes[0], self.arrivals.expect(len(messages))
        for message in messages:
            await box.put((message, None))
        await done

    async def fan_out(self, messages: Sequence[Number]) -> None:
        loop, boxes = self.loop, self.boxes
        for message in messages:
            replies: list[Reply] = []
            for box in boxes:
                reply: Reply = loop.create_future()
                await box.put((message, reply))
                replies.append(reply)
            for reply in replies:
                await reply

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for _ in messages:
            await end([await started(self.serve(asyncio.Queue(CAPACITY)))])


@asynccontextmanager
async def future() -> AsyncIterator[Measures]:
    """Start the servers with a bare Future, and end them."""
    party = Futures()
    tasks = [await started(server.serve()) for server in party.servers]
    yield measures(party)
    await end(tasks)


@asynccontextmanager
async def queue() -> AsyncIterator[Measures]:
    """Start the servers with a queue, and end them."""
    party = Queues()
    tasks = [await started(party.serve(box)) for box in party.boxes]
    yield measures(party)
    await end(tasks)


async def started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task and let it come to its first wait."""
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


async def end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
