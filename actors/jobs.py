"""Work in threads that may be left behind.

A thread cannot be killed. When a job's waiter is gone, the job's token says so, its thread is counted as
abandoned and another takes its place, up to a budget (law 7). All threads are daemons, so that the
interpreter's exit does not wait for a stuck one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from concurrent.futures import Executor, Future
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

from actors.errors import JobAbandoned, JobsExhausted
from actors.tracing.usage import JobTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from types import FrameType

    from actors.waits import Origin

__all__ = [
    "ABANDONED_MAX",
    "JOB_OF",
    "DaemonExecutor",
    "JobExecutor",
    "JobToken",
    "TimedJob",
    "jobs_at_work",
    "place_of",
    "raised_in_job",
]

P = ParamSpec("P")
R = TypeVar("R")
ABANDONED_MAX: Final = 8
STDLIB: Final = f"{Path(threading.__file__).parent}{os.sep}"


JOB_OF: Final[ContextVar[Origin | None]] = ContextVar("actors_job_of", default=None)
"""The actor whose job runs in this thread, and the message that it was handling."""


class JobToken:
    """What a job is told about its waiter. Safe to read from any thread.

    Args:
        time_s: how long somebody will wait, in seconds from now.
        clock: returns seconds; may be called from any thread.
    """

    __slots__ = ("_cancelled", "_clock", "_deadline_s", "last_progress")

    def __init__(self, time_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline_s = clock() + time_s
        self._cancelled = False
        self.last_progress = ""
        """What the job has said of itself last; empty if it has said nothing."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the job any more."""
        return self._cancelled

    @property
    def time_left_s(self) -> float:
        """Seconds until the wait ends, 0 at the least."""
        return max(0.0, self._deadline_s - self._clock())

    @property
    def now_s(self) -> float:
        """Seconds on the clock by which jobs are measured."""
        return self._clock()

    def cancel(self) -> None:
        """Tell the job that nobody waits any more."""
        self._cancelled = True

    def progress(self, where: str) -> None:
        """Say how far the job is, in words. The trace has it if the job is left behind."""
        self.last_progress = where

    def check(self) -> None:
        """Return while somebody waits; to be called where a job can be left.

        Raises:
            JobAbandoned: nobody does.
        """
        if self._cancelled:
            raise JobAbandoned("nobody waits for this job any more")


class TimedJob(Generic[R]):
    """A call that knows how long it waited for a thread, and how long the thread was at it.

    Args:
        fn: what to call, with its token first.
        token: whose clock counts; the waiting begins now.
        origin: which actor waits for it, while handling which message.
    """

    __slots__ = ("__qualname__", "_asked_s", "_fn", "_origin", "_thread_id", "_token", "times")

    def __init__(
        self, fn: Callable[Concatenate[JobToken, ...], R], token: JobToken, origin: Origin | None = None
    ) -> None:
        self.__qualname__ = getattr(fn, "__qualname__", repr(fn))
        self._fn = fn
        self._token = token
        self._origin = origin
        self._asked_s = token.now_s
        self._thread_id = 0
        self.times: JobTimes | None = None
        """None until it has ended."""

    def __call__(self, *args: Any, **kwargs: Any) -> R:
        """Called in the thread."""
        begun_s = self._token.now_s
        self._thread_id = threading.get_ident()
        outer = JOB_OF.set(self._origin)
        try:
            return self._fn(self._token, *args, **kwargs)
        finally:
            JOB_OF.reset(outer)
            self._thread_id = 0
            self.times = JobTimes(begun_s - self._asked_s, self._token.now_s - begun_s)

    def last_seen(self) -> str:
        """Of a job that is at work: since when, how far it said it was, and at which line it is, in words."""
        story = [f"after {self._token.now_s - self._asked_s:.3f} s"]
        if self._token.last_progress:
            story.append(f"progress: {self._token.last_progress}")
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - the documented way to look at other threads
        if frame is not None:
            story.append(place_of(frame))
        return "; ".join(story)


