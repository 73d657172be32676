"""Tasks of one loop with nothing around them: a bare Future, asyncio.Queue, anyio's memory object streams."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from tests.benchmarks.cost.ways import CAPACITY, CHILDREN, Arrivals, Measures, Number, bursts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

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
        self.box.append((message, reply))
        if not self.wakeup.done():
            self.wakeup.set_result(None)


@asynccontextmanager
async def future() -> AsyncIterator[Measures]:
    """Two tasks and a bare Future: the least that a question and an answer can cost."""
    loop, arrivals = asyncio.get_running_loop(), Arrivals()
    servers = [FutureServer(arrivals) for _ in range(CHILDREN)]
    server = servers[0]

    async def ask(messages: Sequence[Number]) -> None:
        for message in messages:
            reply: Reply = loop.create_future()
            server.send(message, reply)
            await reply

    async def tell(messages: Sequence[Number]) -> None:
        for burst in bursts(messages):
            done = arrivals.expect(len(burst))
            for message in burst:
                server.send(message, None)
            await done

    async def fan_out(messages: Sequence[Number]) -> None:
        for message in messages:
            replies: list[Reply] = []
            for one in servers:
                reply: Reply = loop.create_future()
                one.send(message, reply)
                replies.append(reply)
            for reply in replies:
                await reply

    async def spawn_stop(messages: Sequence[Number]) -> None:
        for _ in messages:
            one = FutureServer(arrivals)
            await end([await started(one.serve())])

    tasks = [await started(one.serve()) for one in servers]
    yield {"ask": ask, "tell": tell, "fan_out": fan_out, "spawn_stop": spawn_stop}
    await end(tasks)


@asynccontextmanager
async def queue() -> AsyncIterator[Measures]:
    """A bounded asyncio.Queue for requests, and a Future for the reply."""
    loop, arrivals = asyncio.get_running_loop(), Arrivals()
    boxes: list[asyncio.Queue[Request]] = [asyncio.Queue(CAPACITY) for _ in range(CHILDREN)]
    box = boxes[0]

    async def serve(own: asyncio.Queue[Request]) -> None:
        while True:
            message, reply = await own.get()
            if reply is None:
                arrivals.handled()
            else:
                reply.set_result(message)

    async def ask(messages: Sequence[Number]) -> None:
        for message in messages:
            reply: Reply = loop.create_future()
            await box.put((message, reply))
            await reply

    async def tell(messages: Sequence[Number]) -> None:
        done = arrivals.expect(len(messages))
        for message in messages:
            await box.put((message, None))
        await done

    async def fan_out(messages: Sequence[Number]) -> None:
        for message in messages:
            replies: list[Reply] = [loop.create_future() for _ in boxes]
            for one, reply in zip(boxes, replies, strict=True):
                await one.put((message, reply))
            for reply in replies:
                await reply

    async def spawn_stop(messages: Sequence[Number]) -> None:
        for _ in messages:
            await end([await started(serve(asyncio.Queue(CAPACITY)))])

    tasks = [await started(serve(one)) for one in boxes]
    yield {"ask": ask, "tell": tell, "fan_out": fan_out, "spawn_stop": spawn_stop}
    await end(tasks)


class Streams:
    """A task with a stream for what it receives and another for what it answers."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.requests: MemoryObjectSendStream[Number]
        self.replies: MemoryObjectReceiveStream[Number]
        self.requests, self._inbox = anyio.create_memory_object_stream[Number](CAPACITY)
        self._outbox, self.replies = anyio.create_memory_object_stream[Number](CAPACITY)
        self.notes: MemoryObjectSendStream[Number]
        self.notes, self._told = anyio.create_memory_object_stream[Number](CAPACITY)

    async def serve(self) -> None:
        while True:
            await self._outbox.send(await self._inbox.receive())

    async def take_notes(self) -> None:
        while True:
            await self._told.receive()
            self.arrivals.handled()

    def close(self) -> None:
        for stream in (
            self.requests,
            self._inbox,
            self._outbox,
            self.replies,
            self.notes,
            self._told,
        ):
            stream.close()


@asynccontextmanager
async def anyio_streams() -> AsyncIterator[Measures]:
    """Bounded memory object streams, one each way."""
    arrivals = Arrivals()
    parties = [Streams(arrivals) for _ in range(CHILDREN)]
    party = parties[0]

    async def ask(messages: Sequence[Number]) -> None:
        for message in messages:
            await party.requests.send(message)
            await party.replies.receive()

    async def tell(messages: Sequence[Number]) -> None:
        done = arrivals.expect(len(messages))
        for message in messages:
            await party.notes.send(message)
        await done

    async def fan_out(messages: Sequence[Number]) -> None:
        for message in messages:
            for one in parties:
                await one.requests.send(message)
            for one in parties:
                await one.replies.receive()

    async def spawn_stop(messages: Sequence[Number]) -> None:
        for _ in messages:
            one = Streams(arrivals)
            async with anyio.create_task_group() as group:
                group.start_soon(one.serve)
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            one.close()

    async with anyio.create_task_group() as group:
        for one in parties:
            group.start_soon(one.serve)
        group.start_soon(party.take_notes)
        yield {"ask": ask, "tell": tell, "fan_out": fan_out, "spawn_stop": spawn_stop}
        group.cancel_scope.cancel()
    for one in parties:
        one.close()


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
