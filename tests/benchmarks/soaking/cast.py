"""The actors of a soak: foremen with workers, one worker that takes its foreman along, and an onlooker.

root (epochs) -> foremen -> workers, and in each team one that is fragile
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from actors import (
    Actor,
    ActorRef,
    AskError,
    Context,
    Down,
    EpochFailed,
    IllegalTransition,
    JobAbandoned,
    JobToken,
    Overflow,
    Supervision,
    message,
    on,
)
from tests.benchmarks.soaking.board import Ends

if TYPE_CHECKING:
    from tests.benchmarks.soaking.board import Board

# Of the workers of a team: some with little room, so that each policy is needed.
MAILBOXES: Final = (
    (8, Overflow.WAIT),
    (24, Overflow.FAIL),
    (24, Overflow.DROP_OLDEST),
    (256, Overflow.WAIT),
    (256, Overflow.WAIT),
)
EPOCH_S: Final = 2.0
# Whatever fails is started again at once. What is fragile is lost when it fails twice in half a second.
ALWAYS: Final = Supervision(max_restarts=1_000_000, window_s=0.5, backoff_s=0.0)
FRAGILE: Final = Supervision(max_restarts=1, window_s=0.5, backoff_s=0.001, escalate=True)


@message("soak.echo")
class Echo:
    """Asked: answer with the number."""

    caller: int
    number: int


@message("soak.answer")
class Answer:
    """An answer."""

    number: int


@message("soak.crash")
class Crash:
    """Asked: raise, an error that ends with the handler or one that ends more."""

    caller: int
    number: int


@message("soak.sleep")
class Sleep:
    """Asked: answer after a while, if anybody waits so long."""

    caller: int
    number: int
    seconds: float


@message("soak.job")
class Job:
    """Asked: have a thread do it, which takes a while; look at the token or do not."""

    caller: int
    number: int
    seconds: float
    stubborn: bool


@message("soak.silent")
class Silent:
    """Asked: answer nothing."""

    caller: int
    number: int


@message("soak.note")
class Note:
    """Told; raise if the number is below 0."""

    number: int


@message("soak.relay")
class Relay:
    """Asked: ask a worker, or all, and answer when they have."""

    caller: int
    number: int
    everyone: bool


@message("soak.brood")
class Brood:
    """Asked: start a child, ask it, stop it."""

    caller: int
    number: int


@message("soak.run_epoch")
class RunEpoch:
    """Asked: run an epoch over all below; in a spoilt one workers fail, and in an odd one the root does."""

    epoch: int
    spoilt: bool


@message("soak.work")
class Work:
    """Asked by a parent within an epoch."""

    epoch: int
    spoilt: bool


@message("soak.look_at")
class LookAt:
    """Asked: watch this actor; answer when it is watched."""

    ref: ActorRef[Any]


class Spoilt(Exception):
    """Raised inside an epoch."""


def job(token: JobToken, seconds: float, stubborn: bool) -> int:  # noqa: FBT001 - handed over by offload
    """Take a while, in slices if it looks at its token."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        time.sleep(left_s if stubborn else min(left_s, 0.001))
        if not stubborn:
            token.check()
    return 1


class Worker(Actor):
    """Does what it is asked, well or badly."""

    def __init__(self, board: Board) -> None:
        self.board = board

    async def on_start(self, ctx: Context) -> None:
        self.board.counts["restarts" if ctx.incarnation > 1 else "starts"] += 1

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Answer:
        if msg.caller >= 0:
            self.board.handle(msg.caller, msg.number)
        return Answer(msg.number)

    @on(Crash)
    async def crash(self, msg: Crash, ctx: Context) -> Answer:
        self.board.handle(msg.caller, msg.number)
        raise SystemExit("asked to") if msg.number % 4 == 0 else ValueError("asked to")

    @on(Sleep)
    async def sleep(self, msg: Sleep, ctx: Context) -> Answer:
        self.board.handle(msg.caller, msg.number)
        await asyncio.sleep(msg.seconds)
        return Answer(msg.number)

    @on(Job)
    async def job(self, msg: Job, ctx: Context) -> Answer:
        self.board.handle(msg.caller, msg.number)
        with suppress(JobAbandoned):
            await ctx.offload(job, msg.seconds, msg.stubborn)
        return Answer(msg.number)

    @on(Silent)
    async def silent(self, msg: Silent, ctx: Context) -> None:
        self.board.handle(msg.caller, msg.number)

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        self.board.counts["notes_handled"] += 1
        if msg.number < 0:
            raise ValueError("told to")

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Answer:
        if msg.spoilt:
            raise ValueError("spoilt")
        if ctx.parent is not None:  # upwards one may tell
            self.board.tell(ctx.tell, ctx.parent, Note(1))
        return Answer(msg.epoch)


