"""What a parent, an asker and a log hear of lives that are lost."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from actors import (
    ActorDown,
    ActorRef,
    ActorSystem,
    AskError,
    Context,
    Down,
    Expired,
    JobToken,
    Request,
    Supervision,
    message,
    on,
)
from tests.helpers.cast import Echo, Fail, Note, Performer, Sleep
from tests.helpers.virtual_loop import settle, virtual

if TYPE_CHECKING:
    from actors import Epoch


@message("lost_lives.run")
class RunEpoch(Request[Note]):
    """Asked of the lead: run an epoch, and have the members with these numbers fail in it."""

    epoch: int
    failing: tuple[int, ...] = ()
    max_restarts: int = 3


class Lead(Performer):
    """Answers with the names of those who lost a life, as seen in the epoch and after it."""

    async def on_start(self, ctx: Context) -> None:
        for number, restarts in enumerate((3, 3, 0)):
            rule = Supervision(max_restarts=restarts, backoff_s=0.0)
            await ctx.spawn(Performer, name=f"m{number}", supervision=rule)

    @on(RunEpoch)
    async def run(self, msg: RunEpoch, ctx: Context) -> Note:
        members = ctx.children
        async with ctx.epoch(msg.epoch, timeout_s=5.0) as epoch:
            assert epoch.number == msg.epoch
            assert not epoch.restarted
            await ctx.ask_all([(members[number], Fail()) for number in msg.failing])
            inside = _names(epoch)
        assert _names(epoch) == inside
        return Note(" ".join(inside))


def _names(epoch: Epoch) -> list[str]:
    return [ref.path.rpartition("/")[2] for ref in epoch.restarted]


@virtual
async def test_an_epoch_names_the_children_that_lost_a_life_in_it() -> None:
    async with ActorSystem() as system:
        lead = await system.spawn(Lead, name="lead")
        assert await system.ask(lead, RunEpoch(1), timeout_s=9.0) == Note("")
        assert await system.ask(lead, RunEpoch(2, (1,)), timeout_s=9.0) == Note("m1")
        assert await system.ask(lead, RunEpoch(3), timeout_s=9.0) == Note(""), "that was another epoch"
        assert await system.ask(lead, RunEpoch(4, (0, 2)), timeout_s=9.0) == Note("m0 m2"), "m2 for good"


@virtual
async def test_who_asks_after_the_end_hears_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with ActorSystem() as system:
        lost = await system.spawn(Performer, name="lost", supervision=Supervision(max_restarts=0))
        with caplog.at_level(logging.WARNING, "actors"), pytest.raises(AskError):
            await system.ask(lost, Fail(), timeout_s=1.0)
        with pytest.raises(ActorDown, match=r"/lost is down \(for good\): ValueError: as asked"):
            await system.ask(lost, Echo(), timeout_s=1.0)
        stranger: ActorRef[Performer] = ActorRef("/lost", 99)
        with pytest.raises(ActorDown, match="no such actor"):
            await system.ask(stranger, Echo(), timeout_s=1.0)
    assert "/lost is lost for good: ValueError: as asked" in caplog.text


@virtual
async def test_the_ends_of_many_are_not_kept_for_ever() -> None:
    async with ActorSystem() as system:
        refs = [await system.spawn(Performer) for _ in range(300)]
        for ref in refs:
            await system.stop(ref)
        with pytest.raises(ActorDown, match="no such actor"):
            await system.ask(refs[0], Echo(), timeout_s=1.0)
        with pytest.raises(ActorDown, match="stopped"):
            await system.ask(refs[-1], Echo(), timeout_s=1.0)


@message("lost_lives.count")
class Count(Request[Note]):
    """Asked: count for ever in a thread."""


class Obedient(Performer):
    """Its job looks at its token, but only now and then."""

    begun = threading.Event()

    @on(Count)
    async def count(self, msg: Count, ctx: Context) -> Note:
        await ctx.offload_within(60.0, _until_nobody_waits)
        return Note()


def _until_nobody_waits(token: JobToken) -> None:
    Obedient.begun.set()
    while not token.cancelled:
        threading.Event().wait(0.01)


async def test_a_job_that_obeys_its_token_is_no_survivor() -> None:
    Obedient.begun.clear()
    async with ActorSystem() as system:
        counter = await system.spawn(Obedient)
        system.tell(counter, Count())
        while not Obedient.begun.is_set():
            await system.ask(await system.spawn(Performer), Echo(), timeout_s=9.0)
        report = await system.shutdown(timeout_s=2.0)
    assert report.survivors == {}


@message("lost_lives.drop")
class Drop:
    """Told: lose a child."""


class Jealous(Performer):
    """Watches its child again whenever it hears of it."""

    heard = 0

    async def on_start(self, ctx: Context) -> None:
        type(self).heard = 0
        rule = Supervision(backoff_s=5.0)
        self.child = await ctx.spawn(Performer, name="child", supervision=rule)

    async def on_down(self, down: Down, ctx: Context) -> None:
        type(self).heard += 1
        ctx.watch(down.ref)

    @on(Drop)
    async def drop(self, msg: Drop, ctx: Context) -> None:
        ctx.tell(self.child, Fail())


@virtual
async def test_who_watches_again_hears_of_one_end_once() -> None:
    async with ActorSystem() as system:
        jealous = await system.spawn(Jealous)
        system.tell(jealous, Drop())
        await settle(200)
        assert Jealous.heard == 1
        assert await system.ask(jealous, Echo("there"), timeout_s=1.0) == Note("there")


@message("lost_lives.both")
class AskBoth(Request[Note]):
    """Asked: ask a quick child and a slow one at once."""


class Waiting(Performer):
    async def on_start(self, ctx: Context) -> None:
        self.children = [await ctx.spawn(Performer, name=name) for name in ("fast", "slow")]

    @on(AskBoth)
    async def both(self, msg: AskBoth, ctx: Context) -> Note:
        fast, slow = self.children
        await ctx.ask_all([(fast, Echo()), (slow, Sleep(5.0))], timeout_s=9.0)
        return Note()


@virtual
async def test_why_waiting_names_who_has_not_answered_yet() -> None:
    async with ActorSystem() as system:
        top = await system.spawn(Waiting, name="top")
        asked = asyncio.create_task(system.ask(top, AskBoth(), timeout_s=9.0))
        await settle()
        assert [wait.target for wait in system.why_waiting(top)] == ["/top/slow"]
        await asked


@virtual
async def test_waits_for_an_epoch_that_expire_do_not_collect() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="idle")
        for _ in range(20):
            with pytest.raises(Expired):
                await system.wait_epoch(ref, 9, timeout_s=0.01)
        assert system._host is not None
        assert len(system._host.cells["/idle"].epoch_waits._waits) <= 1
