"""Epochs over a tree: a parent begins one in its children, works, and leaves when all are accounted for.

    with epoch n:   begin(n) in this actor, BeginEpoch(n) asked of every child, recursively
    inside:         the parent asks its children
    leaving well:   FinishEpoch(n) asked of every child; each is epoch_done(n) or down; then finish(n) here
    leaving badly:  AbortEpoch(n) told to every child; fail(n) here

A child that is restarted meanwhile joins the epoch that its parent has under way, so it never misses a
start; the scope at the parent is the single truth about which epoch that is.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.errors import ActorDown, AskError, EpochFailed
from actors.lifecycle import Event, State
from actors.messages import AbortEpoch, BeginEpoch, EpochState, FinishEpoch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from actors.cell import Cell
    from actors.messages import ActorRef

__all__ = ["Scope", "abort", "begin", "finish", "join_running", "open_epoch"]


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


@asynccontextmanager
async def open_epoch(
    cell: Cell, epoch: int, children: Iterable[ActorRef[Any]], deadline_s: float
) -> AsyncIterator[None]:
    """Run one epoch in `cell` and `children`; see `Context.epoch`."""
    cell.move(Event.BEGIN, epoch)
    cell.scope = Scope(epoch, tuple(children), deadline_s)
    try:
        await _begin_children(cell, cell.scope)
        yield
        await _finish_children(cell, cell.scope)
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _abort_children(cell, reason)
        if cell.lifecycle.state is State.RUNNING:
            cell.move(Event.FAIL, epoch, failure=reason)
        raise
    finally:
        cell.scope = None
    cell.move(Event.FINISH, epoch)


async def begin(cell: Cell, message: BeginEpoch) -> EpochState:
    """Begin an epoch here and below, because the parent asks. Harmless when it runs already."""
    if not (cell.lifecycle.state is State.RUNNING and cell.lifecycle.epoch == message.epoch):
        await _begin_here(cell, message.epoch)
    return EpochState(cell.lifecycle.epoch, cell.lifecycle.state.value)


async def finish(cell: Cell, message: FinishEpoch) -> EpochState:
    """Finish an epoch here, after the children's. Harmless when it is over already."""
    if cell.lifecycle.state is State.RUNNING and cell.scope is not None:
        await _finish_children(cell, cell.scope)
        cell.scope = None
    if not cell.lifecycle.over(message.epoch):
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
        await _begin_here(cell, scope.epoch)


async def _begin_here(cell: Cell, epoch: int) -> None:
    cell.move(Event.BEGIN, epoch)
    deadline_s = cell.run.deadline_s if cell.run else cell.host.loop.time() + cell.spec.handler_timeout_s
    cell.scope = Scope(epoch, tuple(child.ref for child in cell.children.values()), deadline_s)
    await _begin_children(cell, cell.scope)


async def _begin_children(cell: Cell, scope: Scope) -> None:
    """Begin the epoch in the children. One that is down joins when it is back, or is found missing later."""
    asks = [(ref, BeginEpoch(scope.epoch)) for ref in scope.children]
    for ref, outcome in zip(scope.children, await _ask_all(cell, asks, scope), strict=True):
        if isinstance(outcome, AskError) and not isinstance(outcome, ActorDown):
            raise EpochFailed(f"epoch {scope.epoch} could not begin in {ref}: {outcome}") from outcome


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
            elif isinstance(outcome, AskError):
                raise EpochFailed(f"epoch {scope.epoch} did not end in {ref}: {outcome}") from outcome
        pending = again


def _abort_children(cell: Cell, reason: str) -> None:
    if cell.scope is None:
        return
    for ref in cell.scope.children:
        recipient = cell.host.delivery.locate(ref)
        if recipient is not None:
            cell.host.delivery.tell_system(cell.origin, recipient, AbortEpoch(cell.scope.epoch, reason))


async def _ask_all(cell: Cell, asks: list[tuple[ActorRef[Any], Any]], scope: Scope) -> list[Any]:
    deadline_s = min(scope.deadline_s, cell.run.deadline_s) if cell.run else scope.deadline_s
    return await cell.host.delivery.ask_all(cell.origin, asks, deadline_s)
