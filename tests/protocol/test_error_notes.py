"""Errors that reach the user carry in their notes who waited for whom just then, and who had asked for it."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskError,
    AskFailed,
    Context,
    EpochFailed,
    Expired,
    JobsExhausted,
    MailboxFull,
    NotHandled,
    Overflow,
    Request,
    State,
    UpwardAsk,
    WrongState,
    message,
    on,
)
from actors import notes as notes_module
from actors.notes import NOTES_MAX, notes_of, of_asker, with_notes
from tests.helpers.cast import Cling, Director, Echo, Fail, Note, Performer, Relay, Sleep, Spawn, supervised
from tests.helpers.virtual_loop import Stuck, run_virtual, settle, virtual, wait_for_threads

if TYPE_CHECKING:
    from collections.abc import Awaitable


@message("notes.down")
class Deeper(Request[Note]):
    """Asked: ask the one below, down to the last, who sleeps."""

    levels: int


@message("notes.work")
class Work(Request[Note]):
    """Asked: give the job to a thread."""

    limit_s: float = 50.0


@message("notes.both")
class Both(Request[Note]):
    """Asked: ask both for an echo, and say how each ended."""

    refs: tuple[ActorRef[Any], ...]


@message("notes.epoch")
class Run(Request[Note]):
    """Asked: run an epoch with the children."""

    epoch: int


@message("notes.only_running")
class OnlyRunning(Request[Note]):
    """Refused unless an epoch runs."""


class Link(Actor):
    """One of a chain of actors, each below the one before."""

    def __init__(self, levels: int, job: Stuck | None = None) -> None:
        self.levels = levels
        self.job = job

    async def on_start(self, ctx: Context) -> None:
        self.below = await ctx.spawn(Link, self.levels - 1, name="x") if self.levels else None

    @on(Deeper)
    async def deeper(self, msg: Deeper, ctx: Context) -> Note:
        if self.below is None:
            await asyncio.sleep(1e6)
            return Note()
        return await ctx.ask(self.below, msg, timeout_s=1e4)

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        await ctx.offload_within(msg.limit_s, self.job or (lambda _: None))
        return Note()

    @on(OnlyRunning, when=State.RUNNING)
    async def only_running(self, msg: OnlyRunning, ctx: Context) -> Note:
        return Note()

    @on(Relay)
    async def relay(self, msg: Relay, ctx: Context) -> Note:
        return await ctx.ask(msg.ref, Echo(), timeout_s=5.0)


async def raised(asking: Awaitable[Any]) -> tuple[Exception, list[str]]:
    """The error in which something ends, and its notes."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whichever it is, it is looked at
        await asking
    return caught.value, list(getattr(caught.value, "__notes__", ()))


@virtual
async def test_expired_tells_the_chain_down_to_who_is_at_work() -> None:
    async with ActorSystem() as system:
        top = await system.spawn(Link, 2, name="top")
        error, notes = await raised(system.ask(top, Deeper(2), timeout_s=3.0))
    assert str(error) == "outside waited for /top (reply to notes.down) and was given 3 s"
    assert isinstance(error, Expired)
    *chain, last = notes
    assert chain == [
        "outside waits for /top (reply to notes.down) for 3.0 s",
        "/top waits for /top/x (reply to notes.down) for 3.0 s",
        "/top/x waits for /top/x/x (reply to notes.down) for 3.0 s",
    ]
    assert re.fullmatch(r"/top/x/x handles message \d+ \(notes\.down\) for 3\.0 s, 0 queued", last)


@virtual
async def test_a_chain_that_is_long_is_cut_in_the_middle() -> None:
    async with ActorSystem(trace=True) as system:
        top = await system.spawn(Link, 30, name="top")
        _, notes = await raised(system.ask(top, Deeper(30), timeout_s=3.0))
    assert len(notes) <= NOTES_MAX
    assert notes[0].startswith("outside waits for /top ")
    assert "... 24 more ..." in notes
    assert any(note.startswith(f"/top{'/x' * 30} handles message") for note in notes)
    assert notes[-1] == f"3.000 s before, /top{'/x' * 30}: receive notes.down /top{'/x' * 29}", "of the trace"


@virtual
async def test_expired_tells_that_it_was_not_begun_with() -> None:
    async with ActorSystem() as system:
        busy = await system.spawn(Performer, name="busy")
        first = asyncio.ensure_future(system.ask(busy, Sleep(10.0), timeout_s=60.0))
        await settle()
        _, notes = await raised(system.ask(busy, Echo(), timeout_s=2.0))
        await first
    assert len(notes) == 2
    begun = r"/busy handles message (\d+) \(cast\.sleep\) for 2\.0 s, 1 queued, "
    assert re.fullmatch(begun + r"and has not begun with message (\d+) \(cast\.echo\)", notes[1])


