"""Where an actor under test lives: below a parent that can put it into any state of the lifecycle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from actors.actor import Actor, on
from actors.errors import ActorError
from actors.lifecycle import State
from actors.messages import ActorRef, Request, message
from actors.supervision import Supervision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.context import Context
    from actors.simulation import Simulation

__all__ = ["Crash", "Stage", "Unheard"]

# Of what the stage itself does: virtual time, more than any check takes.
STAGE_S: Final = 3600.0
NAME: Final = "subject"


@message("stage.unheard")
class Unheard:
    """A message that no actor of a user's has a handler for."""


@message("stage.staged")
class Staged:
    """The answer to `RunEpoch`."""


@message("stage.run_epoch")
class RunEpoch(Request[Staged]):
    """Asked by the stage of its parent: run one epoch, until the stage says so."""


@message("stage.crash")
class Crash(Request[Staged]):
    """Asked of the actor under test, which was given a handler for it: fail."""


class Stage:
    """One life of a check: a parent with the actor under test below it.

    Attributes:
        ref: the actor under test.
    """

    def __init__(
        self, sim: Simulation, actor: type[Actor], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        crash = {
            "_testing_crash": _testing_crash,
            "__module__": actor.__module__,
            "__qualname__": actor.__qualname__,
        }
        self.sim = sim
        self.system = sim.system
        self.actor = type(actor.__name__, (actor,), crash)
        self.args = args
        self.kwargs = kwargs
        self.ref: ActorRef[Any] = ActorRef("", 0)
        self._entered = asyncio.Event()
        self._leave = asyncio.Event()
        self._parent: ActorRef[Any] = ActorRef("", 0)
        self._epoch: asyncio.Task[Any] | None = None

    async def open(self) -> None:
        """Start the parent and the actor."""
        self._parent = await self.system.spawn(_Parent, self, name="stage", handler_timeout_s=STAGE_S)

    async def move_to(self, state: State) -> None:
        """Put the actor, which has just started, into a state.

        Raises:
            ActorError: it does not go there.
        """
        if state is State.IDLE:
            return
        asking = self.system.ask(self._parent, RunEpoch(), timeout_s=STAGE_S)
        self._epoch = self.sim.call(asking, name="the epoch of the stage")
        entered = asyncio.ensure_future(self._entered.wait())
        await asyncio.wait({entered, self._epoch}, return_when=asyncio.FIRST_COMPLETED)
        entered.cancel()
        if self._epoch.done():
            await self._epoch
        if state is State.EPOCH_DONE:
            await self.leave()

    async def leave(self) -> None:
        """End the epoch that `move_to` began, if it did."""
        self._leave.set()
        if self._epoch is not None:
            await self._epoch

    @property
    def life(self) -> int:
        """Which incarnation of the actor is there, 0 when there is none."""
        children = (child for top in self.system.tree() for child in top.children)
        return next((child.incarnation for child in children if child.path == self.ref.path), 0)

    async def play_parent(self, ctx: Context) -> None:
        """Start the actor; called by the parent."""
        supervision = Supervision(backoff_s=0.0)
        self.ref = await ctx.spawn(self.actor, *self.args, name=NAME, supervision=supervision, **self.kwargs)

    async def play_epoch(self, ctx: Context) -> Staged:
        """Run one epoch; called by the parent."""
        async with ctx.epoch(1, timeout_s=STAGE_S):
            self._entered.set()
            await ctx.wait(self._leave.wait(), timeout_s=STAGE_S, reason="the check")
        return Staged()


class _Parent(Actor):
    """The parent of the actor under test."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def on_start(self, ctx: Context) -> None:
        await self.stage.play_parent(ctx)

    @on(RunEpoch)
    async def run_epoch(self, _msg: RunEpoch, ctx: Context) -> Staged:
        return await self.stage.play_epoch(ctx)


class Crashed(ActorError):
    """What `Crash` does."""


@on(Crash)
async def _testing_crash(_self: Actor, _msg: Crash, _ctx: Context) -> Staged:
    raise Crashed("as the check asked")
