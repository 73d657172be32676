"""Ctrl-C that strikes inside an actor ends the program, after the actor was accounted for; it is no failure.

A KeyboardInterrupt leaves `run_virtual`, as it leaves `asyncio.run`, after what stood open was closed.
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorSystem, Context, Down, ShutdownReport, on
from tests.helpers.cast import Director, Fail, Note, Performer, Sleep, Spawn, supervised
from tests.helpers.virtual_loop import run_virtual, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors import ActorRef


def interrupted(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_virtual(main)


def test_it_ends_the_program_and_the_actor_is_not_started_again() -> None:
    log: list[str] = []
    counts: dict[str, Any] = {}

    async def main() -> None:
        async with ActorSystem() as system:
            ref = await system.spawn(Performer, log, name="p", supervision=supervised())
            try:
                await system.ask(ref, Fail("KeyboardInterrupt"), timeout_s=1)
            finally:
                await settle()  # the loop goes on for whoever has things to end
                counts.update(system.statistics())

    interrupted(main)
    assert log == ["start /p#1"], "no hook runs any more, and no second life begins"
    assert counts["actors"] == counts["tasks"] == counts["open_asks"] == counts["open_waits"] == 0


def test_its_parent_hears_of_it_and_its_children_end_first() -> None:
    log: list[str] = []
    traces: list[tuple[str, str]] = []

    async def main() -> None:
        async with ActorSystem(trace=True) as system:
            top = await system.spawn(Director, log, name="top")
            middle = (await system.ask(top, Spawn("middle", max_restarts=3), timeout_s=1)).ref
            await system.ask(middle, Spawn("leaf", max_restarts=3), timeout_s=1)
            system.tell(middle, Fail("KeyboardInterrupt"))
            try:
                await asyncio.sleep(100)
            finally:
                await settle()
                assert [node.children for node in system.tree()] == [()]
                assert system.tracer is not None
                traces.extend(
                    (event.actor, event.detail) for event in system.tracer.events() if event.kind == "end"
                )

    interrupted(main)
    assert traces == [
        ("/top/middle/leaf", "KeyboardInterrupt: as asked"),
        ("/top/middle", "KeyboardInterrupt: as asked"),
    ]
    assert [line for line in log if line.startswith("down")] == [
        "down /top/middle#1 for good: KeyboardInterrupt: as asked"
    ]


class Struck(Actor):
    """Is interrupted in one of its hooks, or while it is made."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.strike("init")

    def strike(self, here: str) -> None:
        if here == self.where:
            raise KeyboardInterrupt

    async def on_start(self, ctx: Context) -> None:
        self.strike("on_start")

    async def on_stop(self, ctx: Context) -> None:
        self.strike("on_stop")

    async def on_failure(self, error: BaseException, ctx: Context) -> None:
        self.strike("on_failure")

    async def on_down(self, down: Down, ctx: Context) -> None:
        self.strike("on_down")

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        if msg.text == "fail":
            raise ValueError
        child = await ctx.spawn(Performer)
        await ctx.stop(child)


@pytest.mark.parametrize("where", ["init", "on_start", "on_stop", "on_failure", "on_down"])
def test_it_is_passed_on_wherever_it_strikes(where: str) -> None:
    lives: list[int] = []

    async def main() -> None:
        async with ActorSystem() as system:
            try:
                await _provoke(system, where)
                await asyncio.sleep(100)
            finally:
                await settle()
                lives.extend(node.incarnation for node in system.tree())

    interrupted(main)
    assert lives == [], "it is not there any more, and will not come again"


async def _provoke(system: ActorSystem, where: str) -> None:
    ref: ActorRef[Struck] = await system.spawn(Struck, where, name="struck", supervision=supervised())
    if where == "on_stop":
        await system.stop(ref)
    system.tell(ref, Note("fail" if where == "on_failure" else ""))


def test_a_second_cancellation_jumps_to_the_last_phase_and_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As a second Ctrl-C: the task in the block is cancelled while the block is being left."""
    times: list[float] = []

    async def embed() -> None:
        async with ActorSystem("plant", shutdown_s=1000) as system:
            ref = await system.spawn(Performer, name="p")
            system.tell(ref, Sleep(10_000))
            system.tell(await system.spawn(Stubborn, name="s"), Note())
            await asyncio.sleep(10_000)

    async def main() -> None:
        embedding = asyncio.create_task(embed())
        await settle()
        embedding.cancel()
        await settle()
        embedding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await embedding
        times.append(asyncio.get_running_loop().time())
        assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr] # there is one

    run_virtual(main)
    assert times == [0.0]
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("actor system 'plant': shut down after 0.000 s, left behind: 1\ntask of /s:\n")
    assert "in note" in said, "whoever obeys is no survivor"


class Stubborn(Actor):
    """Waits for nothing, and will not be cancelled."""

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


def test_whoever_holds_the_report_needs_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with ActorSystem() as system:
            for _ in range(2):
                system.tell(await system.spawn(Stubborn), Note())
            await settle()
            report = await system.shutdown(1)
            assert len(report.survivors) == 2

    run_virtual(main)
    assert caplog.text == ""


def test_two_lives_of_one_actor_are_two_survivors() -> None:
    async def main() -> None:
        async with ActorSystem() as system:
            ref = await system.spawn(Stubborn, name="s", supervision=supervised(), handler_timeout_s=1)
            for _ in range(2):
                system.tell(ref, Note())
                await asyncio.sleep(10)
            report = await system.shutdown(1)
            assert list(report.survivors) == ["task of /s", "task of /s (2)"]
            assert str(report).count("in note") == 2

    run_virtual(main)


def test_a_deadline_that_was_lost_does_not_cost_the_shutdown_its_end() -> None:
    """Ctrl-C may strike in the middle of the heap of deadlines; then these do not come any more."""

    async def main() -> None:
        async with ActorSystem() as system:
            system.tell(await system.spawn(Stubborn), Note())
            await settle()
            system._known().deadlines.armed_s = 0.0  # as if a timer were set, and it was lost
            report = await system.shutdown(4)
            assert report.duration_s == 4
            assert len(report.survivors) == 1

    run_virtual(main)


def test_a_system_that_was_never_closed_makes_no_noise_but_asyncio_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unraisable: list[object] = []
    said: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", unraisable.append)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _forget_a_system(said)
        gc.collect()
    assert unraisable == []
    assert [str(warning.message) for warning in caught if "never awaited" in str(warning.message)] == []
    assert said == ["Task was destroyed but it is pending!"] * 2


def _forget_a_system(said: list[str]) -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: said.append(context["message"]))

    async def main() -> None:
        system = await ActorSystem(blocked_after_s=None).__aenter__()
        ref = await system.spawn(Performer, name="p")
        await system.spawn(Performer, name="idle")
        system.tell(ref, Sleep(1000))
        await settle()

    loop.run_until_complete(main())
    loop.close()


def test_a_report_shows_no_more_survivors_than_can_be_read() -> None:
    report = ShutdownReport(1.5, {f"task {number}": f"  stack {number}\n" for number in range(25)}, {})
    lines = str(report).splitlines()
    assert lines[0] == "shut down after 1.500 s, left behind: 25"
    assert lines[1:3] == ["task 0:", "  stack 0"]
    assert lines[-3:] == ["task 19:", "  stack 19", "and 5 more"]
    assert str(ShutdownReport(0, {}, {})) == "shut down after 0.000 s, left behind: 0"
