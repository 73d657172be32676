"""The executor: the standard library's interface, with threads that may be left behind."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Executor, Future, wait
from typing import TYPE_CHECKING

import pytest

from actors import DaemonExecutor, JobAbandoned, JobsExhausted, JobToken
from actors.jobs import place_of
from tests.helpers.virtual_loop import wait_for_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 10  # of every wait here: far more than needed


@pytest.fixture(name="gate")
def _gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


class Gate:
    """A job that stays until the gate is opened."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, result: str = "through") -> str:
        """Stay."""
        self.entered.release()
        self.open.wait(LIMIT_S)
        return result

    def wait_entered(self) -> None:
        """Return when a thread has come in."""
        assert self.entered.acquire(timeout=LIMIT_S)


@pytest.fixture(name="make")
def _make() -> Iterator[Callable[..., DaemonExecutor]]:
    made: list[DaemonExecutor] = []

    def make(workers: int = 1, abandoned_max: int = 2) -> DaemonExecutor:
        made.append(DaemonExecutor(workers, abandoned_max=abandoned_max, name="test"))
        return made[-1]

    yield make
    for executor in made:
        executor.shutdown(wait=False, cancel_futures=True)


def test_it_is_an_executor(make: Callable[..., DaemonExecutor]) -> None:
    executor = make(2)
    assert isinstance(executor, Executor)
    assert executor.submit(pow, 2, 5).result(LIMIT_S) == 32
    assert executor.submit(int, "12", base=3).result(LIMIT_S) == 5
    assert list(executor.map(len, ["a", "bb", "ccc"], timeout=LIMIT_S)) == [1, 2, 3]
    with executor as same:
        assert same is executor
    with pytest.raises(RuntimeError, match="was shut down"):
        executor.submit(len, "late")


@pytest.mark.parametrize(("workers", "abandoned_max"), [(0, 1), (-1, 1), (1, -1)])
def test_impossible_sizes_are_refused(workers: int, abandoned_max: int) -> None:
    with pytest.raises(ValueError, match="impossible executor"):
        DaemonExecutor(workers, abandoned_max=abandoned_max)


def test_jobs_run_in_order_and_no_more_at_a_time_than_there_are_workers(
    make: Callable[..., DaemonExecutor], gate: Gate
) -> None:
    executor, order = make(1), list[int]()
    executor.submit(gate)
    gate.wait_entered()
    jobs = [executor.submit(order.append, number) for number in range(5)]
    assert executor.statistics() == {"queued": 5, "running": 1, "abandoned": 0, "threads": 1}
    gate.open.set()
    wait(jobs, LIMIT_S)
    assert order == [0, 1, 2, 3, 4]


def test_threads_are_daemons_and_are_made_when_they_are_needed(
    make: Callable[..., DaemonExecutor], gate: Gate
) -> None:
    executor = make(3)
    assert executor.statistics()["threads"] == 0
    for threads in (1, 2, 3, 3):
        executor.submit(gate)
        assert executor.statistics()["threads"] == threads
    for _ in range(3):
        gate.wait_entered()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("test-"))


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_a_job_raises_is_its_own_failure(
    make: Callable[..., DaemonExecutor], error: type[BaseException]
) -> None:
    def fail() -> None:
        raise error("in the job")

    executor = make(1)
    job = executor.submit(fail)
    wait([job], LIMIT_S)
    assert type(job.exception()) is error
    assert executor.submit(len, "the thread lives on").result(LIMIT_S) == 19
    assert executor.statistics()["threads"] == 1


def test_an_abandoned_job_is_replaced_and_its_thread_leaves_when_it_is_done(
    make: Callable[..., DaemonExecutor], gate: Gate
) -> None:
    executor = make(1)
    stuck = executor.submit(gate)
    gate.wait_entered()
    queued = executor.submit(len, "next")
    assert executor.abandon(stuck)
    assert queued.result(LIMIT_S) == 4
    assert not executor.abandon(stuck), "it is left behind once"
    assert executor.statistics()["abandoned"] == 1
    gate.open.set()
    assert stuck.result(LIMIT_S) == "through", "what it returns is there for whoever holds the future"
    wait_for_threads(lambda: executor.statistics()["abandoned"] == 0)
    wait_for_threads(lambda: executor.statistics()["threads"] == 1)


def test_a_queued_job_is_dropped_when_it_is_abandoned(
    make: Callable[..., DaemonExecutor], gate: Gate
) -> None:
    executor, ran = make(1), list[str]()
    executor.submit(gate)
    gate.wait_entered()
    queued = executor.submit(ran.append, "queued")
    assert not executor.abandon(queued), "no thread was left behind for it"
    assert queued.cancelled()
    gate.open.set()
    executor.submit(len, "after").result(LIMIT_S)
    assert ran == []


def test_abandoning_what_is_done_or_foreign_does_nothing(make: Callable[..., DaemonExecutor]) -> None:
    executor = make(1)
    done = executor.submit(len, "done")
    done.result(LIMIT_S)
    foreign: Future[None] = Future()
    foreign.set_running_or_notify_cancel()
    assert not executor.abandon(foreign)
    wait_for_threads(lambda: executor.statistics()["running"] == 0)
    assert not executor.abandon(done)


