"""An epoch and a stop that meet: what was begun before the stop belongs to the epoch."""

from __future__ import annotations

import asyncio

import pytest

from actors import ActorRef, ActorSystem, AskFailed, Context, Request, message, on
from tests.helpers.cast import Note, Performer, Sleep
from tests.helpers.virtual_loop import virtual


@message("epochs_and_stops.run")
class RunEpoch(Request[Note]):
    """Asked of the lead: run this epoch."""

    epoch: int
    timeout_s: float


@virtual
async def test_an_epoch_is_not_over_while_a_child_that_is_being_stopped_still_works_in_it() -> None:
    class Lead(Performer):
        async def on_start(self, ctx: Context) -> None:
            self.child = await ctx.spawn(Performer, self.log, "child", name="child")

        @on(RunEpoch)
        async def run(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                ctx.tell(self.child, Sleep(1.0))
                await asyncio.sleep(0.5)  # in which it is stopped, and may finish what it has begun
            return Note("over")

    async def run(timeout_s: float) -> tuple[Note | AskFailed, float, list[str]]:
        log: list[str] = []
        loop = asyncio.get_running_loop()
        async with ActorSystem() as system:
            lead = await system.spawn(Lead, log, "lead")
            begun_s = loop.time()
            asked = asyncio.create_task(system.ask(lead, RunEpoch(1, timeout_s=timeout_s), timeout_s=9.0))
            await asyncio.sleep(0.2)
            child = next(iter(system.tree()[0].children))
            assert child.path.endswith("/child")
            stopping = asyncio.create_task(system.stop(ActorRef(child.path, 2), timeout_s=5.0))
            (answer,) = await asyncio.gather(asked, return_exceptions=True)
            took_s, seen = loop.time() - begun_s, list(log)
            await stopping
        assert isinstance(answer, Note | AskFailed)
        return answer, took_s, seen

    answer, took_s, log = await run(timeout_s=5.0)
    assert answer == Note("over")
    assert took_s == pytest.approx(1.0)
    assert log[-3:-1] == ["slept", "stop child"]

    answer, took_s, _ = await run(timeout_s=0.7)
    assert isinstance(answer, AskFailed)
    assert answer.error_type == "EpochFailed"
    assert took_s == pytest.approx(0.7)
