"""What an actor's contract says of a message: in which states it is taken, and with what it is answered."""

from __future__ import annotations

import sys
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.messages import Request

if TYPE_CHECKING:
    from actors.actor import Actor, Handler
    from actors.lifecycle import State

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a contract.

    Attributes:
        message: the message class.
        states: in which it is taken.
        answered: whether it is asked, and not told.
        reply: the class, or classes, of the answer; None when it is not known.
    """

    message: type
    states: frozenset[State]
    answered: bool
    reply: Any


def rows(actor: type[Actor]) -> dict[type, Row]:
    """The contract of an actor.

    A message is asked when it is a `Request`, or its handler is annotated to return something; not `Any`.
    """
    return {handler.message: _row(actor, handler) for handler in actor.handlers.values()}


def _row(actor: type[Actor], handler: Handler) -> Row:
    for base in getattr(handler.message, "__orig_bases__", ()):
        if typing.get_origin(base) is Request:
            scope = vars(sys.modules[handler.message.__module__])
            reply = _resolved(typing.get_args(base)[0], scope)
            return Row(handler.message, handler.states, answered=True, reply=reply)
    method = getattr(actor, handler.name)
    hint = method.__annotations__.get("return", "None")
    if hint in {None, Any, "None", "Any"}:  # of an answer that may be anything it is not known that it is one
        return Row(handler.message, handler.states, answered=False, reply=None)
    return Row(handler.message, handler.states, answered=True, reply=_resolved(hint, method.__globals__))


def _resolved(hint: Any, scope: dict[str, Any]) -> Any:
    """What `isinstance` takes for a type hint; None when it cannot be told."""
    holder = type("Holder", (), {"__annotations__": {"reply": hint}})
    try:
        found = typing.get_type_hints(holder, scope)["reply"]
        isinstance(None, found)
    except (NameError, TypeError, AttributeError):  # a name of the type checker's alone, or a generic
        return None
    return None if found is type(None) else found
