"""What users subclass: `Actor`, and `on`, which binds a method to a message class."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from actors.lifecycle import State
from actors.messages import schema_of

if TYPE_CHECKING:
    from actors.context import Context
    from actors.messages import Down

__all__ = ["Actor", "Handler", "on"]

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])


@dataclass(frozen=True, slots=True)
class Handler:
    """One row of an actor's contract.

    Attributes:
        message: the message class.
        name: the method that handles it.
        states: lifecycle states in which it may run.
        bound: whether that excludes any.
    """

    message: type
    name: str
    states: frozenset[State]
    bound: bool


def on(message: type, *, when: State | Iterable[State] | None = None) -> Callable[[F], F]:
    """Bind an async method `(self, msg, ctx)` to a message class.

    Args:
        message: a class declared with `@message`.
        when: the state or states in which the message is accepted, all by default. In any other state it is
            refused with `WrongState`.

    Raises:
        UnregisteredMessage: the class was not declared with `@message`.
        TypeError: the method is not `async def`, or does not take `(self, msg, ctx)`; or the message is the
            runtime's own.
    """
    if schema_of(message).tag.startswith("actors."):
        raise TypeError(
            f"{message.__name__} is the runtime's own: no handler gets it, and Down goes to on_down"
        )
    states = frozenset(State if when is None else {when} if isinstance(when, State) else when)

    def mark(method: F) -> F:
        checked: Callable[..., Any] = method  # the checks below must not narrow the type that is returned
        if not inspect.iscoroutinefunction(checked):
            raise TypeError(f"{method.__qualname__} handles {message.__name__} and must be `async def`")
        try:
            inspect.signature(method).bind("self", "msg", "ctx")
        except TypeError:
            raise TypeError(f"{method.__qualname__} must take (self, msg, ctx)") from None
        method.__actor_handler__ = Handler(message, method.__name__, states, len(states) < len(State))  # type: ignore[attr-defined] # read by Actor.__init_subclass__
        return method

    return mark


class Actor:
    """State, and handlers that run one at a time.

    Subclasses bind methods with `@on`, and may override the hooks. Every hook and handler runs under a
    deadline. The constructor's arguments are handed over at `spawn`, and again at every restart.

    Raises:
        TypeError: a subclass (when it is defined) has `snapshot` without `restore`, or the other way round.
    """

    handlers: ClassVar[dict[type, Handler]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        members = (member for base in reversed(cls.__mro__) for member in vars(base).values())
        bound = (getattr(member, "__actor_handler__", None) for member in members)
        cls.handlers = {handler.message: handler for handler in bound if handler is not None}
        if (cls.snapshot is Actor.snapshot) is not (cls.restore is Actor.restore):
            raise TypeError(f"{cls.__qualname__} needs both `snapshot` and `restore`, or neither")

    @classmethod
    def contract(cls) -> str:
        """The table of (message, states) -> handler, one row a line."""
        rows = [
            f"{schema_of(handler.message).tag:<32} {_names(handler.states):<36} {handler.name}"
            for handler in cls.handlers.values()
        ]
        return "\n".join(rows)

    async def restore(self, state: Any, ctx: Context) -> None:
        """Called in a life after the first, before `on_start`, with what `snapshot` last returned.

        Not called when there is no snapshot. What it raises fails the actor.
        """

    async def snapshot(self, ctx: Context) -> Any:
        """Called when an epoch has been finished well, before that is said to anyone.

        Returns:
            The state to keep over restarts, a message; it replaces what was kept before. None keeps nothing.

        What it raises, and a state that cannot travel, fails the epoch and the actor.
        """

    async def on_start(self, ctx: Context) -> None:
        """Called before the first message, also after a restart. Raising fails the actor."""

    async def on_stop(self, ctx: Context) -> None:
        """Called after the last message of an ordinary stop, while the children still live."""

    async def on_failure(self, error: BaseException, ctx: Context) -> None:
        """Called when a handler raised, before the actor ends. What this raises is added to the reason."""

    async def on_down(self, down: Down, ctx: Context) -> None:
        """Called when an incarnation of a child, or of an actor under `watch`, has ended."""


def _names(states: frozenset[State]) -> str:
    return "any state" if len(states) == len(State) else ", ".join(s.value for s in State if s in states)
