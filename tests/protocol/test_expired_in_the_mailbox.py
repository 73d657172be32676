"""Law 5: an ask whose time is over is not begun, also when the loop had no chance to fire its timer."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio

import pytest

from actors import ActorSystem, Context, Expired, message, on
from actors.testing import VirtualLoop
from tests.helpers.cast import Echo, Performer
from tests.helpers.virtual_loop import virtual


@message("expired.block")
class Block:
    """Told: hold the event loop for so many seconds."""

    seconds: float


class Blocking(Performer):
    @on(Block)
    async def block(self, msg: Block, ctx: Context) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jump(msg.seconds)  # as a computation would: time passes, and no callback runs


@pytest.mark.parametrize(("timeout_s", "handled"), [(0.2, False), (0.8, True)])
@virtual
async def test_an_ask_behind_a_handler_that_blocks_is_begun_only_in_its_time(
    timeout_s: float, *, handled: bool
) -> None:
    log: list[str] = []
    async with ActorSystem() as system:
        ref = await system.spawn(Blocking, log)
        asked = asyncio.create_task(system.ask(ref, Echo("late"), timeout_s=timeout_s))
        system.tell(ref, Block(0.5))  # in the mailbox before the ask, whose task has not begun yet
        (end,) = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(end, Expired) is not handled
    assert ("echo late" in log) is handled
