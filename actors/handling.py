"""From a message to the call that handles it, and from its result to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors import epochs
from actors.delivery import Ask
from actors.errors import NotHandled, Refused, WrongState
from actors.host import CellOrigin
from actors.messages import AbortEpoch, BeginEpoch, Down, Failure, FinishEpoch
from actors.notes import of_asker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.context import Context
    from actors.delivery import Entry

__all__ = ["NO_REPLY", "RUNTIME_HANDLERS", "bind", "refuse"]

# The answer to an ask whose handler returned nothing (law 4).
NO_REPLY: Final = Failure("NoReply", "the handler returned nothing to an ask", "", refused=False)

# What the runtime itself handles, in every actor.
RUNTIME_HANDLERS: Final[Mapping[type, Callable[[Cell, Any], Coroutine[Any, Any, Any]]]] = {
    BeginEpoch: epochs.begin,
    FinishEpoch: epochs.finish,
    AbortEpoch: epochs.abort,
}


def bind(cell: Cell, actor: Actor, body: Any, ctx: Context) -> Coroutine[Any, Any, Any]:
    """Return the call that handles `body`.

    Raises:
        NotHandled, WrongState: the actor's contract has no such row.
    """
    handler = actor.handlers.get(type(body))
    if handler is None:
        return _bind_runtime(cell, actor, body, ctx)
    if handler.bound and cell.lifecycle.state not in handler.states:
        allowed = ", ".join(sorted(state.value for state in handler.states))
        raise WrongState(f"{cell.ref} is {cell.lifecycle} and takes {type(body).__name__} only in {allowed}")
    call: Coroutine[Any, Any, Any] = getattr(actor, handler.name)(body, ctx)
    return call


def _bind_runtime(cell: Cell, actor: Actor, body: Any, ctx: Context) -> Coroutine[Any, Any, Any]:
    runtime_handler = RUNTIME_HANDLERS.get(type(body))
    if runtime_handler is not None:
        return runtime_handler(cell, body)
    if isinstance(body, Down):
        return actor.on_down(body, ctx)
    raise NotHandled(f"{cell.ref} ({type(actor).__name__}) has no handler for {type(body).__name__}")


def refuse(cell: Cell, entry: Entry, error: Refused) -> None:
    """Say that a message was not handled: to whoever asked, or by a dead letter."""
    name, delivery = type(error).__name__, cell.host.delivery
    origin = CellOrigin(cell, entry.msg_id)
    if isinstance(entry, Ask):
        why = tuple(of_asker(delivery, entry))
        delivery.answer(origin, entry, Failure(name, str(error), "", refused=True, notes=why))
    else:
        delivery.trace_error(origin, entry.msg_id, name, str(error))
        delivery.dead_letter(entry, f"refused: {name}", origin)
