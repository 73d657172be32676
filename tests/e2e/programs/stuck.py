"""A program whose actors are stuck in one of several ways, run by test_process_exit.py.

    python stuck.py SITUATION END BUDGET_S

It prints `ready` once it is in the situation. Then main is over (END `leave`), or waits for a signal (`wait`,
and `sigterm`, which takes SIGTERM as docs/runtime.md shows it).
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from typing import Any, ClassVar

from actors import (
    Actor,
    ActorError,
    ActorRef,
    ActorSystem,
    Context,
    JobToken,
    MailboxFull,
    Overflow,
    Request,
    State,
    Supervision,
    message,
    on,
)

LONG_S = 3600.0


@message("stuck.do")
class Do(Request["Done"]):
    what: str


@message("stuck.done")
class Done:
    pass


class Reached:
    """The moment in which the program is in its situation."""

    event: asyncio.Event
    loop: asyncio.AbstractEventLoop
    main: asyncio.Task[Any]
    asks: ClassVar[list[asyncio.Task[Any]]] = []


def ready() -> None:
    """Say so, from any thread."""
    print("ready", flush=True)
    Reached.loop.call_soon_threadsafe(Reached.event.set)


def say_leaving() -> None:
    print("leaving", file=sys.stderr, flush=True)


def job_for_ever(_token: JobToken) -> None:
    ready()
    while True:
        time.sleep(LONG_S)


async def cling_for_ever() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def swallow_everything() -> None:
    while True:
        try:
            await asyncio.sleep(LONG_S)
        except BaseException:  # noqa: BLE001, S112 - the worst that a handler can do
            continue


class Stuck(Actor):
    """Does something that has no end."""

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done:
        match msg.what:
            case "job":
                await ctx.offload_within(LONG_S, job_for_ever)
            case "await":
                ready()
                await asyncio.Event().wait()
            case "cling":
                ready()
                await cling_for_ever()
            case "foreign":
                ready()
                await ctx.wait(cling_for_ever(), timeout_s=LONG_S, reason="the impossible")
            case "swallow":
                ready()
                await swallow_everything()
            case "busy":
                ready()
                while not Reached.main.cancelling():  # by the first Ctrl-C
                    pass
                say_leaving()
                while True:
                    pass
            case "below":
                await self.go_deeper(ctx)
        return Done()

    async def go_deeper(self, ctx: Context) -> None:
        if ctx.self_ref.path.count("/") == 5:
            ready()
        else:
            ctx.tell(await ctx.spawn(Stuck, name="stuck", supervision=Supervision()), Do("below"))
        await cling_for_ever()


class Sphere(Actor):
    """Takes part in epochs; its last hook never ends."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs

    @on(Do, when=State.RUNNING)
    async def do(self, msg: Do, ctx: Context) -> Done:
        if msg.what == "running":
            ready()
            await asyncio.Event().wait()
        return Done()

    async def on_stop(self, ctx: Context) -> None:
        if self.hangs:
            ready()
            await asyncio.Event().wait()


class Root(Actor):
    """Runs an epoch."""

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done:
        sphere = await ctx.spawn(Sphere)
        async with ctx.epoch(1, timeout_s=LONG_S):
            await ctx.ask(sphere, msg, timeout_s=LONG_S)
        return Done()


class Crowd(Actor):
    """Tells those whose mailboxes are full, again and again."""

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done:
        patient = await ctx.spawn(Stuck, name="patient", capacity=1)
        loud = await ctx.spawn(Stuck, name="loud", capacity=1, overflow=Overflow.DROP_OLDEST)
        ctx.tell(loud, Do("await"))
        while True:
            ctx.tell(loud, Do("await"))
            try:
                ctx.tell(patient, Do("await"))
            except MailboxFull:
                await asyncio.sleep(0.01)


class Reporter(Actor):
    """Tells a receiver that nobody reads, until that takes no more."""

    def __init__(self, to: ActorRef[Any]) -> None:
        self.to = to

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> None:
        try:
            while True:
                ctx.tell(self.to, msg)
        except MailboxFull:
            ready()


async def full_mailbox(system: ActorSystem) -> None:
    """Twenty outside wait for room, and twenty wait for their answer from somebody who has no time."""
    system.tell(await system.spawn(Crowd, name="crowd"), Do("tell"))
    stuck = await system.spawn(Stuck, name="stuck", capacity=20)
    for _ in range(40):
        Reached.asks.append(asyncio.create_task(_ask(system, stuck)))


async def _ask(system: ActorSystem, ref: ActorRef[Any]) -> None:
    with contextlib.suppress(ActorError):
        await system.ask(ref, Do("await"), timeout_s=LONG_S)


async def get_stuck(system: ActorSystem, situation: str) -> None:
    match situation:
        case "idle":
            await system.spawn(Stuck, name="stuck", supervision=Supervision())
            ready()
        case "running" | "epoch_done":
            root = await system.spawn(Root, name="root", supervision=Supervision())
            Reached.asks.append(asyncio.create_task(system.ask(root, Do(situation), timeout_s=LONG_S)))
            if situation == "epoch_done":
                await system.wait_epoch(root, 1)
                ready()
        case "shutdown":
            hanging = await system.spawn(Sphere, hangs=True, name="hanging")
            Reached.asks.append(asyncio.create_task(system.stop(hanging, timeout_s=LONG_S)))
        case "full_mailbox":
            await full_mailbox(system)
        case "receiver":
            receiver = system.receiver(capacity=1, overflow=Overflow.WAIT)
            system.tell(await system.spawn(Reporter, receiver.ref, name="reporter"), Do("report"))
        case _:
            stuck = await system.spawn(Stuck, name="stuck", supervision=Supervision())
            await system.spawn(Stuck, name="idle", supervision=Supervision())
            system.tell(stuck, Do(situation))


async def main(situation: str, end: str, budget_s: float) -> None:
    Reached.loop, Reached.event = asyncio.get_running_loop(), asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    Reached.main = task
    if end == "sigterm":
        Reached.loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with ActorSystem("plant", shutdown_s=budget_s) as system:
        try:
            await get_stuck(system, situation)
            await Reached.event.wait()
            if end != "leave":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            Reached.loop.call_soon(say_leaving)  # the shutdown is under way by then
            raise


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
