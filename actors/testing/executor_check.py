"""The contract of a job executor: bounded, ordered, and able to leave a job behind."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from actors.errors import JobAbandoned, JobsExhausted
from actors.testing.clock import run_virtual
from actors.testing.contract import ContractBroken, require
from actors.testing.stuck import StuckJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.jobs import JobExecutor

__all__ = ["check_executor"]

LIMIT_S: Final = 10.0
STEP_S: Final = 0.01  # of virtual time, between two looks at the threads
BUDGET_MAX: Final = 1000


class _Bench:
    """One executor after the other, a job that holds its thread, and waits for both kinds of time."""

    def __init__(self, make: Callable[[int], JobExecutor], limit_s: float) -> None:
        self._make = make
        self._made: list[JobExecutor] = []
        self.limit_s = limit_s
        self._home = threading.current_thread()
        self._stuck = StuckJob()  # so that the virtual clock does not stand still for it

    def make(self, workers: int) -> JobExecutor:
        self._made.append(self._make(workers))
        return self._made[-1]

    def gate(self, result: str = "through") -> str:
        """A job that stays in its thread until `open`. One that has no thread of its own goes through."""
        return result if threading.current_thread() is self._home else self._stuck(None, result)

    def open(self) -> None:
        self._stuck.release()

    def close(self) -> None:
        self.open()
        for executor in self._made:
            executor.shutdown(wait=False, cancel_futures=True)

    async def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Wait for threads in real time, and for simulated jobs in virtual time, which passes meanwhile."""
        until_s = time.monotonic() + self.limit_s
        while not condition():
            require(time.monotonic() < until_s, otherwise)
            await asyncio.sleep(STEP_S)

    async def result(self, job: Future[Any], what: str) -> Any:
        await self.until(job.done, f"{what}: the job did not end")
        return job.result()

    async def running(self, executor: JobExecutor, count: int) -> None:
        shown = executor.statistics
        await self.until(lambda: shown()["running"] == count, f"statistics never showed {count} running jobs")

    async def all_back(self, executor: JobExecutor) -> None:
        shown = executor.statistics
        await self.until(lambda: not shown()["abandoned"], "abandoned jobs that ended are still counted")


def check_executor(make: Callable[[int], JobExecutor], *, limit_s: float = LIMIT_S) -> None:
    """Hold any job executor, of threads or of a simulation, to the contract of `actors.jobs.JobExecutor`.

    To be called outside any event loop: it runs virtual ones of its own, and waits for real threads within
    them. Takes some real milliseconds for each rule; one that is broken may take `limit_s`.

    Args:
        make: builds an executor that runs so many jobs at a time, in a running event loop.
        limit_s: how long a thread may take for what it is about to do, in seconds of real time.

    Raises:
        ContractBroken: with the rule, and what was found instead.
    """
    for check in _CHECKS:
        run_virtual(functools.partial(_hold, check, _Bench(make, limit_s)))


async def _hold(check: Callable[[_Bench], Any], bench: _Bench) -> None:
    try:
        await check(bench)
    finally:
        bench.close()


async def _runs_jobs(bench: _Bench) -> None:
    executor = bench.make(2)
    found = await bench.result(executor.submit(int, "12", base=3), "a call with arguments")
    require(found == 5, f"int('12', base=3) gave {found!r}")  # noqa: PLR2004 - what it is
    for error in (ValueError, SystemExit, KeyboardInterrupt):
        job = executor.submit(_fail, error)
        await bench.until(job.done, f"a job that raises {error.__name__} never ended")
        raised = type(job.exception()).__name__
        require(raised == error.__name__, f"a job raised {error.__name__}, its future says {raised}")
    require(
        await bench.result(executor.submit(len, "on"), "after errors") == len("on"), "jobs after errors run"
    )


def _fail(error: type[BaseException]) -> None:
    raise error("in the job")


async def _keeps_order_and_bound(bench: _Bench) -> None:
    executor, order = bench.make(1), list[int]()
    executor.submit(bench.gate)
    await bench.running(executor, 1)
    jobs = [executor.submit(order.append, number) for number in range(5)]
    counts = executor.statistics()
    require(counts["running"] <= 1, f"one worker runs {counts['running']} jobs at a time")
    require(counts["queued"] == len(jobs), f"{len(jobs)} jobs wait, statistics say {counts['queued']}")
    require(len(executor.stacks()) == 1, "stacks names each job at work")
    bench.open()
    for job in jobs:
        await bench.result(job, "a queued job")
    require(order == sorted(order), f"jobs run in the order they came, not {order}")


