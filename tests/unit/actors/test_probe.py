"""Probes: stand-ins that write down what they hear."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Down,
    Expired,
    NotHandled,
    Request,
    State,
    Supervision,
    WrongState,
    message,
    on,
)
from actors.testing import Probe, settle, virtual_time
from tests.helpers.cast import Echo, Fail, Note, Performer, Sleep


@message("probe.work")
class Work(Request[Note]):
    number: int


class Worker(Actor):
    def __init__(self, name: str) -> None:
        self.name = name

    @on(Work, when=State.RUNNING)
    async def work(self, msg: Work, ctx: Context) -> Note:
        return Note(self.name)


class Boss(Actor):
    """The actor under test: shares work out to a child, and tells a peer about it."""

    def __init__(self, worker: type[Actor], peer: ActorRef[Any]) -> None:
        self.worker = worker
        self.peer = peer

    async def on_start(self, ctx: Context) -> None:
        self.child = await ctx.spawn(self.worker, "first", name="child")

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        async with ctx.epoch(1, timeout_s=10):
            answer: Note = await ctx.ask(self.child, Work(1), timeout_s=5)
        ctx.tell(self.peer, Note(f"done {answer.text}"))
        ctx.tell_later(60, self.peer, Note("later"))
        return answer


@virtual_time
async def test_a_fake_child_and_a_fake_peer_around_an_actor() -> None:
    child, peer = Probe(like=Worker), Probe(Note)
    child.answer(Work, lambda msg: Note(f"work {msg.number}"))
    async with ActorSystem() as system:
        boss = await system.spawn(Boss, child.actor, await system.spawn(peer.actor))
        assert await system.ask(boss, Echo(), timeout_s=20) == Note("work 1")
        assert await child.expect(Work) == Work(1)
        assert child.heard[0].state is State.RUNNING
        assert child.heard[0].ref == child.ref
        assert child.ref.path.endswith("/child")
        assert await peer.expect(Note) == Note("done work 1")
        await peer.expect_none(within_s=50)
        assert await peer.expect(Note, timeout_s=20) == Note("later")
        with pytest.raises(WrongState):
            await system.ask(child.ref, Work(2), timeout_s=1)
        with pytest.raises(NotHandled):
            await system.ask(peer.ref, Work(2), timeout_s=1)


@virtual_time
async def test_answers() -> None:
    probe = Probe(Echo)
    async with ActorSystem() as system:
        ref = await system.spawn(probe.actor, supervision=Supervision(max_restarts=9, backoff_s=0))

        async def later(msg: Echo) -> Note:
            await asyncio.sleep(3)
            return Note(msg.text)

        def fail(msg: Echo) -> Note:
            raise LookupError(msg.text)

        with pytest.raises(AskFailed, match="NoReply"):
            await system.ask(ref, Echo(), timeout_s=1)
        probe.answer(Echo, Note("canned"))
        assert await system.ask(ref, Echo(), timeout_s=1) == Note("canned")
        probe.answer(Echo, later)
        assert await system.ask(ref, Echo("x"), timeout_s=4) == Note("x")
        with pytest.raises(Expired):
            await system.ask(ref, Echo("x"), timeout_s=2)
        for failing in (fail, LookupError("x")):
            probe.answer(Echo, failing)
            with pytest.raises(AskFailed, match="LookupError: x"):
                await system.ask(ref, Echo("x"), timeout_s=1)
        assert len(probe.heard) == 6
        await settle()
        assert probe.refs == [ref], "a restart is no other address"


@virtual_time
async def test_what_is_expected_must_be_next() -> None:
    probe = Probe(Note, Echo)
    async with ActorSystem() as system:
        ref = await system.spawn(probe.actor)
        for sent in (Note("a"), Echo("b"), Note("c"), Note("d")):
            system.tell(ref, sent)
        with pytest.raises(AssertionError, match="expected Echo, heard Note"):
            await probe.expect(Echo)
        assert await probe.skip_to(Note) == Note("c")
        with pytest.raises(AssertionError, match=r"within 5 s, heard \[Note\(text='d'\)\]"):
            await probe.expect_none(within_s=5)
        with pytest.raises(AssertionError, match="expected Echo within 2 s, heard nothing"):
            await probe.skip_to(Echo, timeout_s=2)
        begun_s = asyncio.get_running_loop().time()
        with pytest.raises(AssertionError, match="expected Note within 3 s, heard nothing"):
            await probe.expect(Note, timeout_s=3)
        assert asyncio.get_running_loop().time() == begun_s + 3


@virtual_time
async def test_it_watches() -> None:
    probe = Probe(Note)
    with pytest.raises(LookupError, match=r"spawn probe\.actor"):
        probe.watch(ActorRef("/x", 1))
    with pytest.raises(LookupError, match=r"spawn probe\.actor"):
        _ = probe.ref
    async with ActorSystem() as system:
        await system.spawn(probe.actor)
        performer = await system.spawn(Performer)
        probe.watch(performer)
        await probe.expect_none(within_s=100)
        system.tell(performer, Fail())
        down = await probe.expect(Down)
        assert (down.ref, down.restarting) == (performer, False)


@virtual_time
async def test_several_actors_may_share_a_probe() -> None:
    probe = Probe(Note, like=Performer)
    async with ActorSystem() as system:
        refs = [await system.spawn(probe.actor, "any", argument=1) for _ in range(3)]
        assert probe.refs == refs
        for ref in refs:
            system.tell(ref, Sleep(1.0))
        for _ in refs:
            await probe.expect(Sleep)
        assert [entry.ref for entry in probe.heard] == refs


@virtual_time
async def test_several_may_wait_at_a_time() -> None:
    probe = Probe(Note)
    async with ActorSystem() as system:
        ref = await system.spawn(probe.actor)
        waiting = [asyncio.ensure_future(probe.expect(Note, timeout_s=5)) for _ in range(3)]
        await settle()
        for text in "abc":
            system.tell(ref, Note(text))
            await settle()
        assert sorted([(await one).text for one in waiting]) == ["a", "b", "c"]


@virtual_time
async def test_an_expectation_that_is_cancelled_takes_nothing() -> None:
    probe = Probe(Note)
    async with ActorSystem() as system:
        ref = await system.spawn(probe.actor)
        waiting = asyncio.ensure_future(probe.expect(Note, timeout_s=5))
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        system.tell(ref, Note("kept"))
        assert await probe.expect(Note) == Note("kept")


def test_it_takes_something() -> None:
    with pytest.raises(ValueError, match="at least one message class"):
        Probe()
