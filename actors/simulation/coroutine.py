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
        may_act: whether an order may be carried out now, at an await that returns.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._delay: Iterator[Any] | None = None
        self._error: tuple[BaseException, Callable[[str], None]] | None = None
        self._delays: list[tuple[float, Callable[[str], None]]] = []
        self.may_act: Callable[[], bool] = bool

    def fail_next(self, error: BaseException, on_fault: Callable[[str], None]) -> None:
        """Raise `error` at the next await that returns; `on_fault` is told in words when it happens."""
        self._error = error, on_fault

    def delay_next(self, delay_s: float, times: int, on_fault: Callable[[str], None]) -> None:
        """Have the next `times` awaits take longer; `on_fault` is told in words when it happens."""
        self._delays += [(delay_s, on_fault)] * times

    def send(self, value: Any) -> Any:
        """Go on after an await."""
        if self._delay is not None:
            self._delay = None
        elif self._error is not None and self.may_act():
            (error, on_fault), self._error = self._error, None
            on_fault(f"{type(error).__name__} raised at an await")
            return self._inner.throw(error)
        elif self._delays and self.may_act():
            return self._begin_delay(*self._delays.pop(0))
        return self._inner.send(value)

    def _begin_delay(self, delay_s: float, on_fault: Callable[[str], None]) -> Any:
        """Wait for something of our own first; a cancellation ends that and goes on to `inner`."""
        on_fault(f"stalled for {delay_s:g} s")
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