def test_beyond_the_budget_jobs_are_refused_until_a_thread_comes_back(
    make: Callable[..., DaemonExecutor], gate: Gate
) -> None:
    executor = make(1, abandoned_max=1)
    for _ in range(2):
        job = executor.submit(gate)
        gate.wait_entered()
        assert executor.abandon(job)
    with pytest.raises(JobsExhausted, match="2 abandoned jobs still hold their threads"):
        executor.submit(len, "refused")
    gate.open.set()
    wait_for_threads(lambda: executor.statistics()["abandoned"] == 0)
    assert executor.submit(len, "open again").result(LIMIT_S) == 10


def test_a_thread_that_cannot_be_started_refuses_the_job_and_leaves_nothing(
    make: Callable[..., DaemonExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    executor, ran = make(1), list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(ran.append, "never")
        assert executor.statistics() == {"queued": 0, "running": 0, "abandoned": 0, "threads": 0}
    assert executor.submit(len, "later").result(LIMIT_S) == 5
    assert ran == []


def test_a_thread_that_cannot_be_replaced_is_left_behind_all_the_same(
    make: Callable[..., DaemonExecutor], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    executor = make(1)
    stuck = executor.submit(gate)
    gate.wait_entered()
    queued = executor.submit(len, "waits")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert executor.abandon(stuck)
    assert executor.submit(len, "hires").result(LIMIT_S) == 5
    assert queued.result(LIMIT_S) == 5


def test_shutdown_cancels_what_is_queued_if_asked_to(make: Callable[..., DaemonExecutor], gate: Gate) -> None:
    executor = make(1)
    running = executor.submit(gate)
    gate.wait_entered()
    queued = executor.submit(len, "queued")
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        queued.result(LIMIT_S)
    gate.open.set()
    assert running.result(LIMIT_S) == "through"
    executor.shutdown(wait=True)
    assert executor.statistics()["threads"] == 0


def test_shutdown_with_wait_finishes_what_is_queued(make: Callable[..., DaemonExecutor], gate: Gate) -> None:
    executor = make(1)
    jobs = [executor.submit(gate, str(number)) for number in range(3)]
    gate.open.set()
    executor.shutdown(wait=True)
    assert [job.result(0) for job in jobs] == ["0", "1", "2"]


def test_stacks_show_what_a_thread_is_at(make: Callable[..., DaemonExecutor], gate: Gate) -> None:
    executor = make(1)
    assert executor.stacks() == {}
    executor.submit(gate)
    gate.wait_entered()
    assert list(executor.stacks()) == ["test-1"]
    assert "self.open.wait(LIMIT_S)" in executor.stacks()["test-1"]


def test_a_result_does_not_live_on_in_an_idle_thread(make: Callable[..., DaemonExecutor]) -> None:
    executor = make(1)
    executor.submit(bytes, 10).result(LIMIT_S)
    wait_for_threads(lambda: executor._items == {})
    wait_for_threads(lambda: executor._idle == 1)


def test_a_token_tells_a_job_whether_somebody_waits() -> None:
    token = JobToken(100.0)
    token.check()
    assert 99 < token.time_left_s <= 100
    token.cancel()
    assert token.cancelled
    with pytest.raises(JobAbandoned):
        token.check()
    assert JobToken(-1.0).time_left_s == 0


STUCK_AT_EXIT = """
import asyncio, threading
from actors import Actor, ActorSystem, Context, Expired, message, on

@message("exit.block")
class Block:
    pass

class Blocker(Actor):
    @on(Block)
    async def block(self, msg: Block, ctx: Context) -> None:
        await ctx.offload(lambda token: threading.Event().wait(3600))

async def main() -> None:
    async with ActorSystem(shutdown_s=0.5) as system:
        ref = await system.spawn(Blocker)
        try:
            await system.ask(ref, Block(), timeout_s=0.1)
        except Expired:
            print("expired")
        print(len((await system.shutdown(0.5)).survivors))

asyncio.run(main())
print("main is done")
"""


def test_never_again_threads_that_never_joined_hold_up_the_exit() -> None:
    """A job that is stuck for an hour does not keep the interpreter from ending."""
    ended = subprocess.run(
        [sys.executable, "-c", STUCK_AT_EXIT], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split("\n") == ["expired", "1", "main is done", ""]


def test_the_place_of_a_thread_is_the_program_s_and_not_the_standard_library_s() -> None:
    entered, gate = threading.Event(), threading.Event()

    def waits_in_a_library() -> None:
        entered.set()
        gate.wait(LIMIT_S)

    thread = threading.Thread(target=waits_in_a_library)
    thread.start()
    try:
        assert entered.wait(LIMIT_S)
        frame = sys._current_frames()[thread.ident or 0]
        place = place_of(frame)
    finally:
        gate.set()
        thread.join(LIMIT_S)
    assert place.startswith("at test_jobs.py:")
    assert place.endswith(".waits_in_a_library")
