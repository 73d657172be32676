"""Messages and actors that the tests of the runtime share."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import Any

from actors import Actor, ActorRef, Context, Down, Request, Supervision, message, on


@message("cast.note")
class Note(Request["Note"]):
    """Something that is told, and an answer to nearly everything."""

    text: str = ""


@message("cast.echo")
class Echo(Request[Note]):
    """Asked: answer with the same text."""

    text: str = ""


@message("cast.sleep")
class Sleep(Request[Note]):
    """Asked: answer after so many seconds."""

    seconds: float


@message("cast.fail")
class Fail(Request[Note]):
    """Asked or told: raise what `ERRORS` has under this name."""

    error: str = "ValueError"


@message("cast.cling")
class Cling(Request[Note]):
    """Asked or told: refuse to end, for as many cancellations as there are."""


@message("cast.relay")
class Relay(Request[Note]):
    """Asked: ask `ref` for `message` and answer with what it says, or with how that ended."""

    ref: ActorRef[Any]
    text: str = ""
    timeout_s: float = 10.0


ERRORS: dict[str, type[BaseException]] = {
    error.__name__: error
    for error in (ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)
}


def supervised(max_restarts: int = 3, *, backoff_s: float = 0.1, escalate: bool = False) -> Supervision:
    """Restart so often within a minute, after a pause that doubles."""
    return Supervision(max_restarts=max_restarts, backoff_s=backoff_s, escalate=escalate)


class Performer(Actor):
    """Does what it is told, and writes down what happened into a list that the test holds."""

    def __init__(self, log: list[str] | None = None, tag: str = "") -> None:
        self.log: list[str] = [] if log is None else log
        self.tag = tag

    async def on_start(self, ctx: Context) -> None:
        self.log.append(f"start {self.tag or ctx.self_ref}#{ctx.incarnation}")

    async def on_stop(self, ctx: Context) -> None:
        self.log.append(f"stop {self.tag or ctx.self_ref}")

    async def on_failure(self, error: BaseException, ctx: Context) -> None:
        self.log.append(f"failure {self.tag or ctx.self_ref}: {type(error).__name__}")

    async def on_down(self, down: Down, ctx: Context) -> None:
        end = "restarting" if down.restarting else "for good"
        self.log.append(f"down {down.ref}#{down.incarnation} {end}: {down.reason}")

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        self.log.append(f"note {msg.text}")

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        self.log.append(f"echo {msg.text}")
        return Note(msg.text)

    @on(Sleep)
    async def sleep(self, msg: Sleep, ctx: Context) -> Note:
        self.log.append(f"sleep {msg.seconds:g}")
        try:
            await asyncio.sleep(msg.seconds)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("slept")
        return Note("slept")

    @on(Fail)
    async def fail(self, msg: Fail, ctx: Context) -> Note:
        raise ERRORS[msg.error]("as asked")

    @on(Cling)
    async def cling(self, msg: Cling, ctx: Context) -> Note:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 100
        while loop.time() < until_s:
            try:
                await asyncio.sleep(until_s - loop.time())
            except asyncio.CancelledError:
                self.log.append("clinging")
        self.log.append("let go")
        return Note("late")

    @on(Relay)
    async def relay(self, msg: Relay, ctx: Context) -> Note:
        answer: Note = await ctx.ask(msg.ref, Echo(msg.text), timeout_s=msg.timeout_s)
        return answer


@message("cast.spawn")
class Spawn(Request["Spawned"]):
    """Asked: start a performer with this name below yourself, with restarts if wanted."""

    name: str
    max_restarts: int = 0


@message("cast.spawned")
class Spawned:
    """The answer to `Spawn`."""

    ref: ActorRef[Any]


@message("cast.stop")
class StopChild(Request[Note]):
    """Asked: stop this actor."""

    ref: ActorRef[Any]
    timeout_s: float = 5.0


@message("cast.watch")
class WatchIt(Request[Note]):
    """Asked: watch this actor."""

    ref: ActorRef[Any]


class Director(Performer):
    """A performer that may have children, which write into the same list."""

    @on(Spawn)
    async def spawn(self, msg: Spawn, ctx: Context) -> Spawned:
        supervision = supervised(msg.max_restarts) if msg.max_restarts else None
        ref = await ctx.spawn(Director, self.log, msg.name, name=msg.name, supervision=supervision)
        return Spawned(ref)

    @on(StopChild)
    async def stop_child(self, msg: StopChild, ctx: Context) -> Note:
        await ctx.stop(msg.ref, timeout_s=msg.timeout_s)
        return Note("stopped")

    @on(WatchIt)
    async def watch_it(self, msg: WatchIt, ctx: Context) -> Note:
        ctx.watch(msg.ref)
        return Note("watching")
