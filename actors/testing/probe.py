"""A stand-in for any actor: it writes down what it hears, and answers as it is told to."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from actors.actor import Actor, on
from actors.messages import schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.context import Context
    from actors.lifecycle import State
    from actors.messages import ActorRef, Down

__all__ = ["Heard", "Probe"]

M = TypeVar("M")


class Heard(NamedTuple):
    """One message that reached a probe.

    Attributes:
        message: what was told or asked; a `Down` too.
        ref: the address it was sent to, when several actors share the probe.
        state: the lifecycle state in which it came.
    """

    message: Any
    ref: ActorRef[Any]
    state: State


class Probe:
    """The outside of one or more fake actors, held by a test.

    `probe.actor` is a class to spawn, or to hand to an actor that spawns its children itself. All its
    instances report here.

    Args:
        *messages: the message classes that it takes, declared with `@message`.
        like: an actor class whose contract, states included, it takes over.

    Raises:
        UnregisteredMessage: one of the classes was not declared with `@message`.
        ValueError: it would take nothing.

    Attributes:
        actor: the class of its actors.
        heard: all that has reached them, oldest first.
        refs: the addresses of those that have started, in order; a restart adds nothing.
    """

    def __init__(self, *messages: type, like: type[Actor] | None = None) -> None:
        contract: dict[type, Iterable[State] | None] = dict.fromkeys(messages)
        if like is not None:
            contract |= {handler.message: handler.states for handler in like.handlers.values()}
        if not contract:
            raise ValueError("a probe takes at least one message class: Probe(Greet), or Probe(like=Greeter)")
        self.heard: list[Heard] = []
        self.refs: list[ActorRef[Any]] = []
        self._answers: dict[type, Any] = {}
        self._contexts: list[Context] = []
        self._seen = 0
        self._arrived: asyncio.Event | None = None
        name = f"Fake{like.__name__}" if like is not None else "Fake"
        takers = {f"take_{schema_of(cls).schema_id}": _taker(cls, states) for cls, states in contract.items()}
        self.actor: type[Actor] = type(name, (_Fake,), {"probe": self, "__module__": __name__, **takers})

    @property
    def ref(self) -> ActorRef[Any]:
        """The address of the actor that started last.

        Raises:
            LookupError: none has started yet.
        """
        if not self.refs:
            raise LookupError("no actor of this probe was started: spawn probe.actor")
        return self.refs[-1]

    def answer(self, cls: type[M], reply: Any | Callable[[M], Any]) -> None:
        """Answer asks of this class from now on; without this an ask ends in `AskFailed`.

        Args:
            cls: a message class.
            reply: the answer; or an exception, to be raised; or a function of the message, perhaps async,
                that returns or raises it.
        """
        self._answers[cls] = reply

    def watch(self, ref: ActorRef[Any]) -> None:
        """Hear of the ends of another actor: `await probe.expect(Down)`.

        Raises:
            LookupError: no actor of this probe was started.
            ActorDown: it has ended.
        """
        if not self._contexts:
            raise LookupError("no actor of this probe was started: spawn probe.actor")
        self._contexts[-1].watch(ref)

    async def expect(self, cls: type[M], *, timeout_s: float = 1.0) -> M:
        """Take the next message, which must be of this class, and return it. Cancelling it takes nothing.

        Raises:
            AssertionError: it is of another class, or none comes in time.
        """
        message = await self._next(cls, timeout_s)
        assert isinstance(message, cls), f"expected {cls.__name__}, heard {message!r}"  # noqa: S101 - made for tests
        return message

    async def skip_to(self, cls: type[M], *, timeout_s: float = 1.0) -> M:
        """Take messages up to the next of this class, and return that. Cancelled, it has taken those before.

        Raises:
            AssertionError: none comes in time.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while True:
            message = await self._next(cls, until_s - loop.time())
            if isinstance(message, cls):
                return message

    async def expect_none(self, *, within_s: float) -> None:
        """Return after `within_s` seconds in which nothing came. Made for virtual time.

        Raises:
            AssertionError: something came, or had come and was not taken.
        """
        await asyncio.sleep(within_s)
        news = [entry.message for entry in self.heard[self._seen :]]
        assert not news, f"expected nothing within {within_s:g} s, heard {news!r}"  # noqa: S101 - made for tests

    async def _next(self, cls: type, timeout_s: float) -> Any:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while self._seen == len(self.heard):
            if self._arrived is None or self._arrived.is_set():
                self._arrived = asyncio.Event()  # shared by all who wait now
            try:
                await asyncio.wait_for(self._arrived.wait(), until_s - loop.time())
            except TimeoutError:
                raise AssertionError(
                    f"expected {cls.__name__} within {timeout_s:g} s, heard nothing"
                ) from None
        self._seen += 1
        return self.heard[self._seen - 1].message

    def note(self, message: Any, ctx: Context) -> None:
        """Write down what has reached one of the actors; called by them."""
        self.heard.append(Heard(message, ctx.self_ref, ctx.state))
        if self._arrived is not None:
            self._arrived.set()

    def note_start(self, ctx: Context) -> None:
        """Write down that an actor has started; called by them."""
        if ctx.self_ref not in self.refs:
            self.refs.append(ctx.self_ref)
        self._contexts.append(ctx)

    async def reply_to(self, message: Any) -> Any:
        """What to answer; called by the actors."""
        reply = self._answers.get(type(message))
        if isinstance(reply, BaseException):
            raise reply
        if callable(reply):
            reply = reply(message)
        return await reply if inspect.isawaitable(reply) else reply


class _Fake(Actor):
    """The inside: one actor of a probe. It takes whatever arguments the real one's constructor does."""

    probe: ClassVar[Probe]

    def __init__(self, *_args: Any, **_kwargs: Any) -> None: ...

    async def on_start(self, ctx: Context) -> None:
        self.probe.note_start(ctx)

    async def on_down(self, down: Down, ctx: Context) -> None:
        self.probe.note(down, ctx)


def _taker(cls: type, states: Iterable[State] | None) -> Callable[..., Any]:
    async def take(self: _Fake, msg: Any, ctx: Context) -> Any:
        self.probe.note(msg, ctx)
        return await self.probe.reply_to(msg)

    take.__name__ = f"take_{schema_of(cls).schema_id}"  # the name under which the class holds it
    return on(cls, when=states)(take)
