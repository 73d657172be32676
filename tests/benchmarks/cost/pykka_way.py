"""Actors of pykka, each in a thread of its own. From the extra `bench`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pykka

from tests.benchmarks.cost.ways import CHILDREN, Measures, Number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LIMIT_S = 60.0


class Echo(pykka.ThreadingActor):  # type: ignore[misc] # untyped where the extra is not installed
    """Answers with what it was asked; of what it was told the answer is dropped."""

    def on_receive(self, message: Any) -> Any:
        return message


@asynccontextmanager
async def pykka_actors() -> AsyncIterator[Measures]:
    """Asks and tells from the main thread, which blocks meanwhile."""
    refs = [Echo.start() for _ in range(CHILDREN)]
    ref = refs[0]

    async def ask(messages: Sequence[Number]) -> None:
        for message in messages:
            ref.ask(message, timeout=LIMIT_S)

    async def tell(messages: Sequence[Number]) -> None:
        for message in messages:
            ref.tell(message)
        ref.ask(messages[-1], timeout=LIMIT_S)  # its inbox is in order and has no bound: the last was handled

    async def fan_out(messages: Sequence[Number]) -> None:
        for message in messages:
            pykka.get_all([one.ask(message, block=False) for one in refs], timeout=LIMIT_S)

    async def spawn_stop(messages: Sequence[Number]) -> None:
        for _ in messages:
            Echo.start().stop(timeout=LIMIT_S)

    try:
        yield {"ask": ask, "tell": tell, "fan_out": fan_out, "spawn_stop": spawn_stop}
    finally:
        pykka.ActorRegistry.stop_all(timeout=LIMIT_S)
