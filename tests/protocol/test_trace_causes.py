"""Law 10: everything leaves a trace, and everything in it has a cause."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING

import pytest

from actors import ActorDown, ActorSystem, AskFailed, Context, Expired, JobToken, on
from actors.tracing import EVENT_KINDS, TraceEvent, TraceFile, Tracer, read_trace
from tests.helpers.cast import Director, Echo, Fail, Note, Performer, Relay, Sleep, Spawn, supervised
from tests.helpers.virtual_loop import virtual

if TYPE_CHECKING:
    from pathlib import Path


class Busy(Director):
    """Also offloads."""

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        await ctx.offload(_work)


def _work(token: JobToken) -> str:
    token.check()
    return "done"


async def _eventful(system: ActorSystem) -> list[TraceEvent]:
    """Whatever can happen: asks down a chain, a job, a failure, a restart, an expiry, an end."""
    top = await system.spawn(Busy, name="top")
    child = (await system.ask(top, Spawn("child", max_restarts=2), timeout_s=1)).ref
    await system.ask(top, Relay(child, "chain"), timeout_s=5)
    system.tell(top, Note())
    with pytest.raises(AskFailed):
        await system.ask(child, Fail(), timeout_s=5)
    await asyncio.sleep(1)
    with pytest.raises(Expired):
        await system.ask(child, Sleep(50), timeout_s=1)
    await system.stop(top)
    system.tell(top, Note("to nobody"))
    assert system.tracer is not None
    return system.tracer.events()


@virtual
async def test_every_receive_has_a_send_with_the_same_number() -> None:
    async with ActorSystem(trace=True) as system:
        events = await _eventful(system)
        sends = {event.msg_id: event for event in events if event.kind == "send"}
        receives = [event for event in events if event.kind == "receive"]
        assert len(receives) > 5
        for event in receives:
            send = sends[event.msg_id]
            assert (send.type, send.actor) == (event.type, event.detail)
            assert send.detail == event.actor
            assert events.index(send) < events.index(event)


@virtual
async def test_every_message_is_sent_once() -> None:
    async with ActorSystem(trace=True) as system:
        numbers = [event.msg_id for event in await _eventful(system) if event.kind == "send"]
        assert 0 not in numbers
        assert len(numbers) == len(set(numbers))


@virtual
async def test_every_cause_is_a_message_that_was_received() -> None:
    async with ActorSystem(trace=True) as system:
        events = await _eventful(system)
        received = {event.msg_id for event in events if event.kind == "receive"}
        caused = [event for event in events if event.cause_id]
        assert caused
        assert {event.cause_id for event in caused} <= received


@virtual
async def test_a_chain_of_asks_can_be_followed_from_its_end_to_its_beginning() -> None:
    async with ActorSystem(trace=True) as system:
        events = await _eventful(system)
        inner = next(event for event in events if event.kind == "send" and event.type == "cast.echo")
        outer = next(event for event in events if event.kind == "send" and event.type == "cast.relay")
        assert inner.cause_id == outer.msg_id
        assert outer.cause_id == 0, "it came from outside"
        replies = {event.msg_id: event for event in events if event.kind == "reply"}
        assert replies[inner.msg_id].cause_id == inner.msg_id
        assert replies[outer.msg_id].actor == "/top"
        assert replies[inner.msg_id].detail == "/top", "who hears the answer"


@virtual
async def test_every_kind_that_is_named_occurs_and_no_other() -> None:
    async with ActorSystem(trace=True) as system:
        kinds = {event.kind for event in await _eventful(system)}
    assert kinds <= set(EVENT_KINDS)
    others = {"refuse", "watch", "unwatch", "snapshot", "restore", "fault", "blocked", "full", "gap", "dump"}
    assert set(EVENT_KINDS) - kinds == others, "which have tests of their own"


@virtual
async def test_a_refusal_and_a_move_leave_a_trace() -> None:
    async with ActorSystem(trace=True) as system:
        receiver = system.receiver()
        with pytest.raises(Exception, match="never answers"):
            await system.ask(receiver.ref, Echo(), timeout_s=1)
        await system.spawn(Performer, name="p")
    assert system.tracer is not None
    events = system.tracer.events()
    assert [(e.actor, e.type) for e in events if e.kind == "refuse"] == [("outside", "cast.echo")]
    assert [(e.actor, e.type) for e in events if e.kind == "state"] == [("/p", "shutdown(0)")]


@virtual
async def test_an_ask_that_reaches_nobody_leaves_a_trace() -> None:
    async with ActorSystem(trace=True) as system:
        ref = await system.spawn(Performer, name="p")
        await system.stop(ref)
        with pytest.raises(ActorDown, match="stopped"):
            await system.ask(ref, Echo(), timeout_s=1)
    assert system.tracer is not None
    refused = [event for event in system.tracer.events() if event.kind == "refuse"]
    assert [(e.actor, e.type, e.detail) for e in refused] == [("outside", "cast.echo", "/p is gone: stopped")]


@virtual
async def test_every_wait_has_an_end() -> None:
    async with ActorSystem(trace=True) as system:
        await _eventful(system)
        await system.shutdown(5)
        assert system.tracer is not None
        events = system.tracer.events()
        begun = sorted((e.actor, e.type, e.cause_id) for e in events if e.kind == "wait")
        ended = sorted((e.actor, e.type, e.cause_id) for e in events if e.kind == "wait_end")
        assert begun == ended
        assert {e.detail for e in events if e.kind == "wait_end"} == {"answered", "Expired"}
        chained = next(e for e in events if e.kind == "wait" and e.actor == "/top" and "echo" in e.detail)
        assert chained.type == "/top/child"
        assert chained.incarnation == 1


@virtual
async def test_lives_and_jobs_are_in_pairs() -> None:
    async with ActorSystem(trace=True) as system:
        events = await _eventful(system)
        lives = [(e.actor, e.incarnation) for e in events if e.kind == "start"]
        assert lives == [("/top", 1), ("/top/child", 1), ("/top/child", 2)]
        assert sorted((e.actor, e.incarnation) for e in events if e.kind == "end") == sorted(lives)
        assert [e.detail for e in events if e.kind == "restart"] == ["in 0.1 s"]
        assert len([e for e in events if e.kind == "job"]) == 1
        assert [e.type for e in events if e.kind == "job_end"] == ["_work"]


@virtual
async def test_what_is_dropped_says_why_and_which() -> None:
    async with ActorSystem(trace=True) as system:
        events = await _eventful(system)
        drops = [event for event in events if event.kind == "drop"]
        assert [event.detail for event in drops] == [
            "handler ended: its deadline passed",
            "no such actor",
        ]
        sends = {event.msg_id: event.type for event in events if event.kind == "send"}
        assert [sends[event.msg_id] for event in drops] == ["cast.sleep", "cast.note"]


@virtual
async def test_the_times_are_the_loops_and_only_grow() -> None:
    async with ActorSystem(trace=True) as system:
        times = [event.time_s for event in await _eventful(system)]
        assert times == sorted(times)
        assert times[-1] == asyncio.get_running_loop().time() == 2.0


@virtual
async def test_the_story_of_one_actor_can_be_told() -> None:
    async with ActorSystem(trace=True) as system:
        await _eventful(system)
        assert system.tracer is not None
        story = system.tracer.story("/top/child", most=3)
        assert [event.kind for event in story][-1] == "end"
        assert {event.actor for event in story} == {"/top/child"}


@virtual
async def test_without_a_trace_nothing_is_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("traced")

    for method in ("emit", "asked", "told", "received", "answered", "handled", "payload", "arguments"):
        monkeypatch.setattr(Tracer, method, refuse)
    async with ActorSystem() as system:
        assert system.tracer is None
        top = await system.spawn(Busy, name="top", supervision=supervised())
        assert await system.ask(top, Echo("quiet"), timeout_s=1) == Note("quiet")
        system.tell(top, Fail())
        await asyncio.sleep(1)


def test_a_file_holds_what_the_ring_holds(tmp_path: Path) -> None:
    path = tmp_path / "trace"

    @virtual
    async def scenario() -> None:
        async with ActorSystem(trace=path) as system:
            await _eventful(system)
        assert system.tracer is not None
        assert list(read_trace(path)) == system.tracer.events()

    scenario()


@virtual
async def test_a_trace_that_cannot_be_begun_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="No space left"):
        await ActorSystem(trace="/dev/full").__aenter__()


async def _fill_the_disk(system: ActorSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let actors go on when no event can be written any more."""

    def write(_file: TraceFile, _rows: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        monkeypatch.setattr(TraceFile, "write_rows", write)
        with pytest.raises(AskFailed):
            await system.ask(ref, Fail(), timeout_s=1)
        await asyncio.sleep(1)
        assert await system.ask(ref, Echo("unharmed"), timeout_s=1) == Note("unharmed")
        if system.name == "unlucky":
            raise LookupError("another trouble")


def test_a_disk_that_is_full_breaks_no_actor_and_is_reported_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @virtual
    async def scenario() -> None:
        with pytest.raises(OSError, match="No space left"):
            await _fill_the_disk(ActorSystem(trace=tmp_path / "trace"), monkeypatch)

    scenario()


def test_a_full_disk_does_not_hide_the_error_of_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @virtual
    async def scenario() -> None:
        with pytest.raises(LookupError, match="another trouble") as caught:
            await _fill_the_disk(ActorSystem("unlucky", trace=tmp_path / "trace"), monkeypatch)
        assert "the trace could not be written" in caught.value.__notes__[0]

    scenario()
