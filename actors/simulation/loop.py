"""An event loop in virtual time, with a ready queue in seeded random order.

What it keeps of asyncio's promises, on purpose: a callback that becomes ready in one turn runs in a later
one, and each callback has its chance in every turn, so that nothing is starved. What it drops, on purpose,
because only one loop on a quiet machine gives it: the order of the callbacks of one turn is random (asyncio:
first in, first out), and so is that of timers of the same moment; a callback may be put off to the next
turn; and, if the run is `laggy`, time may pass although something is ready, as on a machine that is busy
elsewhere. The order within a task, and everything that one callback does before it returns, stay as they
are. The runtime relies on nothing more: the simulation is the proof.

Time moves only in jumps to the next timer. When nothing is ready and no timer is set, nothing can ever
happen again: that is a `Deadlock`, at once.
"""

from __future__ import annotations

import asyncio
import heapq
import threading
from random import Random
from typing import TYPE_CHECKING, Any, Final

from actors.simulation.coroutine import SteeredCoroutine

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from actors.jobs import JobExecutor

__all__ = ["ChoosingLoop", "Deadlock", "SimulationLoop"]

STEPS_MAX: Final = 200_000
# How likely a callback is put off to the next turn; one of these holds for a whole run.
DEFERRALS: Final = (0.0, 0.1, 0.3)
LAG: Final = 0.02


class Deadlock(AssertionError):
    """All tasks are blocked and no timer is set, or there is no end in sight."""


class SimulationLoop(asyncio.BaseEventLoop):
    """A loop whose whole behaviour follows from `random`. It has no sockets, no processes and no threads.

    Attributes:
        steps: callbacks run so far: the schedule points.
        turns: rounds in which they ran.
        laggy: whether time passes now and then although something is ready.
        before_step: called before each callback.
        before_jump: called before the clock moves forward.
        lagged_s: how much time has passed like that.
        steps_max: more than these are a `Deadlock`: there is no end in sight.
        executor: takes what is given to `run_in_executor`.
        tasks: every task ever made, oldest first.
        virtual_time: says to the watchdog of an actor system that there is nothing to watch.
    """

    virtual_time: Final = True

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _thread_id: int | None

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self._now_s = 0.0
        self._defer = random.choice(DEFERRALS)
        self.steps = 0
        self.turns = 0
        self.laggy = False
        self.lagged_s = 0.0
        self.steps_max = STEPS_MAX
        self.before_step: Callable[[], object] = bool
        self.before_jump: Callable[[], object] = bool
        self.executor: JobExecutor | None = None
        self._in_executor: set[asyncio.Future[Any]] = set()
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Seconds since the run began."""
        return self._now_s

    @property
    def quiet(self) -> bool:
        """Whether nothing is ready to run."""
        return not self._ready

    def timers(self) -> int:
        """How many timers are set."""
        return sum(not handle.cancelled() for handle in self._scheduled)

    def run_in_executor(  # type: ignore[override] # a future is what is awaited here, as in asyncio
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a call as a simulated job, whatever the executor.

        Raises:
            RuntimeError: there is nothing that takes jobs.
        """
        if self.executor is None:
            raise RuntimeError(f"this simulation runs no threads, not even in {executor}")
        future = asyncio.wrap_future(self.executor.submit(func, *args), loop=self)
        self._in_executor.add(future)
        future.add_done_callback(self._in_executor.discard)
        return future

    def errands(self) -> int:
        """How many calls of `run_in_executor` are not done."""
        return len(self._in_executor)

    def create_task(  # type: ignore[override] # typeshed's signature differs from version to version
        self, coro: Any, *, name: str | None = None, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """As every loop, with numbers of its own: asyncio counts tasks over all loops of the process."""
        return super().create_task(coro, name=name or f"task {len(self.tasks)}", **kwargs)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Any, /, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(SteeredCoroutine(coro, self), loop=loop, **kwargs)
        self.tasks.append(task)
        return task

    def _run_once(self) -> None:
        self._drop_cancelled()
        if not self._ready:
            self._jump()
        elif self.laggy and self._random.random() < LAG:
            self.lag()
        batch = list(self._ready)
        self._ready.clear()
        self._random.shuffle(batch)
        self.turns += 1
        for handle in batch:
            if handle.cancelled():
                continue
            if self._defer and self._random.random() < self._defer:
                self._ready.append(handle)
                continue
            self._step(handle)

    def _step(self, handle: asyncio.Handle) -> None:
        self.steps += 1
        if self.steps > self.steps_max:
            raise Deadlock(f"still not done after {self.steps_max} steps, at {self._now_s:.3f} s")
        self.before_step()
        handle._run()  # noqa: SLF001 - a loop's part: it runs the callback in its context

    def _drop_cancelled(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)

    def may_lag(self) -> bool:
        """Whether time can pass now although something is ready.

        Never twice before what was due has run: then no deadline could be kept.
        """
        return bool(self._scheduled) and not any(
            isinstance(handle, asyncio.TimerHandle) for handle in self._ready
        )

    def lag(self) -> None:
        """Let time pass up to the next timer, if it may."""
        if self.may_lag():
            before_s = self._now_s
            self._jump()
            self.lagged_s += self._now_s - before_s

    def _jump(self) -> None:
        if not self._scheduled:
            raise Deadlock(f"all tasks are blocked at {self._now_s:.3f} s and no timer is set")
        when_s = self._scheduled[0].when()
        if when_s > self._now_s:
            self.before_jump()
            self._now_s = when_s
        while self._scheduled and self._scheduled[0].when() <= self._now_s:
            self._ready.append(heapq.heappop(self._scheduled))

    def _write_to_self(self) -> None:
        """Called by `call_soon_threadsafe`: there is no selector to be woken, and no other thread."""
        if threading.get_ident() != self._thread_id:
            raise RuntimeError("a simulation has one thread: work for others goes through ctx.offload")


class ChoosingLoop(SimulationLoop):
    """The same, with the next callback chosen among all that are ready, whenever they became so.

    There are no turns: every order in which ready callbacks can run is an order that can be chosen, so what a
    `SimulationLoop` does within its turns is among them. Nothing protects a callback from being passed over.

    Args:
        choose: gets the callbacks that are ready, the longest ready first, and returns the index of the one
            to run; None to be asked again, after it has done something else.
    """

    def __init__(self, choose: Callable[[list[asyncio.Handle]], int | None]) -> None:
        super().__init__(Random(0))  # nothing is drawn from it
        self._choose = choose

    def _run_once(self) -> None:
        self._drop_cancelled()
        ready = [handle for handle in self._ready if not handle.cancelled()]
        self._ready.clear()
        self._ready.extend(ready)
        if not ready:
            self._jump()
            return
        chosen = self._choose(ready)
        if chosen is not None:
            del self._ready[chosen]
            self._step(ready[chosen])