class JobExecutor(Protocol):
    """What runs the jobs of an actor system: threads, or a simulation of them."""

    def token(self, time_s: float) -> JobToken:
        """Return the token of a job for which somebody waits `time_s` seconds, on the jobs' clock."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call; see `DaemonExecutor.submit`."""

    def abandon(self, future: Future[Any]) -> bool:
        """Stop caring for a job; True when something was left behind."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Take no more jobs."""

    def statistics(self) -> dict[str, int]:
        """Counts: `queued`, `running` and `abandoned` jobs, `threads`."""

    def stacks(self) -> dict[str, str]:
        """What each job is doing now, by name."""

    def under_way(self) -> list[Future[Any]]:
        """The jobs that have begun and not ended."""


class _Item:
    __slots__ = ("args", "fn", "future", "kwargs", "worker")

    def __init__(self, future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.future = future
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.worker: _Worker | None = None

    def run(self) -> None:
        try:
            result = self.fn(*self.args, **self.kwargs)
        except BaseException as error:  # noqa: BLE001 - SystemExit in a job is the job's failure, not the thread's
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def place_of(frame: FrameType) -> str:
    """At which line a thread is, as in `at work.py:80 in compute`; a line of the program, if there is one."""
    at: FrameType | None = frame
    while at is not None and _is_of_python(at.f_code.co_filename):
        at = at.f_back
    frame = at or frame
    return f"at {Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _is_of_python(filename: str) -> bool:
    return filename.startswith((STDLIB, "<frozen")) and "-packages" not in filename


def raised_in_job(error: BaseException) -> bool:
    """Whether an error comes from inside a job, in its thread."""
    return any(frame.f_code is _Item.run.__code__ for frame, _ in traceback.walk_tb(error.__traceback__))


class _Worker(threading.Thread):
    """A daemon thread of one executor. `abandoned` is read and written under the executor's lock."""

    def __init__(self, executor: DaemonExecutor, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.abandoned = False
        self.executor = executor

    def run(self) -> None:
        while (item := self.executor._next(self)) is not None:  # noqa: SLF001 - the two classes are one concept
            item.run()
            self.executor._finished(item)  # noqa: SLF001 - the same
            del item  # a result must not live on in an idle thread


class DaemonExecutor(Executor):
    """A thread pool whose threads may be abandoned.

    Args:
        workers: how many jobs run at a time, abandoned ones not counted; at least 1.
        abandoned_max: how many threads may be left behind before further jobs are refused.
        name: prefix of the threads' names.

    Raises:
        ValueError: `workers` is below 1 or `abandoned_max` negative.
    """

    def __init__(self, workers: int, *, abandoned_max: int = ABANDONED_MAX, name: str = "job") -> None:
        if workers < 1 or abandoned_max < 0:
            raise ValueError(f"impossible executor: {workers} workers, {abandoned_max} abandoned at most")
        self._limit = workers
        self._abandoned_max = abandoned_max
        self._name = name
        self._lock = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._items: dict[Future[Any], _Item] = {}
        self._workers: set[_Worker] = set()
        self._idle = 0
        self._started = 0
        self._closed = False

    def token(self, time_s: float) -> JobToken:
        """Return the token of a job for which somebody waits `time_s` seconds."""
        return JobToken(time_s)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a call.

        Raises:
            RuntimeError: the executor was shut down.
            JobsExhausted: the budget of abandoned threads is used up.
        """
        future: Future[R] = Future()
        item = _Item(future, fn, args, kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor was shut down")
            if (left_behind := self._abandoned()) > self._abandoned_max:
                raise JobsExhausted(
                    f"{left_behind} abandoned jobs still hold their threads; no more are started"
                )
            self._items[future] = item
            self._queue.append(item)
            try:
                self._hire()
            except RuntimeError:  # the operating system has no more threads: the job was not taken
                self._queue.pop()
                del self._items[future]
                raise
            self._lock.notify()
        return future

    def abandon(self, future: Future[Any]) -> bool:
        """Stop caring for a job: drop it from the queue, or leave its thread behind and replace it.

        Returns:
            True when a thread was left behind.
        """
        if future.cancel():
            with self._lock:  # its arguments must not live on until a thread comes by
                item = self._items.pop(future, None)
                if item is not None and item in self._queue:
                    self._queue.remove(item)
            return False
        with self._lock:
            item = self._items.get(future)
            if item is None or item.worker is None or item.worker.abandoned:
                return False
            item.worker.abandoned = True
            with contextlib.suppress(RuntimeError):  # no thread to be had now: the next `submit` tries again
                self._hire()
            return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """Take no more jobs. With `wait`, join all threads, however long they take."""
        with self._lock:
            self._closed = True
            dropped = list(self._queue) if cancel_futures else []
            workers = list(self._workers)
            self._lock.notify_all()
        for item in dropped:
            item.future.cancel()
        if wait:
            for worker in workers:
                worker.join()

    def statistics(self) -> dict[str, int]:
        """Counts: `queued`, `running` and `abandoned` jobs, `threads`."""
        with self._lock:
            abandoned = self._abandoned()
            running = sum(not worker.abandoned for worker in self._at_work())
            return {
                "queued": len(self._queue),
                "running": running,
                "abandoned": abandoned,
                "threads": len(self._workers),
            }

    def stacks(self) -> dict[str, str]:
        """What each thread with a job is doing now: thread name to formatted stack."""
        frames = sys._current_frames()  # noqa: SLF001 - the documented way to look at other threads
        with self._lock:
            busy = self._at_work()
        return {
            worker.name: "".join(traceback.format_stack(frames[worker.ident]))
            for worker in busy
            if worker.ident in frames
        }

    def under_way(self) -> list[Future[Any]]:
        """The jobs that have begun and not ended."""
        with self._lock:
            return [future for future, item in self._items.items() if item.worker is not None]

    def at_work(self, stuck: Container[threading.Thread] = ()) -> bool:
        """Whether a job will end although the threads in `stuck` never do.

        One whose callbacks still run is at work too, and so is one in the queue that will have its turn.
        """
        with self._lock:
            held = sum(worker in stuck and not worker.abandoned for worker in self._workers)
            return any(
                held < self._limit if item.worker is None else item.worker not in stuck
                for item in self._items.values()
            )

    def _at_work(self) -> list[_Worker]:
        """Threads inside a job; not those that have its result and only put it away. The lock is held."""
        items = self._items.values()
        return [item.worker for item in items if item.worker is not None and not item.future.done()]

    def _abandoned(self) -> int:
        return sum(worker.abandoned for worker in self._workers)

    def _hire(self) -> None:
        """Start a thread if work waits and fewer than the limit are at it. The lock is held."""
        if self._idle < len(self._queue) and len(self._workers) - self._abandoned() < self._limit:
            self._started += 1
            worker = _Worker(self, f"{self._name}-{self._started}")
            worker.start()
            self._workers.add(worker)

    def _next(self, worker: _Worker) -> _Item | None:
        with self._lock:
            while not worker.abandoned:
                while self._queue:
                    item = self._queue.popleft()
                    if item.future.set_running_or_notify_cancel():
                        item.worker = worker
                        return item
                    self._items.pop(item.future, None)
                if self._closed:
                    break
                self._idle += 1
                self._lock.wait()
                self._idle -= 1
            self._workers.discard(worker)
            return None

    def _finished(self, item: _Item) -> None:
        with self._lock:
            item.worker = None
            self._items.pop(item.future, None)


def jobs_at_work(stuck: Container[threading.Thread] = ()) -> bool:
    """Whether any executor of this process has a job at work, see `DaemonExecutor.at_work`."""
    workers = [thread for thread in threading.enumerate() if isinstance(thread, _Worker)]
    return any(executor.at_work(stuck) for executor in {worker.executor for worker in workers})
