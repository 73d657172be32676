"""Law 7: jobs may be abandoned; what a job does late touches nothing."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors import (
    Actor,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    JobAbandoned,
    JobsExhausted,
    JobToken,
    message,
    on,
)
from actors.jobs import ABANDONED_MAX
from tests.helpers.cast import Echo, Note, supervised
from tests.helpers.virtual_loop import Stuck, settle, virtual, wait_for_threads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@message("jobs.work")
class Work:
    """Asked: run the actor's script."""


class Worker(Actor):
    """Runs a script that offloads something."""

    def __init__(self, script: Callable[[Context], Awaitable[Any]], log: list[str] | None = None) -> None:
        self.script = script
        self.log = [] if log is None else log

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        result = await self.script(ctx)
        self.log.append(f"result {result}")
        return Note(str(result))

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        return Note(msg.text)


def _jobs(system: ActorSystem) -> dict[str, int]:
    jobs: dict[str, int] = system.statistics()["jobs"]
    return jobs


@virtual
async def test_a_job_runs_in_a_daemon_thread_and_its_result_comes_back() -> None:
    threads: list[threading.Thread] = []

    def add(token: JobToken, left: int, *, right: int) -> int:
        assert not token.cancelled
        threads.append(threading.current_thread())
        return left + right

    async with ActorSystem("calc") as system:
        ref = await system.spawn(Worker, lambda ctx: ctx.offload(add, 40, right=2))
        assert await system.ask(ref, Work(), timeout_s=5) == Note("42")
        assert threads[0] is not threading.main_thread()
        assert threads[0].daemon
        assert threads[0].name.startswith("calc-job-")


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, StopIteration])
def test_what_a_job_raises_is_its_failure(error: type[BaseException]) -> None:
    @virtual
    async def scenario() -> None:
        def work(_token: JobToken) -> None:
            raise error("in the thread")

        async with ActorSystem(job_threads=1) as system:
            ref = await system.spawn(Worker, lambda ctx: ctx.offload(work), supervision=supervised())
            with pytest.raises(AskFailed) as caught:
                await system.ask(ref, Work(), timeout_s=5)
            expected = "RuntimeError" if error is StopIteration else error.__name__
            assert caught.value.error_type == expected
            assert _jobs(system)["threads"] == 1, "the thread lives on"
            assert asyncio.get_running_loop().time() < 1

    scenario()


@virtual
async def test_past_its_deadline_the_wait_ends_and_the_thread_is_left_behind_and_replaced() -> None:
    stuck = Stuck()
    tokens: list[JobToken] = []

    def block(token: JobToken) -> str:
        tokens.append(token)
        return stuck(token)

    async def offload(ctx: Context) -> str:
        with pytest.raises(Expired, match=r"waited for job .*block \(its result\)"):
            await ctx.offload_within(2, block)
        assert ctx.remaining_s == pytest.approx(8)
        return await ctx.offload(lambda _token: "the next job found a thread")

    async with ActorSystem(job_threads=1) as system:
        ref = await system.spawn(Worker, offload)
        answer = await system.ask(ref, Work(), timeout_s=10)
        assert answer.text == "the next job found a thread"
        assert tokens[0].cancelled
        with pytest.raises(JobAbandoned):
            tokens[0].check()
        assert _jobs(system)["abandoned"] == 1
        assert _jobs(system)["threads"] == 2
        stuck.release()
        assert stuck.left.wait(5)


@virtual
async def test_the_handlers_deadline_bounds_its_jobs() -> None:
    stuck = Stuck()
    async with ActorSystem() as system:
        ref = await system.spawn(Worker, lambda ctx: ctx.offload(stuck))
        with pytest.raises(Expired):
            await system.ask(ref, Work(), timeout_s=3)
        await settle()
        assert await system.ask(ref, Echo("at once"), timeout_s=1) == Note("at once")
        assert _jobs(system)["abandoned"] == 1
        stuck.release()


