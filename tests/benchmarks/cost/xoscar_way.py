"""Actors of xoscar in this process and this event loop, through direct local references. From the extra `bench`."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import xoscar
from xoscar.core import create_local_actor_ref

from tests.benchmarks.cost.ways import CHILDREN, Arrivals, Measures, Number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Echo(xoscar.Actor):  # type: ignore[misc] # untyped
    """Answers with what it was asked, and counts what it was told."""

    def __init__(self, arrivals: Arrivals) -> None:
        super().__init__()
        self._arrivals = arrivals

    async def echo(self, message: Number) -> Number:
        return message

    async def note(self, _message: Number) -> None:
        self._arrivals.handled()


@asynccontextmanager
async def xoscar_actors() -> AsyncIterator[Measures]:
    """A pool without processes below it."""
    arrivals = Arrivals()
    pool = await xoscar.create_actor_pool("127.0.0.1:0", n_process=0)
    address = pool.external_address

    async def create(uid: str) -> xoscar.ActorRef:
        await xoscar.create_actor(Echo, arrivals, address=address, uid=uid)
        return create_local_actor_ref(address, uid.encode())

    async with pool:
        refs = [await create(f"echo-{index}") for index in range(CHILDREN)]
        ref = refs[0]

        async def ask(messages: Sequence[Number]) -> None:
            for message in messages:
                await ref.echo(message)

        async def tell(messages: Sequence[Number]) -> None:
            done = arrivals.expect(len(messages))
            for message in messages:
                await ref.note.tell(message)
            await done

        async def fan_out(messages: Sequence[Number]) -> None:
            for message in messages:
                await asyncio.gather(*[one.echo(message) for one in refs])

        async def spawn_stop(messages: Sequence[Number]) -> None:
            for message in messages:
                await xoscar.destroy_actor(await create(f"one-{message.value}"))

        yield {"ask": ask, "tell": tell, "fan_out": fan_out, "spawn_stop": spawn_stop}
