"""Jobs without threads: they take random virtual time, and some never return."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from actors.errors import JobsExhausted
from actors.jobs import ABANDONED_MAX, JobToken

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from random import Random

__all__ = ["SimulatedExecutor"]

P = ParamSpec("P")
R = TypeVar("R")

# How long one half of a job takes at the most, in seconds; the call is made between the halves.
HALVES_S: Final = (0.0, 0.0, 0.001, 0.05, 0.5)


class _Job:
    __slots__ = ("abandoned", "call", "future", "name", "stuck")

    def __init__(self, call: Callable[[], Any], name: str) -> None:
        self.call = call
        self.name = name
        self.future: Future[Any] = Future()
        self.abandoned = False
        self.stuck = False


class SimulatedExecutor:
    """As `DaemonExecutor`, in virtual time.

    A job's function is called in one go, somewhere between the job's start and its end; what it returns or
    raises is published at its end. That of an abandoned job is called all the same, as a thread would.

    Args:
        loop: whose clock counts.
        random: decides how long a job takes.
        workers: how many jobs run at a time, abandoned ones not counted.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, random: Random, workers: int) -> None:
        self._loop = loop
        self._random = random
        self.workers = workers
        self._queue: deque[_Job] = deque()
        self._at_work: dict[Future[Any], _Job] = {}
        self._closed = False
        self._to_stick: deque[Callable[[str], None]] = deque()

    def stick_next(self, note: Callable[[str], None]) -> None:
        """Have the next job that starts never return; `note` is told its name then."""
        self._to_stick.append(note)

    def token(self, time_s: float) -> JobToken:
        """Return a token in virtual time."""
        return JobToken(time_s, self._loop.time)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call.

        Raises:
            RuntimeError: the executor was shut down.
            JobsExhausted: the budget of abandoned jobs is used up.
        """
        if self._closed:
            raise RuntimeError("this executor was shut down")
        if (left_behind := self.statistics()["abandoned"]) > ABANDONED_MAX:
            raise JobsExhausted(f"{left_behind} abandoned jobs still hold their threads; no more are started")
        job = _Job(lambda: fn(*args, **kwargs), getattr(fn, "__qualname__", repr(fn)))
        self._queue.append(job)
        self._hire()
        return job.future

    def _hire(self) -> None:
        while self._queue and sum(not job.abandoned for job in self._at_work.values()) < self.workers:
            job = self._queue.popleft()
            if not job.future.set_running_or_notify_cancel():
                continue
            self._at_work[job.future] = job
            if self._to_stick:
                job.stuck = True
                self._to_stick.popleft()(job.name)
            else:
                self._loop.call_later(self._half_s(), self._call, job)

    def _half_s(self) -> float:
        return self._random.choice(HALVES_S) * self._random.random()

    def _call(self, job: _Job) -> None:
        try:
            result = job.call()
        except BaseException as error:  # noqa: BLE001 - SystemExit in a job is the job's failure, not the loop's
            self._loop.call_later(self._half_s(), self._publish, job, None, error)
        else:
            self._loop.call_later(self._half_s(), self._publish, job, result, None)

    def _publish(self, job: _Job, result: Any, error: BaseException | None) -> None:
        del self._at_work[job.future]
        if error is None:
            job.future.set_result(result)
        else:
            job.future.set_exception(error)
        self._hire()

    def abandon(self, future: Future[Any]) -> bool:
        """Drop a job from the queue, or leave it behind and give its place away; True in the latter case."""
        if future.cancel():
            self._queue = deque(job for job in self._queue if job.future is not future)
            return False
        job = self._at_work.get(future)
        if job is None or job.abandoned:
            return False
        job.abandoned = True
        self._hire()
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002 - the standard library's signature
        """Take no more jobs. It never waits: nothing can be waited for outside the loop."""
        self._closed = True
        for job in list(self._queue) if cancel_futures else []:
            job.future.cancel()
        self._queue = deque(job for job in self._queue if not job.future.cancelled())

    def statistics(self) -> dict[str, int]:
        """Counts: `queued`, `running` and `abandoned` jobs, `threads`."""
        abandoned = sum(job.abandoned for job in self._at_work.values())
        return {
            "queued": sum(not job.future.cancelled() for job in self._queue),
            "running": len(self._at_work) - abandoned,
            "abandoned": abandoned,
            "threads": len(self._at_work),
        }

    def stacks(self) -> dict[str, str]:
        """The jobs under way; there is no stack to show."""
        return {
            f"job {number} {job.name}": "stuck" if job.stuck else "at work"
            for number, job in enumerate(self._at_work.values(), 1)
        }

    def under_way(self) -> list[Future[Any]]:
        """The jobs that have begun and not ended."""
        return list(self._at_work)

    def leftovers(self) -> list[str]:
        """Jobs that hold a place and that nobody has given up; and those that should have ended."""
        jobs = [*self._queue, *self._at_work.values()]
        return [job.name for job in jobs if not (job.stuck and job.abandoned)]
