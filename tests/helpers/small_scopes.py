"""Scenarios so small that all their schedules can be run: two or three actors, a handful of messages."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors import Actor, ActorDown, ActorError, AskFailed, Context, Request, State, message, on
from tests.helpers.cast import Echo, Fail, Note, supervised

if TYPE_CHECKING:
    from actors import ActorRef
    from actors.simulation import Simulation


@message("scopes.run")
class Run(Request[Note]):
    """Asked: run this epoch with all children."""

    epoch: int


@message("scopes.part")
class Part(Request[Note]):
    """Asked: do a part of the epoch."""

    epoch: int


class Answerer(Actor):
    """Echoes, or fails."""

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        await asyncio.sleep(0)
        return Note(msg.text)

    @on(Fail)
    async def fail(self, msg: Fail, ctx: Context) -> Note:
        raise ValueError("as asked")


class Member(Actor):
    """Takes part in epochs."""

    @on(Part, when=State.RUNNING)
    async def part(self, msg: Part, ctx: Context) -> Note:
        return Note(str(msg.epoch))


class Leader(Actor):
    """Runs epochs with its members."""

    def __init__(self, members: int) -> None:
        self.members = members

    async def on_start(self, ctx: Context) -> None:
        for index in range(self.members):
            await ctx.spawn(Member, name=f"m{index}")

    @on(Run)
    async def run(self, msg: Run, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=5.0):
            answers = await ctx.ask_all([(child, Part(msg.epoch)) for child in ctx.children])
        return Note(",".join(answer.text for answer in answers if isinstance(answer, Note)))


async def ask_and_reply(sim: Simulation) -> None:
    """One actor, asked once by each of two callers."""
    ref = await sim.system.spawn(Answerer, name="a")
    asks = [sim.call(sim.system.ask(ref, Echo(text), timeout_s=1.0)) for text in "xy"]
    assert [await ask for ask in asks] == [Note("x"), Note("y")]


async def ask_and_stop(sim: Simulation) -> None:
    """An actor is asked, and stopped at the same time: it answers, or is down."""
    ref = await sim.system.spawn(Answerer, name="a")
    stop = sim.call(sim.system.stop(ref, timeout_s=1.0))
    ask = sim.call(_ask(sim, ref, Echo("x"), ActorDown))
    assert await ask in {Note("x"), None}
    await stop
    assert not sim.host.cells


async def ask_crash_restart(sim: Simulation) -> None:
    """An actor fails while it is asked, is started again, and answers then."""
    ref = await sim.system.spawn(Answerer, name="a", supervision=supervised(1))
    crash = sim.call(_ask(sim, ref, Fail(), AskFailed, ActorDown))
    ask = sim.call(_ask(sim, ref, Echo("x"), ActorDown))
    assert await ask in {Note("x"), None}
    assert await crash is None
    assert await _ask(sim, ref, Echo("again")) == Note("again") or sim.faulty
    assert sim.faulty or sim.host.cells[ref.path].incarnation == 2


async def two_askers_one_place(sim: Simulation) -> None:
    """Two callers ask an actor whose mailbox has one place, which is taken: both wait for room."""
    ref = await sim.system.spawn(Answerer, name="a", capacity=1)
    sim.system.tell(ref, Echo("told"))
    asks = [sim.call(_ask(sim, ref, Echo(text))) for text in "xy"]
    answers = [await ask for ask in asks]
    assert sim.faulty or answers == [Note("x"), Note("y")]


async def epoch_with_two_children(sim: Simulation) -> None:
    """A parent runs one epoch with two children; one that is lost may fail it."""
    await _run_epoch(sim, 2)


async def epoch_with_one_child(sim: Simulation) -> None:
    """A parent runs one epoch with one child."""
    await _run_epoch(sim, 1)


async def _run_epoch(sim: Simulation, members: int) -> None:
    leader = await sim.system.spawn(Leader, members, name="l")
    answer = await _ask(sim, leader, Run(1))
    assert sim.faulty or answer == Note(",".join("1" * members))


async def _ask(sim: Simulation, ref: ActorRef[Any], body: Any, *expected: type[ActorError]) -> Note | None:
    """Ask, and return None if the ask ends in one of these errors, or a fault is the reason."""
    try:
        answer: Note = await sim.system.ask(ref, body, timeout_s=9.0)
    except ActorError as error:
        if sim.faulty or isinstance(error, expected):
            return None
        raise
    return answer


SMALL_SCOPES = (
    ask_and_reply,
    ask_and_stop,
    ask_crash_restart,
    two_askers_one_place,
    epoch_with_one_child,
    epoch_with_two_children,
)
