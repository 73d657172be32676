"""What a way of talking to another party can be asked to do, and the message that all ways carry.

A way is opened once and yields its measures: coroutine functions that take a list of messages and return
when the work is done. What a program would make itself, the messages, is made before the clock starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

from actors import message

CHILDREN: Final = 12
CAPACITY: Final = 256  # of every mailbox and queue that has a bound


@message("bench.number")
class Number:
    """One small field."""

    value: int


Measures: TypeAlias = dict[str, Callable[[Sequence[Number]], Awaitable[None]]]
Way: TypeAlias = Callable[[], AbstractAsyncContextManager[Measures]]


class Party(Protocol):
    """Somebody to talk to."""

    async def ask(self, messages: Sequence[Number]) -> None:
        """Ask one after the other, each when the one before was answered."""

    async def tell(self, messages: Sequence[Number]) -> None:
        """Tell all, and wait until the last was handled."""

    async def fan_out(self, messages: Sequence[Number]) -> None:
        """For each message, ask `CHILDREN` others at once."""

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        """For each message, start another party, and end it."""


def measures(party: Party) -> Measures:
    """What every party can be asked to do."""
    return {
        "ask": party.ask,
        "tell": party.tell,
        "fan_out": party.fan_out,
        "spawn_stop": party.spawn_stop,
    }


class Arrivals:
    """Tells when the last of some messages was handled."""

    __slots__ = ("_done", "_left")

    def __init__(self) -> None:
        self._left = 0
        self._done: asyncio.Future[None] | None = None

    def expect(self, count: int) -> asyncio.Future[None]:
        """Return what completes at the call of `handled` number `count`."""
        self._left = count
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def handled(self) -> None:
        """Count one message."""
        self._left -= 1
        if not self._left and self._done is not None:
            self._done.set_result(None)


def bursts(messages: Sequence[Number]) -> Iterator[Sequence[Number]]:
    """Cut into pieces that fit into an empty mailbox."""
    for at in range(0, len(messages), CAPACITY):
        yield messages[at : at + CAPACITY]
