"""Actors of xoscar in this process and this event loop, reached in both of its ways.

What `create_actor` returns sends messages through the pool, as to an actor anywhere. What `actor_ref` returns
for an actor in the same process calls its method directly: no message, no queue, and nothing that could end
the call. For a tell it makes a task.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import xoscar

from tests.benchmarks.cost.ways import CHILDREN, Arrivals, Measures, Number, measures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager


class Echo(xoscar.Actor):
    """Answers with what it was asked, and counts what it was told."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    async def echo(self, message: Number) -> Number:
        return message

    async def note(self, _message: Number) -> None:
        self._arrivals.handled()


class Pool:
    """Actors in a pool that has no processes below it."""

    def __init__(self, address: str, *, direct: bool) -> None:
        self.address = address
        self.direct = direct
        self.arrivals = Arrivals()
        self.refs: list[Any] = []

    async def create(self, uid: str) -> Any:
        """Start an actor and return a reference of the kind that is measured."""
        ref = await xoscar.create_actor(Echo, self.arrivals, address=self.address, uid=uid)
        return await xoscar.actor_ref(ref) if self.direct else ref

    async def ask(self, messages: Sequence[Number]) -> None:
        ref = self.refs[0]
        for message in messages:
            await ref.echo(message)

    async def tell(self, messages: Sequence[Number]) -> None:
        ref, done = self.refs[0], self.arrivals.expect(len(messages))
        for message in messages:
            await ref.note.tell(message)
        await done

    async def fan_out(self, messages: Sequence[Number]) -> None:
        for message in messages:
            await asyncio.gather(*[ref.echo(message) for ref in self.refs])

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for message in messages:
            await xoscar.destroy_actor(await self.create(f"one-{message.value}"))


@asynccontextmanager
async def pool(*, direct: bool = False) -> AsyncIterator[Measures]:
    """Start a pool and its actors, and end them."""
    async with await xoscar.create_actor_pool("127.0.0.1:0", n_process=0) as opened:
        party = Pool(opened.external_address, direct=direct)
        party.refs = [await party.create(f"echo-{index}") for index in range(CHILDREN)]
        yield measures(party)


def direct_pool() -> AbstractAsyncContextManager[Measures]:
    """The same through direct references."""
    return pool(direct=True)
