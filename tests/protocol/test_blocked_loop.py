"""A handler that holds the event loop is reported with its stack, in real time: the loop itself cannot tell.

Nothing here depends on how long anything takes: the handler blocks until it sees the report.
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from actors import Actor, ActorSystem, Context, on
from tests.helpers.cast import Echo, Note, Performer
from tests.helpers.virtual_loop import settle, virtual, wait_for_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCKED_AFTER_S = 0.05


class Records(logging.Handler):
    """Takes what the runtime logs, from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.WARNING
        self.lines.append(record.getMessage())
        self.came.set()

    def block(self) -> None:
        """Hold the thread until there is a report."""
        self.came.clear()
        assert self.came.wait(30)


@pytest.fixture
def records() -> Iterator[Records]:
    handler, logger = Records(), logging.getLogger("actors")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Blocker(Actor):
    """Holds the loop until that was noticed."""

    def __init__(self, records: Records) -> None:
        self.records = records

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        if msg.text == "in a task":
            await asyncio.create_task(self.hold(), name="helper")
        else:
            self.records.block()
        return Note()

    async def hold(self) -> None:
        self.records.block()


async def test_a_handler_that_blocks_the_loop_is_reported_once_with_its_stack(records: Records) -> None:
    async with ActorSystem(trace=True, blocked_after_s=BLOCKED_AFTER_S) as system:
        ref = await system.spawn(Blocker, records, name="blocker")
        await system.ask(ref, Echo(), timeout_s=60)
        await settle()
        assert system.tracer is not None
        events = [event for event in system.tracer.events() if event.kind == "blocked"]
        report = await system.shutdown()
    first, second = records.lines
    assert first.startswith("/blocker blocks the event loop: no answer for 0.05 s\n")
    assert "in echo" in first
    assert "assert self.came.wait(30)" in first
    assert second.startswith("the event loop answers again: /blocker had blocked it for ")
    assert [(event.actor, event.incarnation) for event in events] == [("/blocker", 0)]
    assert events[0].detail.startswith("no answer for ")
    (blockage,) = report.blockages
    assert blockage.actor == "/blocker"
    assert blockage.duration_s >= BLOCKED_AFTER_S
    assert blockage.stack.rstrip() in first


async def test_each_blockage_is_reported(records: Records) -> None:
    async with ActorSystem(blocked_after_s=BLOCKED_AFTER_S) as system:
        ref = await system.spawn(Blocker, records, name="blocker")
        for number in range(1, 21):
            await system.ask(ref, Echo(), timeout_s=60)
            await settle()
            assert system.statistics()["blockages"] == number
        report = await system.shutdown()
    assert system.statistics()["blockages"] == 20
    assert len(report.blockages) == 16, "the latest"
    assert len(records.lines) == 40


async def test_what_is_no_handler_is_named_too(records: Records) -> None:
    async with ActorSystem(blocked_after_s=BLOCKED_AFTER_S) as system:
        ref = await system.spawn(Blocker, records)
        asyncio.get_running_loop().call_soon(records.block)
        await settle()
        await system.ask(ref, Echo("in a task"), timeout_s=60)
        await settle()
        report = await system.shutdown()
    assert [blockage.actor for blockage in report.blockages] == ["a callback", "task helper"]


def test_a_loop_that_rests_between_two_runs_is_not_blocked(records: Records) -> None:
    with asyncio.Runner() as runner:
        system = ActorSystem(blocked_after_s=BLOCKED_AFTER_S)
        runner.run(system.__aenter__())
        looks = _count_looks(system)
        wait_for_threads(lambda: len(looks) > 5)
        runner.run(system.shutdown())
    assert records.lines == []


def _count_looks(system: ActorSystem) -> list[None]:
    watchdog = system._watchdog
    assert watchdog is not None
    looks: list[None] = []
    look = watchdog._look

    def counted() -> None:
        look()
        looks.append(None)

    watchdog._look = counted  # type: ignore[method-assign] # seen from outside the thread does nothing
    return looks


async def test_the_thread_ends_with_the_system() -> None:
    async with ActorSystem("brief", blocked_after_s=1000) as system:
        (thread,) = _watchdogs("brief")
        assert thread.daemon
        await system.shutdown()
        thread.join(30)
        assert not thread.is_alive()


def test_the_thread_ends_when_its_loop_was_closed_without_a_shutdown(records: Records) -> None:
    loop = asyncio.new_event_loop()
    system = ActorSystem("forgotten", blocked_after_s=BLOCKED_AFTER_S)
    loop.run_until_complete(system.__aenter__())
    (thread,) = _watchdogs("forgotten")
    loop.close()
    thread.join(30)
    assert not thread.is_alive()
    assert records.lines == []


def _watchdogs(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"{name}-watchdog"]


async def test_it_can_be_switched_off() -> None:
    async with ActorSystem("unwatched", blocked_after_s=None) as system:
        assert _watchdogs("unwatched") == []
        assert system.statistics()["blockages"] == 0


@virtual
async def test_in_virtual_time_there_is_nothing_to_watch() -> None:
    async with ActorSystem("virtual") as system:
        assert _watchdogs("virtual") == []
        await system.spawn(Performer)


async def test_an_impossible_time_is_refused() -> None:
    with pytest.raises(ValueError, match="blocked_after_s must be a finite time above 0"):
        await ActorSystem(blocked_after_s=0).__aenter__()


async def test_without_a_thread_to_be_had_actors_work_unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        async with ActorSystem() as system:
            ref = await system.spawn(Performer)
            assert await system.ask(ref, Echo("well"), timeout_s=5) == Note("well")
