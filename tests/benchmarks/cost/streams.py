"""Tasks that talk through anyio's memory object streams."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from tests.benchmarks.cost.ways import CAPACITY, CHILDREN, Arrivals, Measures, Number, measures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Server:
    """A task with a stream for what it is asked, one for its answers, and one for what it is told."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self.requests, self._inbox = anyio.create_memory_object_stream[Number](CAPACITY)
        self._outbox, self.replies = anyio.create_memory_object_stream[Number](CAPACITY)
        self.notes, self._told = anyio.create_memory_object_stream[Number](CAPACITY)

    async def serve(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._outbox.send(await self._inbox.receive())

    async def take_notes(self) -> None:
        """Count what is told until cancelled."""
        while True:
            await self._told.receive()
            self._arrivals.handled()

    def close(self) -> None:
        """Close all streams."""
        senders, receivers = (
            (self.requests, self._outbox, self.notes),
            (self._inbox, self.replies, self._told),
        )
        for stream in (*senders, *receivers):
            stream.close()


class Streams:
    """Bounded memory object streams, one each way."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.servers = [Server(self.arrivals) for _ in range(CHILDREN)]

    async def ask(self, messages: Sequence[Number]) -> None:
        server = self.servers[0]
        for message in messages:
            await server.requests.send(message)
            await server.replies.receive()

    async def tell(self, messages: Sequence[Number]) -> None:
        server, done = self.servers[0], self.arrivals.expect(len(messages))
        for message in messages:
            await server.notes.send(message)
        await done

    async def fan_out(self, messages: Sequence[Number]) -> None:
        for message in messages:
            for server in self.servers:
                await server.requests.send(message)
            for server in self.servers:
                await server.replies.receive()

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for _ in messages:
            server = Server(self.arrivals)
            async with anyio.create_task_group() as group:
                group.start_soon(server.serve)
                await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            server.close()


@asynccontextmanager
async def streams() -> AsyncIterator[Measures]:
    """Start the servers, and end them."""
    party = Streams()
    async with anyio.create_task_group() as group:
        for server in party.servers:
            group.start_soon(server.serve)
        group.start_soon(party.servers[0].take_notes)
        yield measures(party)
        group.cancel_scope.cancel()
    for server in party.servers:
        server.close()