@virtual
async def test_expired_tells_where_the_job_is() -> None:
    job = Stuck()
    async with ActorSystem() as system:
        worker = await system.spawn(Link, 0, job, name="worker")
        asking = asyncio.ensure_future(system.ask(worker, Work(), timeout_s=4.0))
        await settle()
        wait_for_threads(lambda: job.entered == 1)
        _, notes = await raised(asking)
        job.release()
    assert notes[:2] == [
        "outside waits for /worker (reply to notes.work) for 4.0 s",
        f"/worker waits for {notes[2].partition(':')[0]} (its result) for 4.0 s",
    ]
    assert re.fullmatch(r"job .*: after \S+ s; at \w+\.py:\d+ in \S+", notes[2])


@virtual
async def test_what_a_handler_raised_brings_its_notes_along() -> None:
    job = Stuck()
    async with ActorSystem() as system:
        worker = await system.spawn(Link, 0, job, name="worker")
        asking = asyncio.ensure_future(system.ask(worker, Work(1.0), timeout_s=9.0))
        error, notes = await raised(asking)
        job.release()
    assert isinstance(error, AskFailed)
    assert error.error_type == "Expired"
    assert notes[0].startswith("/worker waits for job ")
    assert notes[1].startswith("job ")
    assert "Traceback" in notes[-1], "after them"
    assert notes_of(error) == notes[:-1], "what is handed on are the lines"


@virtual
async def test_down_tells_which_life_ended_at_which_message_and_who_had_asked() -> None:
    async with ActorSystem() as system:
        top = await system.spawn(Director, name="top")
        kid = (await system.ask(top, Spawn("kid"), timeout_s=1.0)).ref
        system.tell(kid, Sleep(1.0))
        system.tell(kid, Fail())
        asking = asyncio.ensure_future(system.ask(top, Relay(kid, "x"), timeout_s=60.0))
        error, notes = await raised(asking)
        later, story = await raised(system.ask(kid, Echo(), timeout_s=1.0))
    assert isinstance(error, AskFailed)
    assert error.error_type == ActorDown.__name__
    text = "\n".join(notes)
    assert "/top/kid (Director) ended in life 1: ValueError: as asked" in text
    assert re.search(r"/top/kid had begun with message \d+ \(cast\.fail\) for 0\.0 s", text)
    assert re.search(r"message \d+ \(cast\.fail\) was told by outside", text)
    assert re.search(r"message \d+ \(cast\.echo\) was asked by /top 1\.0 s before", text)
    assert re.search(r"message \d+ \(cast\.relay\) was asked by outside 1\.0 s before", text), "the cause"
    assert isinstance(later, ActorDown)
    assert story[0] == "/top/kid (Director) ended in life 1: ValueError: as asked", "remembered"


@virtual
async def test_down_tells_what_an_actor_that_was_given_up_had_in_hand() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        clinging = asyncio.ensure_future(system.ask(ref, Cling(), timeout_s=5.0))
        await settle()
        queued = asyncio.ensure_future(system.ask(ref, Echo(), timeout_s=60.0))
        expired, _ = await raised(clinging)
        error, notes = await raised(queued)
    assert isinstance(expired, Expired)
    assert isinstance(error, ActorDown)
    assert error.restarting
    assert re.fullmatch(r"/p had begun with message \d+ \(cast\.cling\) for 5\.5 s", notes[1])
    assert notes[-1].endswith("(cast.echo) was asked by outside 5.5 s before")


@virtual
async def test_thousands_who_hear_of_an_end_are_told_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(*given: Any) -> list[str]:
        calls.append(given)
        return of_asker(*given)

    monkeypatch.setattr("actors.ending.of_asker", counted)
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", capacity=2000)
        system.tell(ref, Sleep(1.0))
        asks = [asyncio.ensure_future(system.ask(ref, Echo(), timeout_s=60.0)) for _ in range(1000)]
        await settle()
        await system.stop(ref, timeout_s=0.0)
        ends = await asyncio.gather(*asks, return_exceptions=True)
    assert len(calls) == 16
    assert all(isinstance(end, ActorDown) and end.__notes__ for end in ends)
    assert len({id(end) for end in ends}) == 1000, "each has its own error"


