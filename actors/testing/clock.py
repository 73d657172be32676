"""An event loop whose clock moves only when nothing else can: a timeout of an hour takes microseconds.

When no callback is ready the loop jumps to the next timer. When there is no timer either, and no job is at
work in a thread, nothing can ever happen again: that is a `Deadlock`, at once, instead of a test that hangs.

Jobs of actors are real threads. While one is at work the clock stands still, so a job takes no virtual time,
unless it is a `StuckJob`: then only the clock can help. The order of callbacks is asyncio's own; for other
orders, and for faults, there is `actors.simulation`.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from actors.jobs import DaemonExecutor, jobs_at_work
from actors.simulation import Deadlock
from actors.testing.stuck import stuck_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LIMIT_S", "VirtualLoop", "run_virtual", "settle", "virtual_time"]

P = ParamSpec("P")
R = TypeVar("R")

LIMIT_S: Final = 24 * 3600.0
POLL_S: Final = 0.001  # how often a thread at work is looked at, in real time
POOL_THREADS: Final = 4


class _Selector(selectors.DefaultSelector):
    """Asked to wait, it looks, and then moves the clock instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        while not ready and timeout != 0:
            at_work = jobs_at_work(stuck_threads())
            ready = super().select(POLL_S if at_work else 0)
            if not ready and not at_work:
                self.loop.jump(timeout)
                break
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time, which begins at 0.

    What becomes readable in a socket or a pipe is seen, but not waited for: the clock does not stand still
    for the world outside the process.
    """

    virtual_time = True

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._now_s = 0.0
        self._pool: DaemonExecutor | None = None
        super().__init__(selector)

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self._now_s

    def jump(self, delay_s: float | None) -> None:
        """Move the clock; None says that no timer is set.

        Raises:
            Deadlock: there is nothing to move to, or the clock has passed `LIMIT_S`.
        """
        if delay_s is None:
            raise Deadlock(f"all tasks are blocked at {self._now_s} s and no timer is set")
        self._now_s += delay_s
        if self._now_s > LIMIT_S:
            raise Deadlock(f"still not done after {LIMIT_S} s of virtual time")

    def run_in_executor(  # type: ignore[override] # a future is what is awaited here, as in asyncio
        self, executor: Any, func: Callable[..., R], *args: Any
    ) -> asyncio.Future[R]:
        """Run a call in a thread; without an executor in one of the loop's own, for which the clock waits."""
        if executor is None:
            executor = self._pool = self._pool or DaemonExecutor(POOL_THREADS, name="virtual-loop")
        return asyncio.wrap_future(executor.submit(func, *args), loop=self)

    def close(self) -> None:
        """Close the loop; threads of its own end when they have nothing to do."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()


def run_virtual(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run a coroutine function to its end in a virtual loop of its own, and return its result.

    Raises:
        Deadlock: all tasks are blocked and no timer is set, or `LIMIT_S` of virtual time were not enough.
        RuntimeError: an event loop is running already.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def virtual_time(test: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Make an async test function an ordinary one that runs in virtual time, see `run_virtual`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return run_virtual(functools.partial(test, *args, **kwargs))

    return run


async def settle(turns: int = 20) -> None:
    """Let everything happen that can happen without time passing: so many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
