"""Actors of pykka, each in a thread of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pykka

from tests.benchmarks.cost.ways import CHILDREN, Measures, Number, measures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

LIMIT_S = 60.0


class Echo(pykka.ThreadingActor):
    """Answers with what it was asked; of what it was told the answer is dropped."""

    def on_receive(self, message: Any) -> Any:
        return message


class Threads:
    """Asks and tells from the main thread, which blocks meanwhile."""

    def __init__(self) -> None:
        self.refs = [Echo.start() for _ in range(CHILDREN)]

    async def ask(self, messages: Sequence[Number]) -> None:
        ref = self.refs[0]
        for message in messages:
            ref.ask(message, timeout=LIMIT_S)

    async def tell(self, messages: Sequence[Number]) -> None:
        ref = self.refs[0]
        for message in messages:
            ref.tell(message)
        ref.ask(messages[-1], timeout=LIMIT_S)  # its inbox is in order and has no bound: the last was handled

    async def fan_out(self, messages: Sequence[Number]) -> None:
        for message in messages:
            pykka.get_all([ref.ask(message, block=False) for ref in self.refs], timeout=LIMIT_S)

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for _ in messages:
            Echo.start().stop(timeout=LIMIT_S)


@asynccontextmanager
async def threads() -> AsyncIterator[Measures]:
    """Start the actors, and end them."""
    try:
        yield measures(Threads())
    finally:
        pykka.ActorRegistry.stop_all(timeout=LIMIT_S)