@virtual
async def test_refusals_tell_how_the_recipient_stands() -> None:
    async with ActorSystem() as system:
        full = await system.spawn(Performer, name="full", capacity=1, overflow=Overflow.FAIL)
        first = asyncio.ensure_future(system.ask(full, Sleep(10.0), timeout_s=60.0))
        await asyncio.sleep(1.0)
        system.tell(full, Note())
        told, told_notes = await _told(system, full)
        asked, asked_notes = await raised(system.ask(full, Echo(), timeout_s=1.0))
        await first
    assert isinstance(told, MailboxFull)
    assert isinstance(asked, MailboxFull)
    for notes in (told_notes, asked_notes):
        assert re.fullmatch(r"/full handles message \d+ \(cast\.sleep\) for 1\.0 s, 1 queued", notes[0])


@virtual
async def test_what_made_room_for_another_tells_for_whom_it_waited() -> None:
    async with ActorSystem() as system:
        full = await system.spawn(Performer, name="full", capacity=1, overflow=Overflow.DROP_OLDEST)
        first = asyncio.ensure_future(system.ask(full, Sleep(10.0), timeout_s=60.0))
        await asyncio.sleep(1.0)
        oldest = asyncio.ensure_future(system.ask(full, Echo(), timeout_s=60.0))
        await asyncio.sleep(1.0)
        system.tell(full, Note())
        dropped, notes = await raised(oldest)
        await first
    assert isinstance(dropped, MailboxFull)
    assert re.fullmatch(r"/full handles message \d+ \(cast\.sleep\) for 2\.0 s, \d queued", notes[0])


@virtual
async def test_whoever_waits_for_an_epoch_of_one_that_is_gone_hears_how_it_ended() -> None:
    async with ActorSystem() as system:
        gone = await system.spawn(Performer, name="gone")
        await raised(system.ask(gone, Fail(), timeout_s=1.0))
        await asyncio.sleep(1.0)
        down, notes = await raised(system.wait_epoch(gone, 1))
        clings = await system.spawn(Performer, name="clings")
        clinging = asyncio.ensure_future(raised(system.ask(clings, Cling(), timeout_s=9.0)))
        await asyncio.sleep(1.0)
        stopping = asyncio.ensure_future(system.stop(clings, timeout_s=5.0))
        await asyncio.sleep(0.5)
        late, late_notes = await raised(system.wait_epoch(clings, 1))
        await asyncio.wait([stopping, clinging])
    assert isinstance(down, ActorDown)
    assert "ValueError" in down.reason
    assert notes[0].startswith("/gone (Performer) ended in life 1: ")
    assert isinstance(late, ActorDown)
    assert re.fullmatch(r"/clings handles message \d+ \(cast\.cling\) for 1\.5 s, \d queued", late_notes[0])


async def _told(system: ActorSystem, ref: ActorRef[Any]) -> tuple[Exception, list[str]]:
    async def tell() -> None:
        system.tell(ref, Note())

    return await raised(tell())


@virtual
async def test_what_was_refused_inside_tells_on_whose_behalf() -> None:
    async with ActorSystem() as system:
        link = await system.spawn(Link, 1, name="link")
        other = await system.spawn(Performer, name="other")
        wrong, wrong_notes = await raised(system.ask(link, OnlyRunning(), timeout_s=1.0))
        unknown, unknown_notes = await raised(system.ask(link, Echo(), timeout_s=1.0))
        upward, upward_notes = await raised(system.ask(link, Relay(other), timeout_s=1.0))
    assert isinstance(wrong, WrongState)
    assert re.fullmatch(
        r"message \d+ \(notes\.only_running\) was asked by outside 0\.0 s before", wrong_notes[0]
    )
    assert isinstance(unknown, NotHandled)
    assert unknown_notes[0].endswith("(cast.echo) was asked by outside 0.0 s before")
    assert isinstance(upward, AskFailed)
    assert upward.error_type == UpwardAsk.__name__
    assert upward_notes[0] == "/other is idle, 0 queued"
    assert re.fullmatch(r"/link was handling message \d+ \(cast\.relay\)", upward_notes[1])


class Crowded(Actor):
    """Leaves jobs behind until there are no threads left."""

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        job = Stuck()
        try:
            for _ in range(20):
                with suppress(Expired):
                    await ctx.offload_within(msg.limit_s, job)
        finally:
            job.release()
        return Note()


@virtual
async def test_no_threads_left_tells_where_they_are() -> None:
    async with ActorSystem() as system:
        crowded = await system.spawn(Crowded, name="crowded")
        error, notes = await raised(system.ask(crowded, Work(0.1), timeout_s=50.0))
    assert isinstance(error, AskFailed)
    assert error.error_type == JobsExhausted.__name__
    assert re.match(r"actors-job-\d+ is at .*threading\.py", notes[0])