async def _drops_what_is_queued(bench: _Bench) -> None:
    executor, ran = bench.make(1), list[str]()
    executor.submit(bench.gate)
    await bench.running(executor, 1)
    queued = executor.submit(ran.append, "queued")
    require(not executor.abandon(queued), "abandoning a queued job leaves nothing behind: False")
    require(queued.cancelled(), "an abandoned job that was queued is cancelled")
    bench.open()
    await bench.result(executor.submit(len, "after"), "a job after one that was dropped")
    require(not ran, "a job that was dropped from the queue was run")


async def _leaves_behind(bench: _Bench) -> None:
    executor = bench.make(1)
    stuck = executor.submit(bench.gate)
    await bench.running(executor, 1)
    require(executor.abandon(stuck), "abandoning a job at work leaves it behind: True")
    require(not executor.abandon(stuck), "a job is left behind once: the second time is False")
    counts = executor.statistics()
    found = (counts["abandoned"], counts["running"])
    require(found == (1, 0), f"(abandoned, running) is {found} after one was left behind")
    await bench.result(executor.submit(len, "next"), "the place of a job that was left behind")
    bench.open()
    require(
        await bench.result(stuck, "left behind") == "through", "what was left behind keeps its own result"
    )
    await bench.all_back(executor)
    done = executor.submit(len, "done")
    await bench.result(done, "a job")
    await bench.running(executor, 0)
    require(not executor.abandon(done), "abandoning what is done does nothing: False")
    foreign: Future[None] = Future()
    foreign.set_running_or_notify_cancel()
    require(not executor.abandon(foreign), "abandoning another executor's job does nothing: False")


async def _has_a_budget(bench: _Bench) -> None:
    executor = bench.make(1)
    for left_behind in range(BUDGET_MAX):
        try:
            job = executor.submit(bench.gate)
        except JobsExhausted:
            require(left_behind, "JobsExhausted although nothing was left behind")
            break
        await bench.running(executor, 1)
        executor.abandon(job)
    else:
        raise ContractBroken(f"{BUDGET_MAX} jobs were left behind, and none refused with JobsExhausted")
    bench.open()
    await bench.all_back(executor)
    await bench.result(executor.submit(len, "again"), "a job after the budget was free again")


async def _gives_tokens(bench: _Bench) -> None:
    token = bench.make(1).token(5.0)
    left_s = token.time_left_s
    require(0.0 < left_s <= 5.0, f"a token for 5 s has {left_s} s left")  # noqa: PLR2004 - as asked for
    token.check()
    token.cancel()
    try:
        token.check()
    except JobAbandoned:
        return
    raise ContractBroken("a cancelled token does not raise JobAbandoned")


async def _closes(bench: _Bench) -> None:
    executor = bench.make(1)
    executor.submit(bench.gate)
    await bench.running(executor, 1)
    queued = executor.submit(len, "queued")
    begun_s = time.monotonic()
    executor.shutdown(wait=False, cancel_futures=True)
    executor.shutdown(wait=False, cancel_futures=True)
    require(time.monotonic() - begun_s < bench.limit_s / 2, "shutdown(wait=False) waits for a job")
    await bench.until(queued.cancelled, "shutdown(cancel_futures=True) cancels what is queued")
    try:
        executor.submit(len, "late")
    except RuntimeError:
        return
    raise ContractBroken("a job was taken after shutdown: that is a RuntimeError")


async def _holds_up_no_exit(bench: _Bench) -> None:
    before = set(threading.enumerate())
    executor = bench.make(1)
    executor.submit(bench.gate)
    await bench.running(executor, 1)
    holding = [thread.name for thread in threading.enumerate() if thread not in before and not thread.daemon]
    require(not holding, f"threads {holding} are no daemons: a stuck job would hold the interpreter's exit")


_CHECKS: Final = (
    _runs_jobs,
    _keeps_order_and_bound,
    _drops_what_is_queued,
    _leaves_behind,
    _has_a_budget,
    _gives_tokens,
    _closes,
    _holds_up_no_exit,
)
