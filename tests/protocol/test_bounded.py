"""Law 6: mailboxes are bounded, and replies never block."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import contextlib
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
        room = system._known().cells[ref.path].mailbox._room
        assert room is not None
        assert len(room) <= 1


@virtual
async def test_an_ask_is_refused_under_fail() -> None:
    async with ActorSystem() as system:
        ref = await _busy(system, [], Overflow.FAIL)
        for number in range(CAPACITY):
            system.tell(ref, Note(str(number)))
        with pytest.raises(MailboxFull, match=r"/busy holds 3 messages: no room for cast\.echo"):
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
            with pytest.raises(ValueError, match=f"bounded, and holds something: capacity={capacity}"):
                await system.spawn(Performer, capacity=capacity)

    scenario()


@virtual
async def test_large_messages_are_admitted_one_at_a_time_and_none_is_lost() -> None:
    """Credit is for bytes, too; it comes back with every message that is taken, also at the actor's end."""
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.WAIT)
        mailbox = system._known().cells[ref.path].mailbox
        mailbox.bytes_max = 1000
        asks = [asyncio.create_task(system.ask(ref, Echo(text * 900), timeout_s=50)) for text in "abc"]
        small = asyncio.create_task(system.ask(ref, Echo("small"), timeout_s=50))
        await settle()
        assert len(mailbox) == 1
        assert 900 < mailbox.bytes_used <= 1000
        assert [len((await ask).text) for ask in asks] == [900] * 3
        assert (await small).text == "small"
        assert [line[:6] for line in log[-4:]] == ["echo a", "echo b", "echo c", "echo s"]
        assert mailbox.bytes_used == 0
        system.tell(ref, Sleep(5))
        await settle()
        system.tell(ref, Note("x" * 500))
        await system.stop(ref, timeout_s=0)
        assert mailbox.bytes_used == 0


@virtual
async def test_a_message_that_is_dropped_as_the_oldest_gives_its_bytes_back() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await _busy(system, log, Overflow.DROP_OLDEST)
        mailbox = system._known().cells[ref.path].mailbox
        mailbox.bytes_max = 1000
        for text in ("a" * 400, "b" * 400, "c" * 900):
            system.tell(ref, Note(text))
        assert len(mailbox) == 1
        assert _dead(system) == {"dropped as the oldest": 2}
        await asyncio.sleep(6)
        assert log[-1] == "note " + "c" * 900
        assert mailbox.bytes_used == 0


@message("bounded.one_epoch")
class OneEpoch:
    """Asked of the lead: run the first epoch."""


class Crowded(Performer):
    """Says in which state it was when a message came to it."""

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        self.log.append(f"{msg.text} in {ctx.state.value}")
        return Note(msg.text)


class LeadOfTheCrowded(Actor):
    """Runs an epoch over one member whose mailbox is full when it is to begin, and when it is to finish."""

    def __init__(self, log: list[str], overflow: Overflow) -> None:
        self.log = log
        self.overflow = overflow

    async def on_start(self, ctx: Context) -> None:
        await ctx.spawn(Crowded, self.log, name="m0", capacity=2, overflow=self.overflow)

    @on(OneEpoch)
    async def run(self, msg: OneEpoch, ctx: Context) -> Note:
        async with ctx.epoch(1, timeout_s=20):
            await asyncio.sleep(1)
            ctx.tell(ctx.children[0], Sleep(2))
            await settle()
            for number in range(2):
                ctx.tell(ctx.children[0], Note(str(number)))
            for number in range(3):
                ctx.tell_later(1, ctx.children[0], Note(f"later {number}"))
        return Note(f"{ctx.state.value}({ctx.current_epoch})")


@pytest.mark.parametrize("overflow", Overflow)
def test_an_epoch_works_through_a_full_mailbox(overflow: Overflow) -> None:
    """What begins and finishes it has a place of its own, which nothing else can take."""

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            lead = await system.spawn(LeadOfTheCrowded, log, overflow, name="lead")
            cell = system._known().cells["/lead/m0"]
            system.tell(cell.ref, Sleep(2))
            await settle()
            for number in range(2):
                system.tell(cell.ref, Note(str(number)))
            waiting = None
            if overflow is Overflow.WAIT:
                waiting = asyncio.create_task(system.ask(cell.ref, Echo("who waited for room"), timeout_s=50))
                await settle()
            running = asyncio.create_task(system.ask(lead, OneEpoch(), timeout_s=30))
            await settle()
            assert len(cell.mailbox) == 3, "one more than its capacity"
            for number in range(3):  # must not drop the beginning of the epoch
                with contextlib.suppress(MailboxFull):
                    system.tell(cell.ref, Note(f"early {number}"))
            assert (await running).text == "epoch_done(1)"
            assert str(cell.lifecycle) == "epoch_done(1)"
            if waiting is not None:
                await waiting
                assert "who waited for room in running" in log, "the epoch began before there was room"

    scenario()