@virtual
async def test_waiting_where_one_must_not_tells_at_which_message() -> None:
    class Impatient(Actor):
        @on(Echo)
        async def echo(self, msg: Echo, ctx: Context) -> Note:
            return await system.ask(ctx.self_ref, Note(), timeout_s=1.0)

    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Impatient, name="impatient")
        error, notes = await raised(system.ask(ref, Echo(), timeout_s=1.0))
        receiver = system.receiver()
        _, nothing = await raised(receiver.receive(timeout_s=2.0))
        assert system.tracer is not None
        refusals = [event for event in system.tracer.events() if event.kind == "refuse"]
    assert [(event.actor, event.detail.partition(":")[0]) for event in refusals] == [
        ("/impatient", "InsideTree")
    ]
    assert isinstance(error, AskFailed)
    assert re.fullmatch(r"/impatient handles message \d+ \(cast\.echo\) for 0\.0 s, 0 queued", notes[0])
    assert nothing == [f"outside waits for {receiver.ref.path} (a message) for 2.0 s"]


class Leader(Actor):
    """Runs epochs with one child, and asks several at once."""

    async def on_start(self, ctx: Context) -> None:
        self.child = await ctx.spawn(Performer, name="child")

    @on(Run)
    async def run(self, msg: Run, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=5.0):
            ctx.tell(self.child, Sleep(100.0))
        return Note()

    @on(Both)
    async def both(self, msg: Both, ctx: Context) -> Note:
        asks: list[tuple[ActorRef[Any], Any]] = [(self.child, Sleep(50.0)), (self.child, Fail())]
        outcomes = await ctx.ask_all(asks, timeout_s=1.0)
        assert all(isinstance(outcome, AskError) for outcome in outcomes)
        return Note("\n".join(note for outcome in outcomes for note in notes_of(outcome)))


@virtual
async def test_notes_come_through_an_epoch_that_failed() -> None:
    async with ActorSystem() as system:
        leader = await system.spawn(Leader, name="leader")
        error, notes = await raised(system.ask(leader, Run(1), timeout_s=60.0))
    assert isinstance(error, AskFailed)
    assert error.error_type == EpochFailed.__name__
    assert notes[0] == "/leader waits for /leader/child (reply to actors.finish_epoch) for 5.0 s"
    assert re.match(r"/leader/child handles message \d+ \(cast\.sleep\) for 5\.0 s, 1 queued", notes[1])


@virtual
async def test_notes_come_through_asking_many() -> None:
    async with ActorSystem() as system:
        leader = await system.spawn(Leader, name="leader")
        text = (await system.ask(leader, Both(()), timeout_s=60.0)).text
    assert "/leader waits for /leader/child (reply to cast.sleep) for 1.0 s" in text
    assert "and has not begun with message" in text


def test_causes_are_collected_once_and_cut() -> None:
    error, cause = with_notes(ValueError("x"), ["one", "two"]), with_notes(KeyError("y"), ["two", "three"])
    cause.add_note("a note\nof two lines")
    error.__cause__, cause.__cause__ = cause, error
    assert notes_of(error) == ["one", "two", "three"]
    assert len(notes_of(with_notes(ValueError(), map(str, range(1000))))) == NOTES_MAX
    assert len(notes_of(with_notes(ValueError(), ["y" * 100_000]))[0]) < 500
    assert notes_of(None) == []


@virtual
async def test_what_cannot_be_explained_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes_module, "_chain", lambda *_: 1 / 0)
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        error, notes = await raised(system.ask(ref, Sleep(9.0), timeout_s=1.0))
    assert isinstance(error, Expired)
    assert notes == ["(no explanation: ZeroDivisionError)"]


@message("notes.ping")
class Ping:
    """Told: tell it back, so many times."""

    left: int


def test_messages_that_led_to_others_are_not_kept() -> None:
    class Player(Actor):
        @on(Ping)
        async def ping(self, msg: Ping, ctx: Context) -> None:
            if msg.left:
                ctx.tell(ctx.self_ref, Ping(msg.left - 1))
            else:
                origin: Any = ctx._cell.run
                length = 0
                while (entry := getattr(origin, "entry", None)) is not None:
                    origin, length = entry.origin, length + 1
                lengths.append(length)

    lengths: list[int] = []

    async def play() -> None:
        async with ActorSystem() as system:
            system.tell(await system.spawn(Player), Ping(100))
            await settle()

    run_virtual(play)
    assert lengths == [1], "only the message in hand"
