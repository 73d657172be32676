"""From a message to the call that handles it, and from its result to the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors import epochs
from actors.errors import NotHandled, ProtocolError, Refused, WrongState
from actors.messages import AbortEpoch, BeginEpoch, Down, Failure, FinishEpoch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.context import Context
    from actors.delivery import Entry

__all__ = ["RUNTIME_HANDLERS", "answer", "bind", "refuse"]

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
    runtime_handler = RUNTIME_HANDLERS.get(type(body))
    if runtime_handler is not None:
        return runtime_handler(cell, body)
    if isinstance(body, Down):
        return actor.on_down(body, ctx)
    handler = actor.handlers.get(type(body))
    if handler is None:
        raise NotHandled(f"{cell.ref} ({type(actor).__name__}) has no handler for {type(body).__name__}")
    if cell.lifecycle.state not in handler.states:
        allowed = ", ".join(sorted(state.value for state in handler.states))
        raise WrongState(f"{cell.ref} is {cell.lifecycle} and takes {type(body).__name__} only in {allowed}")
    call: Coroutine[Any, Any, Any] = getattr(actor, handler.name)(body, ctx)
    return call


def refuse(cell: Cell, entry: Entry, error: Refused | ProtocolError) -> None:
    """Say that a message was not handled: to whoever asked, or by a dead letter."""
    name = type(error).__name__
    if entry.ask_id:
        failure = Failure(name, str(error), "", refused=isinstance(error, Refused))
        cell.host.delivery.fail(cell, entry.ask_id, cell.incarnation, failure)
    else:
        cell.host.delivery.dead_letter(entry.tag, f"refused: {name}", cell.origin, entry.msg_id)


def answer(cell: Cell, ask_id: int, incarnation: int, result: Any) -> None:
    """Answer an ask with what the handler returned in this incarnation; nothing is a failure (law 4)."""
    if result is None:
        failure = Failure("NoReply", "the handler returned nothing to an ask", "", refused=False)
        cell.host.delivery.fail(cell, ask_id, incarnation, failure)
    else:
        cell.host.delivery.reply(cell, ask_id, incarnation, result)
