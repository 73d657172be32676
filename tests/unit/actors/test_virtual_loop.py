"""The tests' own loop: time moves only when nothing else can."""

from __future__ import annotations

import asyncio

import pytest

from actors import DaemonExecutor
from tests.helpers.virtual_loop import Deadlock, Stuck, run_virtual, virtual


@virtual
async def test_an_hour_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    assert loop.time() == 0
    await asyncio.sleep(3600)
    assert loop.time() == 3600


@virtual
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


@virtual
async def test_the_clock_stands_still_while_a_job_is_at_work() -> None:
    executor = DaemonExecutor(1)
    loop = asyncio.get_running_loop()
    timeout = loop.create_task(asyncio.sleep(0.001))
    assert await loop.run_in_executor(executor, sum, range(100_000)) == 4_999_950_000
    assert loop.time() == 0
    await timeout
    executor.shutdown(wait=False)


@virtual
async def test_the_clock_passes_a_stuck_job() -> None:
    executor, stuck = DaemonExecutor(1), Stuck()
    job = asyncio.wrap_future(executor.submit(stuck))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(job), 30)
    stuck.release()
    assert await job == "late"
    assert asyncio.get_running_loop().time() == 30
    executor.shutdown(wait=False)
