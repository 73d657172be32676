"""What a replay does where the record has refusals and ends, and where the actor does something else."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskError,
    Context,
    Expired,
    MailboxFull,
    Overflow,
    ProtocolError,
    Replay,
    Request,
    message,
    on,
    replay,
)
from actors.testing import run_virtual
from actors.tracing import Trace, TraceOptions, TraceQueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@message("edges.go")
class Go(Request["Went"]):
    what: str = ""


@message("edges.went")
class Went:
    text: str


@message("edges.strayed")
class Strayed:
    text: str


@message("edges.tip")
class Tip:
    text: str = ""


def record(script: Callable[[ActorSystem], Awaitable[None]]) -> Trace:
    """The trace of a system in virtual time, with payloads."""

    async def run() -> Trace:
        return await _recorded(script)

    return run_virtual(run)


async def _recorded(script: Callable[[ActorSystem], Awaitable[None]]) -> Trace:
    system = ActorSystem(trace=TraceOptions(payloads="whole"), blocked_after_s=None)
    async with system:
        await script(system)
    assert system.tracer is not None
    return Trace.of(system.tracer.events())


class Sink(Actor):
    """Takes its time."""

    def __init__(self, *, fails: bool = False) -> None:
        if fails:
            raise ValueError("no room for a sink")

    @on(Tip)
    async def tip(self, _msg: Tip, ctx: Context) -> None:
        await ctx.wait(asyncio.sleep(1.0), reason="it flows")

    @on(Go)
    async def go(self, _msg: Go, _ctx: Context) -> Went:
        return Went("sunk")


class Explorer(Actor):
    """Tries everything that is refused."""

    def __init__(self, receiver: ActorRef[Any]) -> None:
        self.receiver = receiver

    @on(Go)
    async def go(self, msg: Go, ctx: Context) -> Went:
        return Went("; ".join([story async for story in self.stories(msg, ctx)]))

    async def stories(self, _msg: Go, ctx: Context) -> Any:
        gone = await ctx.spawn(Sink, name="gone")
        await ctx.stop(gone)
        small = await ctx.spawn(Sink, name="small", capacity=1, overflow=Overflow.FAIL)
        for ref in (gone, ActorRef("/nobody", 99), self.receiver, ctx.self_ref, ctx.parent):
            if ref is not None:
                yield await self.ask(ref, ctx)
        try:
            for _ in range(3):
                ctx.tell(small, Tip())
        except MailboxFull:
            yield "told too much"
        yield await self.ask(small, ctx)
        try:
            await ctx.spawn(Sink, fails=True, name="broken")
        except ActorDown as down:
            yield down.reason
        yield ", ".join(child.path for child in ctx.children)

    async def ask(self, ref: ActorRef[Any], ctx: Context) -> str:
        try:
            await ctx.ask(ref, Go(), timeout_s=2.0)
        except AskError as error:
            return type(error).__name__
        return "answered"


class Guide(Actor):
    """Has an explorer below it."""

    def __init__(self, receiver: ActorRef[Any]) -> None:
        self.receiver = receiver

    async def on_start(self, ctx: Context) -> None:
        self.explorer = await ctx.spawn(Explorer, self.receiver, name="explorer")

    @on(Go)
    async def go(self, msg: Go, ctx: Context) -> Went:
        return await ctx.ask(self.explorer, msg)


def test_refusals_come_again() -> None:
    answers: list[str] = []

    async def script(system: ActorSystem) -> None:
        receiver = system.receiver()
        guide = await system.spawn(Guide, receiver.ref, name="guide")
        answers.append((await system.ask(guide, Go())).text)

    trace = record(script)
    assert answers[0].startswith("ActorDown; ActorDown; NotHandled; ")
    assert "told too much; MailboxFull; " in answers[0]
    assert answers[0].endswith("; /guide/explorer/small")
    for actor in ("explorer", "guide"):
        played = replay(trace, actor)
        assert played.difference is None, played.lines()
        assert played.messages == played.recorded


class Walker(Actor):
    """What it does is in its messages; subclasses stray."""

    @on(Go)
    async def go(self, msg: Go, ctx: Context) -> Any:
        ctx.tell(ctx.self_ref, Tip(msg.what))
        return Went(msg.what)

    @on(Tip)
    async def tip(self, _msg: Tip, _ctx: Context) -> None: ...


async def walk(system: ActorSystem) -> None:
    ref = await system.spawn(Walker, name="walker")
    for what in ("a", "b"):
        await system.ask(ref, Go(what))


def astray(kind: type[Walker]) -> Replay:
    played = replay(record(walk), "walker", kind)
    assert played.difference is not None
    return played


def test_another_class_of_answer() -> None:
    class Stray(Walker):
        @on(Go)
        async def go(self, msg: Go, ctx: Context) -> Any:
            await super().go(msg, ctx)
            return Strayed("off")

    difference = astray(Stray).difference
    assert difference is not None
    assert (difference.what, difference.recorded, difference.now) == (
        "its reply",
        "edges.went",
        "edges.strayed",
    )


def test_another_receiver_one_message_more_and_one_less() -> None:
    class Elsewhere(Walker):
        @on(Go)
        async def go(self, msg: Go, ctx: Context) -> Any:
            ctx.tell(ActorRef("/elsewhere", 1), Tip(msg.what))
            return Went(msg.what)

    class More(Walker):
        @on(Go)
        async def go(self, msg: Go, ctx: Context) -> Any:
            ctx.tell(ctx.self_ref, Tip(msg.what))
            return await super().go(msg, ctx)

    class Less(Walker):
        @on(Go)
        async def go(self, msg: Go, _ctx: Context) -> Any:
            return Went(msg.what)

    lines = [astray(kind).lines()[:3] for kind in (Elsewhere, More, Less)]
    assert "it sends something else" in lines[0][0]
    assert lines[0][2].endswith("edges.tip told of /elsewhere")
    assert "it sends more" in lines[1][0]
    assert lines[1][1].endswith("nothing")
    assert "it does not send" in lines[2][0]
    assert lines[2][1].endswith("edges.tip to /walker")


def test_an_answer_where_the_handler_was_ended() -> None:
    class Slow(Actor):
        @on(Go)
        async def go(self, _msg: Go, ctx: Context) -> Went:
            await ctx.wait(asyncio.sleep(60), reason="so slow")
            return Went("late")

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Slow, name="slow")
        with pytest.raises(Expired):
            await system.ask(ref, Go(), timeout_s=0.5)

    trace = record(script)
    assert replay(trace, "slow", Slow).difference is None
    difference = replay(trace, "slow", Walker).difference
    assert difference is not None
    played = replay(trace, "slow", Sink)
    assert played.difference is not None
    assert (played.difference.what, played.difference.now) == ("its reply", "edges.went")
    assert "deadline passed" in played.difference.recorded


def test_a_child_that_the_record_does_not_have() -> None:
    class Parent(Walker):
        @on(Go)
        async def go(self, msg: Go, ctx: Context) -> Any:
            await ctx.spawn(Sink, name="child")
            return await super().go(msg, ctx)

    played = replay(record(walk), "walker", Parent)
    assert "/walker/child is started, and the record has no such start" in played.stopped
    assert played.messages == 1


def test_the_record_of_a_process_that_was_killed_ends_in_a_handler() -> None:
    class Asking(Actor):
        async def on_start(self, ctx: Context) -> None:
            self.sink = await ctx.spawn(Sink, name="sink")

        @on(Go)
        async def go(self, _msg: Go, ctx: Context) -> Went:
            return await ctx.ask(self.sink, Go())

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Asking, name="asking")
        for _ in range(2):
            await system.ask(ref, Go())

    events = list(record(script))
    last = max(
        index for index, event in enumerate(events) if event.kind == "receive" and "sink" in event.actor
    )
    played = replay(Trace.of(events[:last]), "asking", Asking)
    assert played.difference is None
    assert (played.messages, played.recorded) == (2, 2)
    assert "the record ends while message" in played.stopped


def test_threads_and_sockets_are_waited_for_in_real_time() -> None:
    class Listening(Actor):
        @on(Go)
        async def go(self, _msg: Go, ctx: Context) -> Went:
            near, far = socket.socketpair()
            with near, far:
                near.setblocking(False)
                threading.Timer(0.05, far.send, [b"heard"]).start()
                heard = await ctx.wait(
                    asyncio.get_running_loop().sock_recv(near, 8),
                    reason="a word from outside",
                    timeout_s=20.0,
                )
            thread = await ctx.wait(asyncio.to_thread(threading.get_ident), reason="a thread")
            threads.add(thread)
            with pytest.raises(ZeroDivisionError):
                await ctx.wait(asyncio.to_thread(lambda: 1 // 0), reason="a thread")
            return Went(heard.decode())

    threads: set[int] = set()

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Listening, name="listening")
        assert (await system.ask(ref, Go())).text == "heard"

    trace = asyncio.run(_recorded(script))
    threads.clear()
    assert replay(trace, "listening", Listening).difference is None
    assert threads == {threading.get_ident()}


def test_ctrl_c_in_a_handler_ends_the_replay() -> None:
    class Interrupted(Walker):
        @on(Go)
        async def go(self, _msg: Go, _ctx: Context) -> Any:
            raise KeyboardInterrupt

    class InterruptedJob(Walker):
        @on(Go)
        async def go(self, _msg: Go, ctx: Context) -> Any:
            return await ctx.offload(self.job)

        def job(self, _token: Any) -> Any:
            raise KeyboardInterrupt

    trace = record(walk)
    for kind in (Interrupted, InterruptedJob):
        with pytest.raises(KeyboardInterrupt):
            replay(trace, "walker", kind)


class Hidden(Actor):
    """Not to be made from a record: its argument does not travel."""

    def __init__(self, secret: object) -> None:
        self.secret = secret


def test_without_make_the_record_must_say_all() -> None:
    class Local(Actor):
        pass

    async def script(system: ActorSystem) -> None:
        await system.spawn(Local, name="local")
        await system.spawn(Hidden, object(), name="hidden")
        await system.spawn(Walker, name="walker")

    trace = record(script)
    with pytest.raises(TraceQueryError, match=r"Local cannot be imported .* give `make`"):
        replay(trace, "local")
    with pytest.raises(TraceQueryError, match=r"not all arguments of Hidden are in the trace \(0: "):
        replay(trace, "hidden")
    bare = Trace.of([event._replace(payload=b"") for event in trace])
    with pytest.raises(TraceQueryError, match="the arguments of Walker are not in the trace"):
        replay(bare, "walker")
    odd = Trace.of([event._replace(payload=event.payload and b"\xc1") for event in trace])
    with pytest.raises(TraceQueryError, match="the arguments of Walker cannot be read"):
        replay(odd, "walker")
    nothing = Trace.of([event._replace(detail="builtins:dict") for event in trace])
    with pytest.raises(TraceQueryError, match="does not say which class"):
        replay(nothing, "walker")


def test_a_damaged_payload_is_told_of() -> None:
    trace = record(walk)
    damaged = [
        event._replace(payload=b"\xc1") if event.kind == "reply" and event.actor == "/walker" else event
        for event in trace
    ]
    with pytest.raises(ProtocolError, match=r"\(edges\.went\): not a payload"):
        replay(Trace.of(damaged), "walker", Walker)


def test_an_actor_may_be_named_by_the_end_of_its_path() -> None:
    async def script(system: ActorSystem) -> None:
        for name in ("a", "b"):
            await system.spawn(Guide, ActorRef("/nobody", 1), name=name)

    trace = record(script)
    assert replay(trace, "a/explorer").actor == "/a/explorer"
    with pytest.raises(TraceQueryError, match="but /a/explorer, /b/explorer"):
        replay(trace, "explorer")


def test_numbers_of_arrays_are_told() -> None:
    @message("edges.data")
    class Data(Request["Data"]):
        values: np.ndarray[Any, Any]

    class Echo(Actor):
        @on(Data)
        async def echo(self, msg: Data, _ctx: Context) -> Data:
            return msg

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Echo, name="echo")
        values = np.arange(6.0).reshape(2, 3)
        values.flags.writeable = False
        await system.ask(ref, Data(values))

    assert replay(record(script), "echo", Echo).arrays == 1
