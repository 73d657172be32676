"""The desk: takes requests, plans the steps, and ends every request exactly once.

It never waits, so that it hears of everything at once: the worker is told what to do and tells what came of
it, and its end is a `Down`. What it decides, it has the scheduler decide.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actors import Actor, ActorRef, Context, Down, Supervision, on
from crystalline.errors import GenerationError
from crystalline.inference.follower import Follower
from crystalline.inference.messages import (
    Admitted,
    Cancel,
    Noted,
    Over,
    Ready,
    Start,
    Step,
    Stepped,
    Submit,
)
from crystalline.inference.prefill import PREFILL_PIECE
from crystalline.inference.scheduler import LOST, Scheduler, Ticket
from crystalline.inference.worker import START_S, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from crystalline.inference.editions import Shelf
    from crystalline.inference.scheduler import End, Tally

__all__ = ["Desk", "DeskSettings"]

LOGGER: Final = logging.getLogger("crystalline")

# A request that breaks the engine is not tried again, so a restart costs time and no more.
_WORKER = Supervision(max_restarts=5, window_s=60.0, backoff_s=0.02)
_FOLLOWER = Supervision(max_restarts=5, window_s=60.0, backoff_s=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class DeskSettings:
    """What a desk is given when it is started, and again when it is restarted.

    Attributes:
        shelf: the weights and their engines.
        tally: where to count.
        slots: as in `Scheduler`, like the two that follow.
        queue: the same.
        prefill_tokens: the same.
        step_timeout_s: how long one step may take.
        follow: the run folder whose checkpoints to follow; None to keep the weights.
        follow_s: how often to look for one.
    """

    shelf: Shelf
    tally: Tally
    slots: int
    queue: int
    prefill_tokens: int
    step_timeout_s: float
    follow: Path | None
    follow_s: float


class Desk(Actor):
    """Between the callers and the worker."""

    def __init__(self, settings: DeskSettings) -> None:
        self._settings = settings
        self._scheduler = Scheduler(
            slots=settings.slots,
            queue=settings.queue,
            prefill_tokens=settings.prefill_tokens,
            piece=PREFILL_PIECE,
            tally=settings.tally,
        )
        self._open: dict[int, Submit] = {}
        self._ready = False
        self._worker: ActorRef[Worker] | None = None

    async def on_start(self, ctx: Context) -> None:
        """Start the worker, and whoever looks for newer weights."""
        settings = self._settings
        self._worker = await ctx.spawn(
            Worker,
            settings.shelf,
            settings.step_timeout_s,
            name="worker",
            supervision=_WORKER,
            capacity=settings.slots + 8,
            handler_timeout_s=START_S + 2.0 * settings.step_timeout_s,  # the job's own limit comes before
        )
        if settings.follow is not None:
            where = settings.shelf, settings.follow, settings.follow_s
            await ctx.spawn(
                Follower, *where, name="follower", supervision=_FOLLOWER, handler_timeout_s=START_S
            )

    async def on_stop(self, ctx: Context) -> None:
        """End whatever is open."""
        self._tell_ends(self._scheduler.close("the generator was closed before the text was complete"), ctx)

    async def on_failure(self, error: BaseException, ctx: Context) -> None:
        """The same: another life of the desk knows nothing of them."""
        self._tell_ends(self._scheduler.close(f"the desk of the generator failed: {error!r}", LOST), ctx)

    async def on_down(self, down: Down, ctx: Context) -> None:
        """End the requests that a worker took with it; those in the queue go on when it is back.

        Raises:
            GenerationError: it does not come back.
        """
        if down.ref != self._worker:
            if not down.restarting:
                LOGGER.error("newer weights are no longer looked for: %s", down.reason)
            return
        self._ready = False
        lost = self._scheduler.running
        self._tell_ends(
            self._scheduler.lost(
                f"the engine was lost while it worked on this request, one of {lost}: {down.reason}. "
                "What had been said until then is right; ask again for the rest"
            ),
            ctx,
        )
        if not down.restarting:
            raise GenerationError(f"the engine is lost for good: {down.reason}")

    @on(Submit)
    async def submit(self, msg: Submit, ctx: Context) -> Admitted | Over:
        """Take a request, or refuse it."""
        now_s = _now_s()
        self._tell_ends(self._scheduler.expire(now_s), ctx)
        ticket = Ticket(msg.number, msg.caller, len(msg.order.prompt), now_s + msg.limit_s)
        ends = self._scheduler.submit(ticket, now_s)
        for end in ends:
            if end.number == msg.number:
                return Over(end.number, end.reason, end.story)
        self._open[msg.number] = msg
        self._tell_ends(ends, ctx)
        self._step(ctx)
        return Admitted(msg.number)

    @on(Cancel)
    async def cancel(self, msg: Cancel, ctx: Context) -> Noted:
        """Forget requests, those that have not ended yet."""
        for number, reason in zip(msg.numbers, msg.reasons, strict=True):
            for end in self._scheduler.cancel(number, reason):
                del self._open[end.number]  # nobody listens any more
        self._step(ctx)
        return Noted()

    @on(Ready)
    async def ready(self, _msg: Ready, ctx: Context) -> None:
        """The worker is there, for the first time or again."""
        self._ready = True
        self._step(ctx)

    @on(Stepped)
    async def stepped(self, msg: Stepped, ctx: Context) -> None:
        """Take note of what a step did, and go on with the next one."""
        if not self._ready:
            return  # of a life that has ended: what it held is lost already
        self._tell_ends(self._scheduler.stepped(msg.outcomes), ctx)
        self._step(ctx)

    def _step(self, ctx: Context) -> None:
        """Have the next step done, if there is anything to do and nothing is being done."""
        if self._worker is None or not self._ready or self._scheduler.working:
            return
        now_s = _now_s()
        self._tell_ends(self._scheduler.expire(now_s), ctx)
        plan = self._scheduler.plan(now_s)
        if not plan:
            return
        for begin in plan.begun:
            request = self._open[begin.number]
            ctx.tell(self._worker, Start(begin.number, begin.slot, request.listener, request.order))
        ctx.tell(self._worker, Step(plan.left, plan.prefill, plan.decode))

    def _tell_ends(self, ends: Iterable[End], ctx: Context) -> None:
        for end in ends:
            request = self._open.pop(end.number)
            over = Over(end.number, end.reason, end.story)
            ctx.tell(request.listener, over)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
