"""Law 6: mailboxes are bounded, and replies never block."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import Actor, ActorRef, ActorSystem, Context, Down, Expired, MailboxFull, Overflow, message, on
from tests.helpers.cast import Echo, Note, Performer, Sleep
from tests.helpers.virtual_loop import settle, virtual

CAPACITY = 3


async def _busy(system: ActorSystem, log: list[str], overflow: Overflow) -> ActorRef[Performer]:
    """An actor with room for `CAPACITY` messages that is at work for 5 seconds."""
    ref = await system.spawn(Performer, log, name="busy", capacity=CAPACITY, overflow=overflow)
    system.tell(ref, Sleep(5))
    await settle()
    return ref


def _dead(system: ActorSystem) -> dict[str, int]:
    dead: dict[str, int] = system.statistics()["dead_letters"]
    return dead


@pytest.mark.parametrize("overflow", [Overflow.WAIT, Overflow.FAIL])
def test_a_tell_that_finds_no_room_is_an_error_and_a_dead_letter(overflow: Overflow) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            ref = await _busy(system, log, overflow)
            for number in range(CAPACITY):
                system.tell(ref, Note(str(number)))
            with pytest.raises(MailboxFull, match=r"/busy holds 3 messages and takes no cast\.note now"):
                system.tell(ref, Note("too many"))
            assert _dead(system) == {"mailbox full": 1}
            assert system.tree()[0].queued == CAPACITY
            await asyncio.sleep(6)
            assert log[-CAPACITY:] == ["note 0", "note 1", "note 2"]

    scenario()


@virtual
async def test_drop_oldest_makes_room() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.DROP_OLDEST)
        oldest = asyncio.create_task(system.ask(ref, Echo("oldest"), timeout_s=50))
        await settle()
        for number in range(CAPACITY + 1):
            system.tell(ref, Note(str(number)))
        with pytest.raises(MailboxFull, match="/busy dropped it"):
            await oldest
        assert await system.ask(ref, Echo("newest"), timeout_s=50) == Note("newest")
        assert log[-3:] == ["note 2", "note 3", "echo newest"]
        assert _dead(system) == {"dropped as the oldest": 3}


@virtual
async def test_an_ask_waits_for_room_in_the_order_of_arrival() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.WAIT)
        asks = [asyncio.create_task(system.ask(ref, Echo(str(i)), timeout_s=50)) for i in range(10)]
        await settle()
        assert system.tree()[0].queued == CAPACITY
        answers = await asyncio.gather(*asks)
        assert [answer.text for answer in answers] == [str(i) for i in range(10)]
        assert log[-10:] == [f"echo {i}" for i in range(10)]


@virtual
async def test_an_ask_that_finds_no_room_in_time_expires() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.WAIT)
        for number in range(CAPACITY):
            system.tell(ref, Note(str(number)))
        with pytest.raises(Expired):
            await system.ask(ref, Echo("no room"), timeout_s=1)
        assert await system.ask(ref, Echo("room"), timeout_s=50) == Note("room")
        assert "echo no room" not in log


@virtual
async def test_those_who_gave_up_do_not_pile_up() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.WAIT)
        for number in range(CAPACITY):
            system.tell(ref, Note(str(number)))
        for _ in range(20):
            with pytest.raises(Expired):
                await system.ask(ref, Echo(), timeout_s=0.1)
        assert len(system._known().cells[ref.path].mailbox._room) <= 1


@virtual
async def test_an_ask_is_refused_under_fail() -> None:
    async with ActorSystem() as system:
        ref = await _busy(system, [], Overflow.FAIL)
        for number in range(CAPACITY):
            system.tell(ref, Note(str(number)))
        with pytest.raises(MailboxFull, match=r"/busy holds 3 messages, its capacity"):
            await system.ask(ref, Echo(), timeout_s=50)
        assert asyncio.get_running_loop().time() == 0
        assert system.statistics()["open_asks"] == 0


@message("bounded.flood")
class Flood:
    ref: ActorRef[Any]


class Flooder(Actor):
    """Fills its own mailbox, then asks its child: the answer must come through all the same."""

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        """Take it."""

    @on(Flood)
    async def flood(self, msg: Flood, ctx: Context) -> Note:
        child = await ctx.spawn(Performer)
        for _ in range(2):
            ctx.tell(ctx.self_ref, Note())
        with pytest.raises(MailboxFull):
            ctx.tell(ctx.self_ref, Note())
        answer: Note = await ctx.ask(child, Echo("came through"), timeout_s=5)
        return answer


@virtual
async def test_a_reply_needs_no_room_in_the_askers_mailbox() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Flooder, capacity=2)
        assert await system.ask(ref, Flood(ref), timeout_s=9) == Note("came through")


@virtual
async def test_the_system_lane_has_room_when_the_user_lane_is_full() -> None:
    class Parent(Performer):
        async def on_start(self, ctx: Context) -> None:
            self.child = await ctx.spawn(Performer, name="child")

        async def on_down(self, down: Down, ctx: Context) -> None:
            self.log.append(f"heard of {down.ref}")

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Parent, log, name="p", capacity=1)
        system.tell(ref, Sleep(5))
        await settle()
        system.tell(ref, Note("user"))
        child = system.tree()[0].children[0].path
        await system.stop(system._known().cells[child].ref)
        await asyncio.sleep(6)
        assert log[-2:] == ["heard of /p/child", "note user"], "the system lane is read first"


@virtual
async def test_a_full_actor_can_be_stopped() -> None:
    async with ActorSystem() as system:
        ref = await _busy(system, [], Overflow.WAIT)
        for number in range(CAPACITY):
            system.tell(ref, Note(str(number)))
        await system.stop(ref, timeout_s=20)
        assert system.tree() == ()
        assert asyncio.get_running_loop().time() == 5.0, "what was admitted is drained first"


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_mailbox_without_room_is_refused(capacity: int) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            with pytest.raises(ValueError, match=f"got capacity {capacity}"):
                await system.spawn(Performer, capacity=capacity)

    scenario()
