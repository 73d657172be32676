"""Epochs over a tree: a parent begins one in its children, works, and leaves when all are accounted for.

    with epoch n:   begin(n) in this actor, BeginEpoch(n) asked of every child, recursively
    inside:         the parent asks its children
    leaving well:   FinishEpoch(n) asked of every child; each is epoch_done(n) or down; then a snapshot is
                    taken here, of an actor that keeps state, and finish(n)
    leaving badly:  AbortEpoch(n) told to every child; fail(n) here

A child that is restarted meanwhile joins the epoch that its parent has under way, so it never misses a
start; the scope at the parent is the single truth about which epoch that is.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors import snapshots
from actors.errors import ActorDown, ActorError, AskError, EpochFailed, Expired
from actors.host import Phase
from actors.lifecycle import Event, Lifecycle, State
from actors.messages import AbortEpoch, BeginEpoch, EpochState, FinishEpoch
from actors.notes import notes_of, with_notes
from actors.reasons import describe
from actors.waits import Witness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from actors.cell import Cell
    from actors.context import Context
    from actors.host import Host
    from actors.messages import ActorRef
    from actors.waits import Wait

__all__ = ["Epoch", "EpochWaits", "Scope", "abort", "begin", "finish", "join_running", "open_epoch"]


@dataclass(slots=True)
class Scope:
    """The epoch that a parent has under way.

    Attributes:
        epoch: its number.
        children: paths of the children that take part.
        deadline_s: when it must be over, on the loop's clock.
        finishing: the work is done, children that start now have nothing to do in it.
    """

    epoch: int
    children: tuple[ActorRef[Any], ...]
    deadline_s: float
    finishing: bool = False


class Epoch:
    """An epoch under way, as the actor that runs it sees it.

    Attributes:
        number: of the epoch.
    """

    __slots__ = ("_host", "_lives", "number")

    def __init__(self, host: Host, scope: Scope) -> None:
        self.number = scope.epoch
        self._host = host
        self._lives = {ref: life for ref in scope.children if (life := self._life(ref))}

    def _life(self, ref: ActorRef[Any]) -> int:
        """Which incarnation takes part, or will when it is back; 0 when there is no such actor any more."""
        cell = self._host.cells.get(ref.path)
        if cell is None or cell.ref != ref:
            return 0
        return cell.incarnation + (cell.phase is Phase.RESTARTING)

    @property
    def restarted(self) -> tuple[ActorRef[Any], ...]:
        """Children that have lost a life since the epoch began, and with it what they had done in it."""
        return tuple(ref for ref, life in self._lives.items() if self._life(ref) != life)


class EpochWaits:
    """Who waits for an actor's epochs to be over. A level: it outlives the actor's incarnations."""

    __slots__ = ("_last", "_waits")

    def __init__(self) -> None:
        self._waits: list[tuple[int, Wait]] = []
        self._last = Lifecycle()  # the latest in which an epoch was over

    def add(self, epoch: int, wait: Wait, now: Lifecycle) -> None:
        """Have `wait` end when `epoch` is over; at once if it is, now or in an earlier incarnation.

        An epoch that the end of an incarnation has cut short is not over, see `Cell.move`.
        """
        cut_short = now.state is State.SHUTDOWN and now.epoch == epoch
        for lifecycle in (self._last,) if cut_short else (now, self._last):
            if lifecycle.over(epoch):
                wait.succeed(lifecycle)
                return
        # Those that have expired or were left must not collect at an actor that never moves.
        self._waits = [waiting for waiting in self._waits if waiting[1].open]
        self._waits.append((epoch, wait))

    def moved(self, now: Lifecycle) -> None:
        """End the waits for what is over now."""
        if now.state is State.EPOCH_DONE:
            self._last = now
        for epoch, wait in self._waits:
            if now.over(epoch):
                wait.succeed(now)
        self._waits = [(epoch, wait) for epoch, wait in self._waits if wait.open]

    def fail(self, error: ActorDown) -> None:
        """End all of them: the actor will not move again."""
        for _, wait in self._waits:
            wait.fail(error)
        self._waits.clear()


@asynccontextmanager
async def open_epoch(
    ctx: Context, epoch: int, children: Iterable[ActorRef[Any]], deadline_s: float
) -> AsyncIterator[Epoch]:
    """Run one epoch in the actor of `ctx` and in `children`; see `Context.epoch`."""
    cell = ctx.live()  # here and not where the scope was made: the incarnation may have ended in between
    cell.move(Event.BEGIN, epoch)
    scope = cell.scope = Scope(epoch, tuple(children), deadline_s)
    try:
        await _begin_children(cell, scope)
        yield Epoch(cell.host, scope)
        await _finish_children(cell, scope)
        await snapshots.take(cell)
    except BaseException as error:
        if cell.scope is scope:  # else this incarnation was given up, and the epoch is not its own any more
            reason = describe(error)
            _abort_children(cell, reason)
            cell.scope = None
            cell.move(Event.FAIL, epoch, failure=reason)
        raise
    if cell.scope is scope:
        cell.scope = None
        cell.move(Event.FINISH, epoch)


async def begin(cell: Cell, message: BeginEpoch) -> EpochState:
    """Begin an epoch here and below, because the parent asks. Harmless when it runs already."""
    if not (cell.lifecycle.state is State.RUNNING and cell.lifecycle.epoch == message.epoch):
        limit_s = cell.run.deadline_s if cell.run else cell.host.loop.time()
        await _begin_here(cell, message.epoch, limit_s)
    return EpochState(cell.lifecycle.epoch, cell.lifecycle.state.value)


async def finish(cell: Cell, message: FinishEpoch) -> EpochState:
    """Finish an epoch here, after the children's. Harmless when it is over already."""
    if cell.lifecycle.state is State.RUNNING and cell.scope is not None:
        await _finish_children(cell, cell.scope)
        cell.scope = None
    if not cell.lifecycle.over(message.epoch):
        await snapshots.take(cell)
        cell.move(Event.FINISH, message.epoch)
    return EpochState(cell.lifecycle.epoch, cell.lifecycle.state.value)


