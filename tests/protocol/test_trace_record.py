"""What each event says: states, sizes, waits, limits, payloads; and every kind of trouble."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorSystem,
    AskError,
    AskFailed,
    Context,
    Expired,
    JobToken,
    MailboxFull,
    Overflow,
    State,
    UpwardAsk,
    freeze,
    message,
    on,
)
from actors.tracing import TraceOptions, read_payload
from tests.helpers.cast import Director, Echo, Fail, Note, Performer, Relay, Sleep, Spawn
from tests.helpers.virtual_loop import Stuck, virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.tracing import TraceEvent


@message("record.array")
class Numbers:
    values: np.ndarray[Any, Any]


@message("record.work")
class Work:
    """Asked: run the actor's script."""


@message("record.when_running")
class OnlyRunning:
    """Taken in an epoch alone."""


class Scripted(Actor):
    """Runs a script."""

    def __init__(self, script: Callable[[Context], Any] | None = None) -> None:
        self.script = script

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        assert self.script is not None
        return Note(str(await self.script(ctx)))

    @on(Numbers)
    async def numbers(self, msg: Numbers, ctx: Context) -> Numbers:
        return Numbers(freeze(msg.values * 2))

    @on(OnlyRunning, when=State.RUNNING)
    async def only_running(self, msg: OnlyRunning, ctx: Context) -> Note:
        return Note()


def _events(system: ActorSystem, *kinds: str) -> list[TraceEvent]:
    assert system.tracer is not None
    return [event for event in system.tracer.events() if not kinds or event.kind in kinds]


@virtual
async def test_an_ask_is_a_wait_with_its_number_its_limit_and_its_size() -> None:
    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Scripted, name="s")
        await system.ask(ref, Numbers(freeze(np.zeros(100))), timeout_s=3)
        about = {event.kind: event for event in _events(system) if event.type == "record.array"}
        send, receive, reply, done = (about[kind] for kind in ("send", "receive", "reply", "done"))
        assert send.wait_id == send.msg_id == receive.msg_id == reply.msg_id == done.msg_id == reply.wait_id
        assert send.limit_s == receive.limit_s == 3.0
        assert send.size == receive.size > 800
        assert reply.size > 800
        assert (send.state, receive.state, reply.state) == ("", "idle", "idle")
        begun, ended = (
            next(e for e in _events(system, kind) if e.wait_id == send.msg_id)
            for kind in ("wait", "wait_end")
        )
        assert (begun.type, begun.detail, begun.limit_s) == ("/s", "reply to record.array", 3.0)
        assert (ended.type, ended.detail, ended.actor) == ("/s", "answered", "outside")


@virtual
async def test_every_wait_that_has_begun_has_a_number_of_its_own_and_ends_once() -> None:
    async with ActorSystem(trace=True) as system:
        top = await system.spawn(Director, name="top")
        child = (await system.ask(top, Spawn("child"), timeout_s=1)).ref
        await system.ask(top, Relay(child), timeout_s=1)
        with pytest.raises(Expired):
            await system.ask(child, Sleep(50), timeout_s=1)
        await system.shutdown(5)
        begun = [(e.wait_id, e.actor, e.type, e.cause_id) for e in _events(system, "wait")]
        ended = [(e.wait_id, e.actor, e.type, e.cause_id) for e in _events(system, "wait_end")]
        assert sorted(begun) == sorted(ended)
        numbers = [number for number, *_ in begun]
        assert len(set(numbers)) == len(numbers) > 4
        assert 0 not in numbers
        assert all(event.limit_s > 0 for event in _events(system, "wait"))


@virtual
async def test_events_say_in_which_state_their_actor_is() -> None:
    async def script(ctx: Context) -> None:
        async with ctx.epoch(1, timeout_s=5):
            ctx.tell(ctx.self_ref, Note())

    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Scripted, script, name="s")
        await system.ask(ref, Work(), timeout_s=10)
        told = next(event for event in _events(system, "send") if event.type == "cast.note")
        assert told.state == "running(1)"
        moves = [(event.type, event.state) for event in _events(system, "state")]
        assert moves == [("running(1)", "running(1)"), ("epoch_done(1)", "epoch_done(1)")]
        assert [event.state for event in _events(system, "reply")] == ["epoch_done(1)"]


@virtual
async def test_a_handler_that_raises_leaves_its_error_before_the_answer() -> None:
    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Performer, name="p")
        with pytest.raises(AskFailed):
            await system.ask(ref, Fail(), timeout_s=1)
        error, reply = _events(system, "error", "reply")
        assert (error.kind, error.actor, error.type, error.detail) == (
            "error",
            "/p",
            "ValueError",
            "as asked",
        )
        assert error.msg_id == reply.msg_id
        assert reply.type == "actors.failure"
        ref = await system.spawn(Performer, name="q")
        system.tell(ref, Fail())
        await asyncio.sleep(1)
        told = _events(system, "error")[-1]
        assert (told.actor, told.type, told.detail) == ("/q", "ValueError", "as asked")
        assert told.msg_id == next(e.msg_id for e in _events(system, "receive") if e.actor == "/q")