class Foreman(Actor):
    """Has workers, or foremen below it."""

    def __init__(self, board: Board, teams: int = 0) -> None:
        self.board = board
        self.teams = teams
        self.ends = Ends(board)
        self.team: list[ActorRef[Any]] = []
        self.broods = 0

    async def on_start(self, ctx: Context) -> None:
        self.board.counts["restarts" if ctx.incarnation > 1 else "starts"] += 1
        self.board.hearers[ctx.self_ref.path] = self.ends
        for _ in range(self.teams):
            self.team.append(await ctx.spawn(Foreman, self.board, supervision=ALWAYS))
        if not self.teams:
            for capacity, overflow in MAILBOXES:
                worker = await ctx.spawn(
                    Worker, self.board, supervision=ALWAYS, capacity=capacity, overflow=overflow
                )
                self.team.append(worker)
            self.team.append(await ctx.spawn(Worker, self.board, supervision=FRAGILE, name="fragile"))
            self.board.settle(ctx.self_ref, list(self.team))

    async def on_down(self, down: Down, ctx: Context) -> None:
        self.ends.hear(down)

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        self.board.counts["notes_handled"] += 1

    @on(Relay)
    async def relay(self, msg: Relay, ctx: Context) -> Answer:
        self.board.handle(msg.caller, msg.number)
        question = Echo(-1, msg.number)
        if msg.everyone:
            await ctx.ask_all([(one, question) for one in self.team])
        else:
            with suppress(AskError):
                await ctx.ask(self.team[msg.number % len(self.team)], question)
        return Answer(msg.number)

    @on(Brood)
    async def brood(self, msg: Brood, ctx: Context) -> Answer:
        self.board.handle(msg.caller, msg.number)
        self.broods += 1
        child = await ctx.spawn(Worker, self.board, name=f"brood-{self.broods}")
        await ctx.ask(child, Echo(-1, msg.number))
        await ctx.stop(child)
        return Answer(msg.number)

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Answer:
        try:
            async with ctx.epoch(msg.epoch, self.team, timeout_s=EPOCH_S):
                await ctx.ask_all([(one, Work(msg.epoch, msg.spoilt)) for one in self.team])
                if msg.spoilt and msg.epoch % 2:
                    raise Spoilt  # noqa: TRY301 - the body of an epoch that fails
        except (EpochFailed, IllegalTransition, Spoilt):
            self.board.counts["epochs_failed"] += 1
            return Answer(-msg.epoch)
        self.board.counts["epochs"] += 1
        return Answer(msg.epoch)

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Answer:
        spoilt = msg.epoch % len(self.team) if msg.spoilt else -1
        await ctx.ask_all(
            [(one, Work(msg.epoch, spoilt=index == spoilt)) for index, one in enumerate(self.team)]
        )
        return Answer(msg.epoch)


class Onlooker(Actor):
    """Watches actors that are not its children."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.ends = Ends(board)

    async def on_start(self, ctx: Context) -> None:
        self.board.onlooker = self.ends

    @on(LookAt)
    async def look_at(self, msg: LookAt, ctx: Context) -> Answer:
        ctx.watch(msg.ref)
        return Answer(0)

    async def on_down(self, down: Down, ctx: Context) -> None:
        self.ends.hear(down)
