"""One request from the outside: submitted, heard of, and ended when nobody listens any more."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from actors import ActorError, Down, Expired, MessageError
from actors.notes import notes_of, with_notes
from crystalline.errors import DeadlineExceeded, GenerationError, QueueFull, SettingError
from crystalline.inference.messages import Admitted, Begun, Cancel, Over, Said, Submit, order_of
from crystalline.inference.scheduler import CANCELLED, EXPIRED, REFUSED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from actors import ActorRef, ActorSystem
    from crystalline.inference.desk import Desk
    from crystalline.inference.request import Request

__all__ = ["SUBMITS_MAX", "Calls"]

# Besides its pieces a listener is told that it has begun, and that it is over.
_OTHER_MESSAGES: Final = 4
_FINISHED: Final = frozenset({"stop", "length", "context"})
_GOODBYE_S: Final = 60.0
_GOODBYES_MAX: Final = 1_000

SUBMITS_MAX: Final = 64
"""Requests that are being submitted at a time. However many callers come at once, the worker finds the desk's
mailbox open: an actor tells what it has to tell now or never."""


class Calls:
    """The requests of one generator, as their callers see them.

    Args:
        system: that the desk is in.
        desk: who takes requests.
    """

    def __init__(self, system: ActorSystem, desk: ActorRef[Desk]) -> None:
        self._system = system
        self._desk = desk
        self._numbers = itertools.count(1)
        self._submitting = asyncio.Semaphore(SUBMITS_MAX)
        self._gone: dict[int, str] = {}
        self._closed = False
        self._goodbyes: asyncio.Task[None] | None = None

    async def hear(
        self, request: Request, limit_s: float, caller: str
    ) -> AsyncGenerator[Begun | Said | Over, None]:
        """Submit a request, and yield what is told of it. The last one is an `Over`, of a good end.

        Raises:
            CrystallineError: as `Generator.stream`.

        Closing it, or cancelling it, ends the request.
        """
        number, loop = next(self._numbers), asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        try:
            # Room for all that will ever come: a slow reader must not lose any of it.
            receiver = self._system.receiver(capacity=request.tokens + _OTHER_MESSAGES)
        except ActorError as error:
            raise with_notes(_lost(error), notes_of(error)) from error
        goodbye = CANCELLED
        try:
            receiver.watch(self._desk)
            submit = Submit(number, caller, receiver.ref, limit_s, order_of(request))
            message: Any = await self._submit(submit)
            while not isinstance(message, Over):
                if isinstance(message, Begun | Said):
                    yield message
                message = await receiver.receive(timeout_s=max(0.0, deadline_s - loop.time()))
                if isinstance(message, Down):
                    raise _lost(message.reason)
            goodbye = ""
            if message.reason not in _FINISHED:
                raise _error_of(message)
            yield message
        except (Expired, TimeoutError) as error:
            goodbye = EXPIRED if goodbye else ""
            late = f"the text was not complete within {limit_s:g} s: allow it more time, or fewer tokens"
            raise with_notes(DeadlineExceeded(late), notes_of(error)) from error
        except MessageError as error:
            raise SettingError(f"the request cannot be sent: {error}") from error
        except ActorError as error:
            raise with_notes(_lost(error), notes_of(error)) from error
        finally:
            receiver.close()
            if goodbye:
                self._leave(number, goodbye)

    def close(self) -> None:
        """Say nothing more to the desk: it ends."""
        self._closed = True
        if self._goodbyes is not None:
            self._goodbyes.cancel()

    async def _submit(self, submit: Submit) -> Admitted | Over:
        async with asyncio.timeout(submit.limit_s), self._submitting:
            return await self._system.ask(self._desk, submit, timeout_s=submit.limit_s)

    def _leave(self, number: int, reason: str) -> None:
        """Have the desk forget a request. There is no waiting here: whoever leaves may be cancelled."""
        if self._closed:
            return
        self._gone[number] = reason
        if self._goodbyes is None or self._goodbyes.done():
            self._goodbyes = asyncio.get_running_loop().create_task(self._say_goodbye())

    async def _say_goodbye(self) -> None:
        """Tell of all who left, many at a time: hundreds may leave at once."""
        while self._gone:
            numbers = tuple(itertools.islice(self._gone, _GOODBYES_MAX))
            cancel = Cancel(numbers, tuple(self._gone.pop(number) for number in numbers))
            with suppress(ActorError):  # a desk that is gone has forgotten them
                await self._system.ask(self._desk, cancel, timeout_s=_GOODBYE_S)


def _lost(reason: object) -> GenerationError:
    return GenerationError(
        f"the generator was lost or closed while this request was open: {reason}. What had been said until "
        "then is right; ask again for the rest"
    )


def _error_of(over: Over) -> GenerationError:
    if over.reason == REFUSED:
        return QueueFull(over.story)
    if over.reason == EXPIRED:
        return DeadlineExceeded(over.story)
    return GenerationError(over.story or f"the request was {over.reason}")
