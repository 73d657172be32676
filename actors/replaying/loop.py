"""An event loop in which the next thing that was recorded happens when nothing else can."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Prompter", "ReplayLoop"]

R = TypeVar("R")


class Prompter(Protocol):
    """Who knows what happens next."""

    def prompt(self, timer_s: float | None) -> bool:
        """Let the next recorded thing happen, unless a timer, set for `timer_s`, comes before it.

        Returns:
            Whether something was made to happen.
        """

    def patience_s(self, timer_s: float | None) -> float:
        """How long to wait, in real seconds, for what comes from outside the record; 0 to go to the timer."""


class _Selector(selectors.DefaultSelector):
    """Asked to wait, it looks, lets the next thing happen, or moves the clock."""

    loop: ReplayLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or self.loop.go_on(timeout):
            return ready
        patience_s = self.loop.patience_s(timeout)
        if patience_s:
            ready = super().select(patience_s)
            self.loop.advance(patience_s)
        elif timeout is not None:
            self.loop.advance(timeout)
        return ready


class ReplayLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands at the time of the record, however long somebody looks at a breakpoint.

    What is given to `run_in_executor` runs at once, in the same thread, so that breakpoints in it stop.

    Args:
        begin_s: what the clock says at the beginning.
    """

    def __init__(self, begin_s: float) -> None:
        selector = _Selector()
        selector.loop = self
        self._now_s = begin_s
        self.prompter: Prompter | None = None
        super().__init__(selector)

    def time(self) -> float:
        """Seconds on the clock of the record."""
        return self._now_s

    def advance_to(self, now_s: float) -> None:
        """Set the clock, never back."""
        self._now_s = max(self._now_s, now_s)

    def advance(self, delay_s: float) -> None:
        """Move the clock forward."""
        self._now_s += delay_s

    def patience_s(self, timeout_s: float | None) -> float:
        """As the prompter has it."""
        return self.prompter.patience_s(self._timer_s(timeout_s)) if self.prompter is not None else 0.0

    def go_on(self, timeout_s: float | None) -> bool:
        """Let the next recorded thing happen, if it comes before the next timer."""
        return self.prompter is not None and self.prompter.prompt(self._timer_s(timeout_s))

    def _timer_s(self, timeout_s: float | None) -> float | None:
        return None if timeout_s is None else self._now_s + timeout_s

    def run_in_executor(  # type: ignore[override] # a future is what is awaited here, as in asyncio
        self,
        executor: Any,  # noqa: ARG002 - whatever it is
        func: Callable[..., R],
        *args: Any,
    ) -> asyncio.Future[R]:
        """Run a call at once, whatever the executor."""
        future: asyncio.Future[R] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the call
            future.set_exception(error)
        return future