async def abort(cell: Cell, message: AbortEpoch) -> None:
    """Fail an epoch here and below. Ignored when it does not run."""
    if cell.lifecycle.state is State.RUNNING and cell.lifecycle.epoch == message.epoch:
        _abort_children(cell, message.reason)
        cell.scope = None
        cell.move(Event.FAIL, message.epoch, failure=message.reason)


async def join_running(cell: Cell) -> None:
    """Bring a fresh incarnation into the epoch that its parent has under way, if it takes part in it."""
    scope = cell.parent.scope if cell.parent is not None else None
    if scope is None or cell.ref not in scope.children:
        return
    if scope.finishing:
        cell.move(Event.BEGIN, scope.epoch)
        cell.move(Event.FINISH, scope.epoch)
    else:
        await _begin_here(cell, scope.epoch, scope.deadline_s)


async def _begin_here(cell: Cell, epoch: int, deadline_s: float) -> None:
    cell.move(Event.BEGIN, epoch)
    cell.scope = Scope(epoch, tuple(child.ref for child in cell.children.values()), deadline_s)
    await _begin_children(cell, cell.scope)


async def _begin_children(cell: Cell, scope: Scope) -> None:
    """Begin the epoch in the children. One that is down joins when it is back, or is found missing later."""
    asks = [(ref, BeginEpoch(scope.epoch)) for ref in scope.children]
    for ref, outcome in zip(scope.children, await _ask_all(cell, asks, scope), strict=True):
        if isinstance(outcome, AskError) and not isinstance(outcome, ActorDown):
            raise _failed(f"epoch {scope.epoch} could not begin in {ref}: {outcome}", outcome) from outcome


async def _finish_children(cell: Cell, scope: Scope) -> None:
    """Return when every child has ended the epoch or is down for good."""
    scope.finishing = True
    pending = list(scope.children)
    while pending:
        outcomes = await _ask_all(cell, [(ref, FinishEpoch(scope.epoch)) for ref in pending], scope)
        again = []
        for ref, outcome in zip(pending, outcomes, strict=True):
            if isinstance(outcome, ActorDown):
                if outcome.restarting:
                    again.append(ref)
                else:
                    await _until_ended(cell, ref, scope)
            elif isinstance(outcome, AskError):
                raise _failed(f"epoch {scope.epoch} did not end in {ref}: {outcome}", outcome) from outcome
        pending = again


async def _until_ended(cell: Cell, ref: ActorRef[Any], scope: Scope) -> None:
    """Wait for the end of a child that takes no more questions: one that is stopping may still be at work.

    Raises:
        EpochFailed: it has not ended in time.
    """
    child = cell.host.cells.get(ref.path)
    if child is None or child.ref != ref:
        return
    wait = cell.open_wait(ref.path, "its end", _limit_s(cell, scope), Witness.MONITOR)
    child.wait_for_end(wait)
    try:
        await wait.future
    except Expired as error:
        raise _failed(f"epoch {scope.epoch} did not end in {ref}: {error}", error) from error
    finally:
        cell.host.waits.close(wait)


def _failed(text: str, cause: ActorError) -> EpochFailed:
    """The error of an epoch, with what is known of its cause."""
    return with_notes(EpochFailed(text), notes_of(cause))


def _abort_children(cell: Cell, reason: str) -> None:
    if cell.scope is None:
        return
    for ref in cell.scope.children:
        recipient = cell.host.delivery.locate(ref)
        if recipient is not None:
            cell.host.delivery.tell_system(cell.origin, recipient, AbortEpoch(cell.scope.epoch, reason))


async def _ask_all(cell: Cell, asks: list[tuple[ActorRef[Any], Any]], scope: Scope) -> list[Any]:
    return await cell.host.delivery.ask_all(cell.origin, asks, _limit_s(cell, scope))


def _limit_s(cell: Cell, scope: Scope) -> float:
    return min(scope.deadline_s, cell.run.deadline_s) if cell.run else scope.deadline_s