@virtual
async def test_what_is_refused_in_a_state_is_an_error_there() -> None:
    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Scripted, name="s")
        with pytest.raises(AskError):
            await system.ask(ref, OnlyRunning(), timeout_s=1)
        system.tell(ref, OnlyRunning())
        await asyncio.sleep(1)
        for error in _events(system, "error"):
            assert (error.actor, error.type, error.state) == ("/s", "WrongState", "idle")
            assert "takes OnlyRunning only in running" in error.detail
        assert len(_events(system, "error")) == 2
        received = {event.msg_id for event in _events(system, "receive")}
        assert received == {event.msg_id for event in _events(system, "done", "drop")}


@virtual
async def test_a_request_against_the_laws_leaves_a_refusal() -> None:
    async def upward(ctx: Context) -> str:
        with pytest.raises(UpwardAsk):
            await ctx.ask(others, Echo())
        with pytest.raises(Exception, match="there is no rest"):
            ctx.rest()
        return "refused"

    async with ActorSystem(trace=True) as system:
        others = await system.spawn(Performer, name="other")
        ref = await system.spawn(Scripted, upward, name="s")
        await system.ask(ref, Work(), timeout_s=1)
        law, move = _events(system, "refuse")
        assert (law.actor, move.actor) == ("/s", "/s")
        assert law.type == "cast.echo"
        assert law.detail.startswith("UpwardAsk: /s")
        assert "/other" in law.detail
        assert (move.type, move.detail) == ("rest", "IllegalTransition: in state idle there is no rest")
        assert law.cause_id == move.cause_id != 0


@pytest.mark.parametrize(
    ("overflow", "fate"),
    [
        (Overflow.WAIT, "asks wait for room"),
        (Overflow.FAIL, "it is refused"),
        (Overflow.DROP_OLDEST, "the oldest are dropped"),
    ],
)
def test_a_mailbox_that_fills_says_so(overflow: Overflow, fate: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem(trace=True) as system:
            ref = await system.spawn(Performer, name="p", capacity=2, overflow=overflow)
            system.tell(ref, Sleep(1))
            await asyncio.sleep(0.1)
            system.tell(ref, Note("1"))
            system.tell(ref, Note("2"))
            asking = asyncio.create_task(system.ask(ref, Echo("late"), timeout_s=20))
            await asyncio.sleep(0.1)
            full = _events(system, "full")
            assert [(e.actor, e.type) for e in full] == [("outside", "cast.echo")]
            assert full[0].detail == f"/p holds 2 messages: {fate}"
            with contextlib.suppress(MailboxFull):
                await asking
            with contextlib.suppress(MailboxFull):
                system.tell(ref, Note("after"))
            begun = sorted(e.wait_id for e in _events(system, "wait"))
            assert begun == sorted(e.wait_id for e in _events(system, "wait_end")), "also of one refused"

    scenario()


def test_a_job_says_its_limit_and_one_left_behind_where_it_was() -> None:
    @virtual
    async def scenario() -> None:
        stuck = Stuck()

        def crunch(token: JobToken) -> None:
            token.progress("micro-batch 3 of 8")
            stuck(token)

        async def script(ctx: Context) -> str:
            with pytest.raises(Expired):
                await ctx.offload_within(2.0, crunch)
            return "expired"

        async with ActorSystem(trace=True) as system:
            ref = await system.spawn(Scripted, script, name="s")
            await system.ask(ref, Work(), timeout_s=9)
            job, end = _events(system, "job", "job_end")
            assert job.limit_s == 2.0
            assert job.wait_id == end.wait_id != 0
            assert job.wait_id in {event.wait_id for event in _events(system, "wait")}
            assert end.detail.startswith("left behind after ")
            assert "; progress: micro-batch 3 of 8; at " in end.detail
            assert " in " in end.detail.rsplit("; at ", maxsplit=1)[-1]
            stuck.release()

    scenario()


@virtual
async def test_a_start_says_which_class_it_is() -> None:
    async with ActorSystem(trace=True) as system:
        await system.spawn(Scripted, name="s")
        (start,) = _events(system, "start")
        assert (start.type, start.detail) == ("Scripted", f"{__name__}:Scripted")
        assert start.payload == b""


@pytest.mark.parametrize("mode", ["hash", "whole"])
def test_payloads_are_kept_on_request(mode: Any) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem(trace=TraceOptions(payloads=mode)) as system:
            ref = await system.spawn(Scripted, name="s")
            sent = freeze(np.arange(5.0))
            await system.ask(ref, Numbers(sent), timeout_s=3)
            system.tell(ref, Note("told"))
            sends = [event for event in _events(system, "send") if event.actor == "outside"]
            asked, told = (read_payload(event.payload) for event in sends)
            (answer,) = (read_payload(event.payload) for event in _events(system, "reply"))
            assert (asked.tag, told.tag, answer.tag) == ("record.array", "cast.note", "record.array")
            assert told.rebuild() == Note("told")
            assert asked.whole == (mode == "whole")
            if mode == "whole":
                assert asked.rebuild().values.tolist() == sent.tolist()
                assert answer.rebuild().values.tolist() == [0, 2, 4, 6, 8]
            assert asked.arrays[0].digest != answer.arrays[0].digest
            (start,) = _events(system, "start")
            assert read_payload(start.payload).tag == "actors.arguments"

    scenario()
