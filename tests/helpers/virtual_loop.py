"""An event loop whose clock moves only when nothing else can: a timeout of an hour takes microseconds.

When no callback is ready the loop jumps to the next timer. When there is no timer either, and no job is at
work in a thread, nothing can ever happen again: that is a `Deadlock`, at once, instead of a test that hangs.
Jobs are real threads. While one is at work the clock stands still, so a job takes no virtual time, unless it
says that it is stuck (`Stuck`): then only the clock can help.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from actors.jobs import DaemonExecutor, _Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors import JobToken

P = ParamSpec("P")
R = TypeVar("R")

LIMIT_S = 24 * 3600.0
POLL_S = 0.001  # how often a thread at work is looked at, in real time


class Deadlock(AssertionError):
    """Every task waits, no timer is set, and no job is at work: nothing can ever happen again."""


_stuck: set[threading.Thread] = set()  # they would be waited for in vain, also by the tests that follow


class Stuck:
    """A job that does not return before it is released, whatever its token says.

    Attributes:
        entered: how many threads have come in.
        threads: they, in order.
        left: set once one has left again.
    """

    def __init__(self) -> None:
        self.entered = 0
        self.left = threading.Event()
        self._released = threading.Event()
        self.threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __call__(self, _token: JobToken | None = None, result: str = "late") -> str:
        """Block until `release`."""
        with self._lock:
            self.entered += 1
            self.threads.append(threading.current_thread())
            if not self._released.is_set():
                _stuck.add(threading.current_thread())
        self._released.wait(timeout=30)
        self.left.set()
        return result

    def release(self) -> None:
        """Let its threads go on; from now on they are at work."""
        with self._lock:
            self._released.set()
            _stuck.difference_update(self.threads)


class _Selector(selectors.DefaultSelector):
    """Asked to wait, it looks, and then moves the clock instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        while not ready and timeout != 0:
            at_work = _jobs_at_work()
            ready = super().select(POLL_S if at_work else 0)
            if not ready and not at_work:
                self.loop.jump(timeout)
                break
        return ready


def _jobs_at_work() -> bool:
    """Whether a job will end without the clock's help; one whose callbacks still run is at work too."""
    workers = [thread for thread in threading.enumerate() if isinstance(thread, _Worker)]
    return any(_at_work(executor) for executor in {worker._executor for worker in workers})


def _at_work(executor: DaemonExecutor) -> bool:
    with executor._lock:
        held = sum(worker in _stuck and not worker.abandoned for worker in executor._workers)
        return any(
            held < executor._limit if item.worker is None else item.worker not in _stuck
            for item in executor._items.values()
        )


def wait_for_threads(condition: Callable[[], bool]) -> None:
    """Return when threads have brought about what they are about to, in real time; at most 10 s."""
    until_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until_s, "the threads did not do it"
        threading.Event().wait(POLL_S)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop in virtual time, which begins at 0."""

    virtual_time = True

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self._now_s = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self._now_s

    def jump(self, delay_s: float | None) -> None:
        """Move the clock; None says that no timer is set."""
        if delay_s is None:
            raise Deadlock(f"all tasks are blocked at {self._now_s} s and no timer is set")
        self._now_s += delay_s
        if self._now_s > LIMIT_S:
            raise Deadlock(f"still not done after {LIMIT_S} s of virtual time")


def run_virtual(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run a coroutine function to its end in a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make an async test run in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(functools.partial(test, *args, **kwargs))

    return run


async def settle(turns: int = 20) -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(turns):
        await asyncio.sleep(0)
