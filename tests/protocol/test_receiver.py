"""A mailbox for code outside the tree."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    Context,
    Expired,
    MailboxFull,
    NotHandled,
    Overflow,
    SystemClosed,
    message,
    on,
)
from tests.helpers.cast import Echo, Note, Performer
from tests.helpers.virtual_loop import settle, virtual


@message("receiver.report")
class ReportTo:
    """Told: send this many notes there, one every second."""

    ref: ActorRef[Any]
    notes: int
    pause_s: float = 1.0


class Reporter(Actor):
    @on(ReportTo)
    async def report(self, msg: ReportTo, ctx: Context) -> None:
        for number in range(msg.notes):
            ctx.tell(msg.ref, Note(str(number)))
            await asyncio.sleep(msg.pause_s)


@virtual
async def test_it_takes_what_actors_tell_in_order() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        reporter = await system.spawn(Reporter)
        system.tell(reporter, ReportTo(receiver.ref, 3))
        assert [(await receiver.receive(timeout_s=2)).text for _ in range(3)] == ["0", "1", "2"]
        assert asyncio.get_running_loop().time() == 2


@virtual
async def test_iterating_ends_with_the_system_after_what_had_arrived() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        reporter = await system.spawn(Reporter)
        system.tell(reporter, ReportTo(receiver.ref, 3))
        texts: list[str] = []

        async def listen() -> None:
            texts.extend([note.text async for note in receiver])

        listening = asyncio.create_task(listen())
        await asyncio.sleep(5)
        await system.shutdown(1)
        await listening
        assert texts == ["0", "1", "2"]


@virtual
async def test_iterating_ends_when_its_owner_closes_it() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        system.tell(receiver.ref, Note("before"))
        receiver.close()
        receiver.close()
        system.tell(receiver.ref, Note("after"))
        assert [note.text async for note in receiver] == ["before"]
        with pytest.raises(SystemClosed, match="is closed"):
            await receiver.receive(timeout_s=1)
        assert system.statistics()["dead_letters"] == {"no such actor": 1}


@virtual
async def test_nothing_in_time_is_expired_and_nothing_is_lost() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        with pytest.raises(Expired, match="received nothing within 2 s"):
            await receiver.receive(timeout_s=2)
        system.tell(receiver.ref, Note("later"))
        assert await receiver.receive(timeout_s=2) == Note("later")
        assert system.statistics()["open_waits"] == 0


@virtual
async def test_iterating_at_once_after_a_timeout_hears_the_next_message() -> None:
    """The reader that gave up unwinds after the next one has come, and must not disarm it."""
    async with ActorSystem() as system:
        receiver = system.receiver()
        reporter = await system.spawn(Reporter)
        with pytest.raises(Expired):
            await receiver.receive(timeout_s=1)
        system.tell(reporter, ReportTo(receiver.ref, 1))
        assert await anext(receiver) == Note("0")


@virtual
async def test_it_has_one_reader() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        first = asyncio.create_task(receiver.receive(timeout_s=5))
        await settle()
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(receiver)
        with pytest.raises(RuntimeError, match="one reader"):
            await receiver.receive(timeout_s=5)
        system.tell(receiver.ref, Note("for the first"))
        assert await first == Note("for the first")


@virtual
async def test_a_receive_that_is_cancelled_loses_nothing() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        first = asyncio.create_task(receiver.receive(timeout_s=5))
        await settle()
        system.tell(receiver.ref, Note("kept"))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await receiver.receive(timeout_s=5) == Note("kept")


@virtual
async def test_it_never_answers() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        with pytest.raises(NotHandled, match="never answers"):
            await system.ask(receiver.ref, Echo(), timeout_s=1)
        assert system.statistics()["open_waits"] == 0


@virtual
async def test_it_is_bounded() -> None:
    async with ActorSystem() as system:
        newest = system.receiver(capacity=2)
        strict = system.receiver(capacity=2, overflow=Overflow.FAIL)
        for number in range(4):
            system.tell(newest.ref, Note(str(number)))
        for number in range(2):
            system.tell(strict.ref, Note(str(number)))
        with pytest.raises(MailboxFull):
            system.tell(strict.ref, Note("2"))
        assert [(await newest.receive(timeout_s=1)).text for _ in range(2)] == ["2", "3"]
        assert [(await strict.receive(timeout_s=1)).text for _ in range(2)] == ["0", "1"]


@virtual
async def test_its_address_is_never_an_actors() -> None:
    async with ActorSystem() as system:
        receiver = system.receiver()
        name = receiver.ref.path.strip("/").replace("/", "-")
        log: list[str] = []
        actor = await system.spawn(Performer, log, name=name)
        system.tell(receiver.ref, Note("outside"))
        system.tell(actor, Note("inside"))
        assert await receiver.receive(timeout_s=1) == Note("outside")
        await settle()
        assert log[-1] == "note inside"
        other = system.receiver()
        assert other.ref != receiver.ref
