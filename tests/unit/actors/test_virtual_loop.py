"""Virtual time: it moves only when nothing else can."""

from __future__ import annotations

import asyncio

import pytest

from actors import DaemonExecutor
from actors.testing import Deadlock, StuckJob, run_virtual, virtual_time


@virtual_time
async def test_an_hour_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    assert loop.time() == 0
    await asyncio.sleep(3600)
    assert loop.time() == 3600


@virtual_time
async def test_timers_come_in_order() -> None:
    order: list[float] = []

    async def note(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        order.append(delay_s)

    await asyncio.gather(*(note(delay_s) for delay_s in (3, 1, 2)))
    assert order == [1, 2, 3]


def test_nothing_left_to_happen_is_a_deadlock() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match=r"blocked at 0.0 s"):
        run_virtual(wait_for_ever)


def test_going_on_for_ever_is_a_deadlock_too() -> None:
    async def tick_for_ever() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(1000)

    with pytest.raises(Deadlock, match="still not done"):
        run_virtual(tick_for_ever)


@virtual_time
async def test_the_clock_stands_still_while_a_job_is_at_work() -> None:
    executor = DaemonExecutor(1)
    loop = asyncio.get_running_loop()
    timeout = loop.create_task(asyncio.sleep(0.001))
    assert await loop.run_in_executor(executor, sum, range(100_000)) == 4_999_950_000
    assert loop.time() == 0
    await timeout
    executor.shutdown(wait=False)


@virtual_time
async def test_the_clock_passes_a_stuck_job() -> None:
    executor, stuck = DaemonExecutor(1), StuckJob()
    job = asyncio.wrap_future(executor.submit(stuck))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(job), 30)
    stuck.release()
    assert await job == "late"
    assert asyncio.get_running_loop().time() == 30
    executor.shutdown(wait=False)


@virtual_time
async def test_the_clock_stands_still_for_threads_of_the_loop_too() -> None:
    """`asyncio.to_thread` and name lookups use the loop's own executor."""
    loop = asyncio.get_running_loop()
    timeout = loop.create_task(asyncio.sleep(0.001))
    assert await asyncio.to_thread(sum, range(100_000)) == 4_999_950_000
    assert loop.time() == 0
    await timeout


def test_a_result_comes_back_and_an_error_too() -> None:
    async def fail() -> None:
        raise LookupError("as it is")

    async def answer() -> int:
        return 7

    assert run_virtual(answer) == 7
    assert virtual_time(answer)() == 7
    with pytest.raises(LookupError, match="as it is"):
        run_virtual(fail)


def test_a_released_job_is_at_work_again() -> None:
    stuck = StuckJob()
    stuck.release()
    assert stuck(None, "at once") == "at once"
    assert stuck.entered == 1
    assert stuck.left.is_set()
