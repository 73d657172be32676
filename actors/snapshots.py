"""State that outlives an incarnation: taken when an epoch is done, handed to the next life.

What is kept is a frame, in the cell: nobody can change it later, and every life reads it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.actor import Actor
from actors.errors import MessageError

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.context import Context
    from actors.delivery import Entry

__all__ = ["Keeper", "keeper_of", "restore", "take"]


class Keeper:
    """An incarnation that keeps state, and what it needs to be asked for it."""

    __slots__ = ("actor", "ctx")

    def __init__(self, actor: Actor, ctx: Context) -> None:
        self.actor = actor
        self.ctx = ctx


def keeper_of(actor: Actor, ctx: Context) -> Keeper | None:
    """Who has to be asked when an epoch is done; None for an actor that keeps nothing."""
    return Keeper(actor, ctx) if type(actor).snapshot is not Actor.snapshot else None


async def take(cell: Cell) -> None:
    """Ask the actor for its state and keep it instead of what was kept before.

    Raises:
        MessageError: it cannot travel. Like everything that the hook raises it also fails the actor.
        ActorDown: the incarnation was given up meanwhile; what was kept before stays.
    """
    if cell.keeper is None:
        return
    try:
        await _take(cell, cell.keeper)
    except Exception as error:
        cell.fail_soon(error)
        raise


async def _take(cell: Cell, keeper: Keeper) -> None:
    state = await keeper.actor.snapshot(keeper.ctx)
    keeper.ctx.live()  # whoever swallowed its cancellation speaks for nobody any more
    if state is None:
        cell.snapshot = None
        return
    try:
        cell.snapshot = cell.host.delivery.prepare(cell.origin, state)
    except MessageError as error:
        raise type(error)(f"the snapshot of {cell.ref} cannot be kept: {error}") from error
    tracer = cell.host.tracer
    payload = tracer.payload(cell.snapshot.packed) if tracer is not None else b""
    cell.trace("snapshot", type_=cell.snapshot.tag, payload=payload)


async def restore(kept: Entry, actor: Actor, ctx: Context) -> None:
    """Hand the next life what was kept."""
    cell = ctx.live()
    cell.trace("restore", type_=kept.tag)
    await actor.restore(cell.host.delivery.codec.unpack(kept.packed), ctx)
