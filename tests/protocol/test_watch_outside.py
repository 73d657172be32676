"""Law 1 for code outside the tree, and the end of a watch."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import ActorRef, ActorSystem, Context, Down, Expired, Request, SystemClosed, message, on
from actors.delivery import UNREAD_MAX
from tests.helpers.cast import Director, Fail, Note, Performer, WatchIt, supervised
from tests.helpers.virtual_loop import settle, virtual


@message("outside.unwatch")
class UnwatchIt(Request[Note]):
    """Asked: watch this actor no more."""

    ref: ActorRef[Any]


class Watcher(Director):
    """Can stop watching, too."""

    @on(UnwatchIt)
    async def unwatch_it(self, msg: UnwatchIt, ctx: Context) -> Note:
        ctx.unwatch(msg.ref)
        return Note("looking away")


@virtual
async def test_a_receiver_hears_once_of_every_end() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised(1))
        receiver = system.receiver(capacity=1)
        receiver.watch(ref)
        for _ in range(2):
            system.tell(ref, Fail())
            await asyncio.sleep(1)
        first, second = [await receiver.receive(timeout_s=1) for _ in range(2)]
        assert first == Down(ref, 1, "ValueError: as asked", restarting=True)
        assert (second.ref, second.incarnation, second.restarting) == (ref, 2, False)
        with pytest.raises(Expired):
            await receiver.receive(timeout_s=1)


@virtual
async def test_a_receiver_that_is_never_read_does_not_collect_for_ever() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer)
        await system.stop(ref)
        receiver = system.receiver(capacity=1)
        for _ in range(UNREAD_MAX + 3):
            receiver.watch(ref)
        assert len(receiver.mailbox) == UNREAD_MAX
        assert system.statistics()["dead_letters"] == {"never read": 3}


@virtual
async def test_a_receiver_hears_at_once_when_nobody_is_there() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, supervision=supervised(backoff_s=5))
        receiver = system.receiver()
        system.tell(ref, Fail())
        await settle()
        receiver.watch(ref)
        assert (await receiver.receive(timeout_s=0)).reason == "between two lives"
        await system.stop(ref)
        assert await receiver.receive(timeout_s=0) == Down(ref, 1, "stopped", restarting=False)
        receiver.watch(ref)
        assert await receiver.receive(timeout_s=0) == Down(ref, 0, "no such actor", restarting=False)


@virtual
async def test_a_receiver_that_looks_away_or_is_closed_hears_nothing() -> None:
    async with ActorSystem() as system:
        refs = [await system.spawn(Performer) for _ in range(2)]
        receiver = system.receiver()
        for ref in refs:
            receiver.watch(ref)
        receiver.unwatch(refs[0])
        await system.stop(refs[0])
        assert not len(receiver.mailbox)
        receiver.close()
        assert not system._known().cells[refs[1].path].watchers
        with pytest.raises(SystemClosed, match="is closed"):
            receiver.watch(refs[1])


@virtual
async def test_an_actor_that_looks_away_hears_nothing() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        watcher = await system.spawn(Watcher, log, name="w")
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        for what in (WatchIt(ref), WatchIt(ref), UnwatchIt(ref), UnwatchIt(ref)):
            await system.ask(watcher, what, timeout_s=1)
        system.tell(ref, Fail())
        await asyncio.sleep(1)
        assert not [line for line in log if line.startswith("down")]


@virtual
async def test_a_watch_of_an_actor_that_is_gone_is_not_kept() -> None:
    """An actor that lives long and watches many that live short must not collect them."""
    async with ActorSystem() as system:
        log: list[str] = []
        watcher = await system.spawn(Watcher, log, name="w")
        for _ in range(3):
            ref = await system.spawn(Performer, name="p")
            await system.ask(watcher, WatchIt(ref), timeout_s=1)
            await system.stop(ref)
            await settle()
        assert len([line for line in log if line.startswith("down")]) == 3
        assert system._known().cells["/w"].watched == []


@virtual
async def test_a_watch_and_its_end_leave_a_trace() -> None:
    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Performer, name="p")
        receiver = system.receiver()
        receiver.watch(ref)
        receiver.unwatch(ref)
        assert system.tracer is not None
        kinds = [(event.kind, event.actor) for event in system.tracer.events() if event.type == "/p"]
        assert kinds[-2:] == [("watch", receiver.ref.path), ("unwatch", receiver.ref.path)]