@virtual
async def test_a_late_result_touches_nothing() -> None:
    """ "The optimizer raced the last batch": a result counts only for the wait that asked for it."""
    stuck = Stuck()
    log: list[str] = []
    calls = iter([stuck, lambda _token, result: result])

    async with ActorSystem() as system:
        ref = await system.spawn(Worker, lambda ctx: ctx.offload(next(calls), "answer"), log)
        with pytest.raises(Expired):
            await system.ask(ref, Work(), timeout_s=3)
        stuck.release()
        assert stuck.left.wait(5)
        assert await system.ask(ref, Work(), timeout_s=3) == Note("answer")
        await settle()
        assert log == ["result answer"]
        assert system.statistics()["open_waits"] == 0


@virtual
async def test_cancelling_the_ask_cancels_the_job() -> None:
    stuck = Stuck()
    async with ActorSystem() as system:
        ref = await system.spawn(Worker, lambda ctx: ctx.offload(stuck))
        asking = asyncio.create_task(system.ask(ref, Work(), timeout_s=100))
        await asyncio.sleep(1)
        assert stuck.entered == 1
        asking.cancel()
        await settle()
        assert asking.cancelled()
        assert _jobs(system)["abandoned"] == 1
        stuck.release()


@virtual
async def test_a_job_that_is_still_queued_never_starts_once_nobody_waits() -> None:
    stuck = Stuck()
    started: list[str] = []

    async def offload_two(ctx: Context) -> str:
        first = asyncio.ensure_future(ctx.offload_within(5, stuck))
        await asyncio.sleep(0)
        with pytest.raises(Expired):
            await ctx.offload_within(1, lambda _token: started.append("second"))
        with pytest.raises(Expired):
            await first
        return "both ended"

    async with ActorSystem(job_threads=1) as system:
        ref = await system.spawn(Worker, offload_two)
        answer = await system.ask(ref, Work(), timeout_s=20)
        assert answer.text == "both ended"
        stuck.release()
        assert stuck.left.wait(5)
        await settle()
        assert started == []


@virtual
async def test_beyond_the_budget_of_abandoned_threads_jobs_are_refused() -> None:
    stuck = Stuck()

    async def leave_many_behind(ctx: Context) -> str:
        for _ in range(ABANDONED_MAX + 1):
            with pytest.raises(Expired):
                await ctx.offload_within(1, stuck)
        with pytest.raises(JobsExhausted, match=f"{ABANDONED_MAX + 1} abandoned jobs still hold"):
            await ctx.offload(stuck)
        stuck.release()
        return "refused"

    async with ActorSystem(job_threads=1) as system:
        ref = await system.spawn(Worker, leave_many_behind)
        assert await system.ask(ref, Work(), timeout_s=60) == Note("refused")
        wait_for_threads(lambda: not _jobs(system)["abandoned"])
        assert await system.ask(ref, Echo("open again"), timeout_s=1) == Note("open again")


@virtual
async def test_an_executor_that_has_no_thread_to_give_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with ActorSystem() as system:
        ref = await system.spawn(
            Worker, lambda ctx: ctx.offload(lambda _token: "done"), supervision=supervised()
        )
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(AskFailed, match="can't start new thread") as caught:
                await system.ask(ref, Work(), timeout_s=5)
        assert caught.value.error_type == "JobsExhausted"
        await asyncio.sleep(1)
        assert await system.ask(ref, Work(), timeout_s=5) == Note("done")


@virtual
async def test_a_job_of_an_incarnation_that_was_given_up_answers_nobody() -> None:
    stuck = Stuck()
    log: list[str] = []

    async def cling(ctx: Context) -> str:
        while True:
            try:
                return await ctx.offload_within(100, stuck)
            except asyncio.CancelledError:
                await asyncio.sleep(1)  # longer than the runtime gives it

    async with ActorSystem() as system:
        ref = await system.spawn(Worker, cling, log, supervision=supervised())
        with pytest.raises(Expired):
            await system.ask(ref, Work(), timeout_s=3)
        await asyncio.sleep(5)
        assert system.tree()[0].incarnation == 2
        stuck.release()
        assert stuck.left.wait(5)
        await asyncio.sleep(5)
        assert log == []
        assert system.statistics()["stray_tasks"] == 0
