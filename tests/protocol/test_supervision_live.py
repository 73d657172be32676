"""Supervision at work: restarts keep the address, have an end, and wait longer each time."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio

import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Down,
    Expired,
    Supervision,
    on,
)
from tests.helpers.cast import Cling, Director, Echo, Fail, Note, Performer, Sleep, Spawn, supervised
from tests.helpers.virtual_loop import settle, virtual


class Counter(Actor):
    """Counts in memory, which is lost with the incarnation; its argument is handed over again."""

    def __init__(self, start: int) -> None:
        self.count = start

    @on(Note)
    async def note(self, msg: Note, ctx: Context) -> Note:
        self.count += 1
        return Note(f"{self.count} in life {ctx.incarnation}")

    @on(Fail)
    async def fail(self, msg: Fail, ctx: Context) -> Note:
        raise ValueError("as asked")


@virtual
async def test_a_restart_keeps_the_ref_and_begins_a_new_life() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Counter, 10, supervision=supervised())
        assert await system.ask(ref, Note(), timeout_s=1) == Note("11 in life 1")
        with pytest.raises(AskFailed):
            await system.ask(ref, Fail(), timeout_s=1)
        assert await system.ask(ref, Note(), timeout_s=1) == Note("11 in life 2")


@virtual
async def test_without_supervision_an_actor_stays_down() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Counter, 0, name="c")
        with pytest.raises(AskFailed):
            await system.ask(ref, Fail(), timeout_s=1)
        with pytest.raises(ActorDown, match=r"/c is down \(for good\)"):
            await system.ask(ref, Note(), timeout_s=1)


@virtual
async def test_asks_in_flight_end_in_down_restarting() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        system.tell(ref, Sleep(1))
        system.tell(ref, Fail())
        asking = asyncio.create_task(system.ask(ref, Echo(), timeout_s=50))
        with pytest.raises(ActorDown, match=r"/p is down \(restarting\): ValueError: as asked") as caught:
            await asking
        assert caught.value.restarting


@virtual
async def test_the_intensity_has_an_end() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log, name="p", supervision=supervised(2))
        for _ in range(2):
            system.tell(ref, Fail())
            await asyncio.sleep(1)
        with pytest.raises(AskFailed):
            await system.ask(ref, Fail(), timeout_s=1)
        with pytest.raises(ActorDown) as caught:
            await system.ask(ref, Echo(), timeout_s=1)
        assert not caught.value.restarting
        assert [line for line in log if line.startswith("start")] == [
            "start /p#1",
            "start /p#2",
            "start /p#3",
        ]
        assert system.tree() == ()


@virtual
async def test_the_parent_hears_that_the_restarts_are_used_up() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        top = await system.spawn(Director, log, "top", name="top")
        child = (await system.ask(top, Spawn("child", max_restarts=1), timeout_s=1)).ref
        for _ in range(2):
            system.tell(child, Fail())
            await asyncio.sleep(1)
        assert log[-1].startswith(
            "down /top/child#2 for good: ValueError: as asked (restarts exhausted: failed 2"
        )


@virtual
async def test_outside_the_window_failures_are_forgotten() -> None:
    async with ActorSystem() as system:
        rule = Supervision(max_restarts=1, window_s=10, backoff_s=0)
        ref = await system.spawn(Counter, 0, supervision=rule)
        for life in range(2, 6):
            system.tell(ref, Fail())
            await asyncio.sleep(11)
            assert await system.ask(ref, Note(), timeout_s=1) == Note(f"1 in life {life}")


@virtual
async def test_the_pause_doubles_up_to_its_limit() -> None:
    async with ActorSystem(trace=True) as system:
        rule = Supervision(max_restarts=5, window_s=1000, backoff_s=1, backoff_max_s=5)
        ref = await system.spawn(Performer, supervision=rule)
        for _ in range(5):
            system.tell(ref, Fail())
            await asyncio.sleep(10)
        assert system.tracer is not None
        starts = [event.time_s for event in system.tracer.events() if event.kind == "start"]
        assert [at - 10 * number for number, at in enumerate(starts[1:])] == [1, 2, 4, 5, 5]


@virtual
async def test_messages_that_come_during_the_pause_wait_for_the_next_life() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log, supervision=supervised(backoff_s=3))
        system.tell(ref, Fail())
        await settle()
        system.tell(ref, Note("kept"))
        assert await system.ask(ref, Echo("answered"), timeout_s=10) == Note("answered")
        assert asyncio.get_running_loop().time() == 3.0
        assert log[-2:] == ["note kept", "echo answered"]


class Escalating(Performer):
    """Has a child that may fail only once, and fails with it."""

    async def on_start(self, ctx: Context) -> None:
        await super().on_start(ctx)
        await ctx.spawn(Performer, self.log, name="child", supervision=supervised(0, escalate=True))


@pytest.mark.parametrize("busy", [False, True])
def test_escalation_fails_the_parent(busy: bool) -> None:  # noqa: FBT001 - a case of the test
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            parent = await system.spawn(Escalating, log, name="p", supervision=supervised())
            child: ActorRef[Performer] = ActorRef("/p/child", system._known().cells["/p/child"].ref.uid)
            asking = asyncio.create_task(system.ask(parent, Sleep(50 if busy else 0), timeout_s=60))
            await asyncio.sleep(1)
            system.tell(child, Fail())
            outcome = (await asyncio.gather(asking, return_exceptions=True))[0]
            assert isinstance(outcome, ActorDown if busy else Note)
            await asyncio.sleep(1)
            assert "failure /p: ActorError" in log
            assert system.tree()[0].incarnation == 2
            assert [node.path for node in system.tree()[0].children] == ["/p/child"]
            assert system.statistics()["actors"] == 2

    scenario()


@virtual
async def test_children_that_are_lost_together_fail_their_parent_once_and_for_the_first() -> None:
    class Twice(Performer):
        async def on_start(self, ctx: Context) -> None:
            await super().on_start(ctx)
            for name in ("first", "second"):
                child = await ctx.spawn(Performer, name=name, supervision=supervised(0, escalate=True))
                ctx.tell_later(1.0, child, Fail())

    log: list[str] = []
    async with ActorSystem() as system:
        parent = await system.spawn(Twice, log, name="p", supervision=supervised())
        with pytest.raises(ActorDown, match="/p/first is lost"):
            await system.ask(parent, Sleep(50), timeout_s=60)
        await asyncio.sleep(1)
        assert [line for line in log if line.startswith("failure /p")] == ["failure /p: ActorError"]
        assert system.tree()[0].incarnation == 2


@virtual
async def test_a_snapshot_that_raises_in_an_actor_that_fails_already_fails_it_once() -> None:
    log: list[str] = []

    class Keeping(Escalating):
        async def snapshot(self, ctx: Context) -> None:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                raise LookupError("no state") from None

        async def restore(self, state: None, ctx: Context) -> None:
            """Nothing was kept."""

        @on(Echo)
        async def echo(self, msg: Echo, ctx: Context) -> Note:
            async with ctx.epoch(1, timeout_s=50):
                pass
            return Note(msg.text)

    async with ActorSystem() as system:
        parent = await system.spawn(Keeping, log, name="p")
        child: ActorRef[Performer] = ActorRef("/p/child", system._known().cells["/p/child"].ref.uid)
        asking = asyncio.create_task(system.ask(parent, Echo(), timeout_s=60))
        await asyncio.sleep(1)
        system.tell(child, Fail())
        with pytest.raises(AskFailed, match="LookupError: no state"):
            await asking
        await settle()
    assert len([line for line in log if line.startswith("failure /p:")]) == 1


@virtual
async def test_a_handler_that_swallows_its_cancellation_is_given_up_and_the_actor_restarted() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        top = await system.spawn(Director, log, "top", name="top")
        child = (await system.ask(top, Spawn("child", max_restarts=3), timeout_s=1)).ref
        with pytest.raises(Expired):
            await system.ask(child, Cling(), timeout_s=1)
        await asyncio.sleep(1)
        assert system.statistics()["stray_tasks"] == 1
        assert set(log[-2:]) == {
            "start child#2",
            "down /top/child#1 restarting: a handler did not end within 0.5 s of being cancelled",
        }
        assert await system.ask(child, Echo("second life"), timeout_s=1) == Note("second life")


@virtual
async def test_a_task_that_was_left_behind_serves_nobody() -> None:
    """It must not take messages from the mailbox of the next incarnation once it lets go."""

    class Holder(Actor):
        @on(Cling)
        async def cling(self, msg: Cling, ctx: Context) -> Note:
            until_s = asyncio.get_running_loop().time() + 20
            while (left_s := until_s - asyncio.get_running_loop().time()) > 0:
                try:
                    await asyncio.sleep(left_s)
                except asyncio.CancelledError:
                    continue
            log.append(f"let go in life {ctx.incarnation}")
            return Note("late")

        @on(Echo)
        async def echo(self, msg: Echo, ctx: Context) -> Note:
            log.append(f"life {ctx.incarnation} serves {msg.text}")
            return Note(msg.text)

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Holder, supervision=supervised())
        with pytest.raises(Expired):
            await system.ask(ref, Cling(), timeout_s=1)
        for number in range(30):
            await asyncio.sleep(1)
            await system.ask(ref, Echo(str(number)), timeout_s=1)
        assert "let go in life 1" in log
        assert {line.partition(" serves")[0] for line in log if "serves" in line} == {"life 2"}
        assert system.statistics()["stray_tasks"] == 0


@virtual
async def test_on_failure_hears_the_error_and_its_own_errors_do_not_hide_it() -> None:
    class Clumsy(Performer):
        async def on_failure(self, error: BaseException, ctx: Context) -> None:
            raise LookupError("while cleaning up")

    class Parent(Actor):
        async def on_start(self, ctx: Context) -> None:
            self.child = await ctx.spawn(Clumsy)

        async def on_down(self, down: Down, ctx: Context) -> None:
            reasons.append(down.reason)

        @on(Note)
        async def note(self, msg: Note, ctx: Context) -> None:
            ctx.tell(self.child, Fail())

    async with ActorSystem() as system:
        reasons: list[str] = []
        ref = await system.spawn(Parent)
        system.tell(ref, Note())
        await settle()
        assert reasons == ["ValueError: as asked"]


@virtual
async def test_a_hook_has_a_deadline_too() -> None:
    class Endless(Performer):
        async def on_failure(self, error: BaseException, ctx: Context) -> None:
            await asyncio.sleep(1000)

    async with ActorSystem() as system:
        ref = await system.spawn(Endless, supervision=supervised(), handler_timeout_s=2)
        system.tell(ref, Fail())
        await asyncio.sleep(3)
        assert system.tree()[0].incarnation == 2


@virtual
async def test_an_actor_whose_task_is_cancelled_from_outside_is_restarted() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        task = next(task for task in system._known().tasks if task.get_name() == "/p#1")
        task.cancel()
        await asyncio.sleep(1)
        assert await system.ask(ref, Echo("again"), timeout_s=1) == Note("again")
        assert system.tree()[0].incarnation == 2
