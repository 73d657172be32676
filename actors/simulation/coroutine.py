"""A coroutine between a task and the coroutine that it runs, through which faults reach any await."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

__all__ = ["SteeredCoroutine"]


class SteeredCoroutine(Coroutine[Any, Any, Any]):
    """Passes everything on to `inner`, unless something else was ordered.

    Attributes:
        error: raised once at the next await that returns while `may_raise` says yes.
        may_raise: whether an error may be raised now.
        delays: how long the next awaits take longer than they would, in seconds, the first one first.
        on_fault: told, in words, when one of these happens.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._delay: Iterator[Any] | None = None
        self.error: BaseException | None = None
        self.may_raise: Callable[[], bool] = bool
        self.delays: list[float] = []
        self.on_fault: Callable[[str], None] = print

    def send(self, value: Any) -> Any:
        """Go on after an await."""
        if self._delay is not None:
            self._delay = None
        elif self.error is not None and self.may_raise():
            error, self.error = self.error, None
            self.on_fault(f"{type(error).__name__} raised at an await")
            return self._inner.throw(error)
        elif self.delays and self.may_raise():
            return self._begin_delay(self.delays.pop(0))
        return self._inner.send(value)

    def _begin_delay(self, delay_s: float) -> Any:
        """Wait for something of our own first; a cancellation ends that and goes on to `inner`."""
        self.on_fault(f"stalled for {delay_s:g} s")
        future = self._loop.create_future()
        self._loop.call_later(delay_s, _wake, future)
        self._delay = iter(future.__await__())
        return next(self._delay)

    def throw(self, *error: Any) -> Any:
        """Raise at the await."""
        self._delay = None
        return self._inner.throw(*error)

    def close(self) -> None:
        """End it."""
        self._inner.close()

    def __await__(self) -> Any:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # cr_frame, cr_await, cr_code, ...: for whoever looks at stacks


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
