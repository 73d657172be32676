"""What is left behind touches nothing: tasks, timers, threads, watches and waits of a life that is over."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

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
    InsideTree,
    JobToken,
    MessageError,
    Refused,
    State,
    Supervision,
    SystemClosed,
    message,
    on,
)
from tests.helpers.virtual_loop import settle, virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@message("left.do")
class Do:
    what: str


@message("left.done")
class Done:
    pass


class Doer(Actor):
    """Does what a table of functions says."""

    def __init__(self, table: dict[str, Callable[[Context], Awaitable[Any]]]) -> None:
        self._table = table

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done:
        await self._table[msg.what](ctx)
        return Done()


async def cling(_ctx: Context) -> None:
    """Outlive every cancellation for a while."""
    end_s = asyncio.get_running_loop().time() + 20
    while (left_s := end_s - asyncio.get_running_loop().time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(left_s)


async def rest(_ctx: Context) -> None:
    await asyncio.sleep(10)


async def fail(_ctx: Context) -> None:
    raise ValueError("as asked")


SUPERVISION = Supervision(backoff_s=1.0)


async def leave_clinging(system: ActorSystem, ref: ActorRef[Any]) -> None:
    """Make the actor cling until it is given up, and wait for its next life."""
    with pytest.raises(Expired):
        await system.ask(ref, Do("cling"), timeout_s=0.1)
    await asyncio.sleep(2)


@virtual
async def test_the_timer_of_a_task_that_was_left_behind_does_not_end_another_handler() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"cling": cling, "rest": rest}, supervision=SUPERVISION)
        asking = asyncio.create_task(system.ask(ref, Do("cling"), timeout_s=10.0))
        await settle()
        asking.cancel()
        await asyncio.sleep(5)  # given up and restarted meanwhile; the old deadline is 5 s away
        assert await system.ask(ref, Do("rest"), timeout_s=30.0) == Done()


@virtual
async def test_a_task_that_was_left_behind_cannot_begin_an_epoch_in_the_next_life() -> None:
    seen: list[str] = []

    async def cling_then_begin(ctx: Context) -> None:
        scope = ctx.epoch(7, timeout_s=60)
        await cling(ctx)
        try:
            async with scope:
                seen.append("began")
        except ActorDown:
            seen.append("refused")

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"cling": cling_then_begin}, supervision=SUPERVISION)
        await leave_clinging(system, ref)
        await asyncio.sleep(30)
        assert seen == ["refused"]
        assert system.tree()[0].state == State.IDLE.value


@virtual
@pytest.mark.parametrize("how", ["wait", "gather", "wait_for"])
async def test_the_system_cannot_be_asked_from_a_task_that_a_handler_made(how: str) -> None:
    async with ActorSystem() as system:

        async def ask_up(ctx: Context) -> None:
            asking = system.ask(ctx.self_ref, Do("rest"), timeout_s=5)
            if how == "wait":
                await ctx.wait(asking, reason="an ask in disguise")
            elif how == "gather":
                await asyncio.gather(asking)
            else:
                await asyncio.wait_for(asking, 5)

        ref = await system.spawn(Doer, {"up": ask_up, "rest": rest})
        with pytest.raises(AskFailed, match=InsideTree.__name__):
            await system.ask(ref, Do("up"), timeout_s=10)


class Watcher(Actor):
    def __init__(self, target: ActorRef[Any] | None, seen: list[Down]) -> None:
        self._target = target
        self._seen = seen

    async def on_start(self, ctx: Context) -> None:
        if self._target is not None:
            ctx.watch(self._target)

    async def on_down(self, down: Down, ctx: Context) -> None:
        assert ctx.self_ref != down.ref
        self._seen.append(down)


@virtual
async def test_a_watcher_hears_when_a_promised_restart_is_called_off() -> None:
    seen: list[Down] = []
    async with ActorSystem() as system:
        ref = await system.spawn(
            Doer, {"fail": fail}, supervision=Supervision(backoff_s=60, backoff_max_s=60)
        )
        with pytest.raises(AskFailed):
            await system.ask(ref, Do("fail"), timeout_s=1)
        await system.spawn(Watcher, ref, seen)  # while it is between two lives
        await settle()
        assert [down.restarting for down in seen] == [True]
        await system.stop(ref)
        await settle()
        assert [(down.incarnation, down.restarting) for down in seen] == [(1, True), (1, False)]


@virtual
async def test_a_watcher_that_has_ended_is_forgotten() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {})
        for _ in range(5):
            await system.stop(await system.spawn(Watcher, ref, []))
        host = system._host
        assert host is not None
        assert host.cells[ref.path].watchers == {}


@virtual
async def test_waits_of_tasks_that_a_handler_left_end_with_the_actor_and_with_the_system() -> None:
    left: list[asyncio.Task[Any]] = []

    async def leave_a_task(ctx: Context) -> None:
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left.append(asyncio.create_task(ctx.wait(never, timeout_s=1000, reason="something that never comes")))
        await asyncio.sleep(0)

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"leave": leave_a_task})
        await system.ask(ref, Do("leave"), timeout_s=1)
        await system.stop(ref)
        await settle()
        assert isinstance(left[0].exception(), ActorDown)
        ref = await system.spawn(Doer, {"leave": leave_a_task})
        waiting = asyncio.create_task(system.wait_epoch(ref, 1, timeout_s=1000))
        await system.ask(ref, Do("leave"), timeout_s=1)
    await settle()
    assert isinstance(left[1].exception(), ActorDown | SystemClosed)
    assert isinstance(waiting.exception(), ActorDown | SystemClosed)
    assert system.waits() == []


@virtual
async def test_a_foreign_cancellation_during_an_interruption_is_not_swallowed() -> None:
    cleaning = asyncio.Event()

    async def clean_up_slowly(_ctx: Context) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            cleaning.set()
            await asyncio.sleep(0.3)

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"slow": clean_up_slowly})
        with pytest.raises(Expired):
            await system.ask(ref, Do("slow"), timeout_s=1)
        await cleaning.wait()
        host = system._host
        assert host is not None
        (task,) = host.tasks
        task.cancel()
        await asyncio.sleep(1)
        assert task.done()
        assert system.tree() == ()


@virtual
async def test_a_foreign_awaitable_that_raises_system_exit_ends_its_actor_and_not_the_loop() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"exit": lambda ctx: ctx.wait(leave(), reason="the door")})
        with pytest.raises(AskFailed, match="SystemExit"):
            await system.ask(ref, Do("exit"), timeout_s=1)


@virtual
async def test_a_hook_has_a_limit_of_its_own_while_stopping() -> None:
    ended: list[float] = []

    class Tidy(Actor):
        async def on_stop(self, ctx: Context) -> None:
            assert ctx.remaining_s == pytest.approx(5.0)
            await asyncio.sleep(4.5)
            ended.append(asyncio.get_running_loop().time())

    async with ActorSystem() as system:
        ref = await system.spawn(Tidy)
        await system.stop(ref, timeout_s=10.0)
    assert ended


@virtual
@pytest.mark.parametrize("hook", ["on_start", "on_stop"])
async def test_a_hook_that_returns_after_its_actor_was_given_up_is_heard_no_more(
    hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    returned: list[str] = []

    class Late(Doer):
        async def on_start(self, ctx: Context) -> None:
            if hook == "on_start" and not returned:
                await cling(ctx)
                returned.append(hook)

        async def on_stop(self, ctx: Context) -> None:
            if hook == "on_stop" and not returned:
                await cling(ctx)
                returned.append(hook)

    async with ActorSystem() as system:
        starting = asyncio.create_task(system.spawn(Late, {"rest": rest}, name="late"))
        await settle()
        if hook == "on_start":
            starting.cancel()
            with suppress(asyncio.CancelledError):
                await starting
        else:
            await system.stop(await starting, timeout_s=1.0)
        returned_before = list(returned)
        returned.append("from here on nobody clings")
        ref = await system.spawn(Late, {"rest": rest}, name="late")
        await asyncio.sleep(30)
        assert (returned_before, returned[1:]) == ([], [hook])
        assert [(node.path, node.incarnation) for node in system.tree()] == [("/late", 1)]
        assert await system.ask(ref, Do("rest"), timeout_s=20) == Done()
        assert system.statistics()["stray_tasks"] == 0
    assert not [record for record in caplog.records if "late" in record.getMessage()]


async def test_actors_are_refused_in_another_thread() -> None:
    async def from_a_job(ctx: Context) -> None:
        def job(_token: JobToken) -> None:
            ctx.tell(ctx.self_ref, Done())

        await ctx.offload(job)

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"job": from_a_job})
        with pytest.raises(AskFailed, match="thread of their event loop"):
            await system.ask(ref, Do("job"), timeout_s=10)
        with pytest.raises(Refused, match="thread of their event loop"):
            await asyncio.to_thread(system.tell, ref, Do("job"))


async def test_an_answer_that_comes_late_because_the_loop_was_blocked_is_expired() -> None:
    async def block(_ctx: Context) -> None:
        end_s = time.monotonic() + 0.2
        while time.monotonic() < end_s:
            threading.Event().wait(0.01)

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"block": block})
        with pytest.raises(Expired):
            await system.ask(ref, Do("block"), timeout_s=0.1)


@virtual
async def test_a_failure_that_nobody_is_told_of_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "actors"):
        async with ActorSystem() as system:
            ref = await system.spawn(Doer, {"fail": fail}, name="told")
            with pytest.raises(AskFailed) as told:
                await system.ask(ref, Do("fail"), timeout_s=1)
            assert caplog.records == []
            ref = await system.spawn(Doer, {"fail": fail}, name="untold")
            system.tell(ref, Do("fail"))
            await settle()
    assert [record.getMessage() for record in caplog.records] == ["/untold failed: ValueError: as asked"]
    assert any("in fail" in note and "as asked" in note for note in told.value.__notes__)


@virtual
async def test_a_message_whose_fields_cannot_be_resolved_is_refused_where_it_is_sent() -> None:
    @message("left.unresolved")
    class Unresolved:
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821 - that is the point

    async with ActorSystem() as system:
        ref = await system.spawn(Doer, {"rest": rest})
        with pytest.raises(MessageError, match=r"left\.unresolved.*not known at run time"):
            system.tell(ref, Unresolved(1))
        assert await system.ask(ref, Do("rest"), timeout_s=20) == Done()


def test_handlers_are_checked_where_they_are_declared() -> None:
    with pytest.raises(TypeError, match="must be `async def`"):

        @on(Do)  # type: ignore[type-var]
        def plain(self: Any, msg: Do, ctx: Context) -> None: ...

    with pytest.raises(TypeError, match=r"must take \(self, msg, ctx\)"):

        @on(Do)
        async def short(self: Any, msg: Do) -> None: ...


def test_handlers_of_all_bases_are_inherited() -> None:
    class One(Actor):
        @on(Do)
        async def do(self, msg: Do, ctx: Context) -> None: ...

    class Two(Actor):
        @on(Done)
        async def done(self, msg: Done, ctx: Context) -> None: ...

    class Both(One, Two):
        pass

    assert set(Both.handlers) == {Do, Done}
