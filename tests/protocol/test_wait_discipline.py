"""Laws 2, 3 and 5: every wait is a record, waits point down, deadlines shrink."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    JobToken,
    MailboxFull,
    UpwardAsk,
    WaitCycle,
    message,
    on,
)
from actors.later import LATER_MAX
from actors.waits import Origin, Witness
from tests.helpers.cast import Director, Echo, Fail, Note, Performer, Relay, Sleep, Spawn, supervised
from tests.helpers.virtual_loop import settle, virtual

Script = Callable[[Context], Awaitable[Any]]


@message("discipline.act")
class Act:
    """Asked: run the actor's script."""


class Scripted(Actor):
    """Runs whatever the test has handed to it, as a handler."""

    def __init__(self, script: Script) -> None:
        self.script = script

    @on(Act)
    async def act(self, msg: Act, ctx: Context) -> Note:
        return Note(str(await self.script(ctx)))


async def _play(system: ActorSystem, script: Script, *, timeout_s: float = 60) -> str:
    ref = await system.spawn(Scripted, script, name="scripted")
    answer: Note = await system.ask(ref, Act(), timeout_s=timeout_s)
    return answer.text


@virtual
async def test_an_actor_may_ask_what_is_below_it_however_deep() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        top = await system.spawn(Director, log, name="top")
        middle = (await system.ask(top, Spawn("middle"), timeout_s=1)).ref
        leaf = (await system.ask(middle, Spawn("leaf"), timeout_s=1)).ref
        assert leaf.path == "/top/middle/leaf"
        assert await system.ask(top, Relay(leaf, "down"), timeout_s=1) == Note("down")


@pytest.mark.parametrize(("asker", "asked"), [("leaf", "top"), ("leaf", "leaf"), ("leaf", "sibling")])
def test_upward_sideways_and_to_itself_is_refused(asker: str, asked: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            refs: dict[str, ActorRef[Any]] = {"top": await system.spawn(Director, log, name="top")}
            for name in ("leaf", "sibling"):
                refs[name] = (await system.ask(refs["top"], Spawn(name), timeout_s=1)).ref
            with pytest.raises(AskFailed, match="which is not below it: tell it instead") as caught:
                await system.ask(refs[asker], Relay(refs[asked]), timeout_s=5)
            assert caught.value.error_type == "UpwardAsk"
            assert asyncio.get_running_loop().time() < 1, "it is refused at once and not at the deadline"
            assert not any(line.startswith("echo") for line in log)

    scenario()


@virtual
async def test_a_tell_may_go_anywhere() -> None:
    async def tell_all(ctx: Context) -> str:
        ctx.tell(ctx.self_ref, Note("myself"))
        ctx.tell(other, Note("sideways"))
        return "told"

    async with ActorSystem() as system:
        log: list[str] = []
        other = await system.spawn(Performer, log)
        assert await _play(system, tell_all) == "told"
        await settle()
        assert "note sideways" in log
        assert system.statistics()["dead_letters"] == {"refused: NotHandled": 1}, "it got its own, too"


@pytest.mark.parametrize("door", ["ask", "wait_epoch", "spawn", "stop", "shutdown"])
def test_the_door_for_code_outside_is_shut_for_handlers(door: str) -> None:
    @virtual
    async def scenario() -> None:
        async def use(ctx: Context) -> str:
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "ask": lambda: system.ask(ctx.self_ref, Act(), timeout_s=50),
                "wait_epoch": lambda: system.wait_epoch(ctx.self_ref, 1, timeout_s=50),
                "spawn": lambda: system.spawn(Performer),
                "stop": lambda: system.stop(ctx.self_ref),
                "shutdown": lambda: system.shutdown(5),
            }
            with pytest.raises(UpwardAsk, match="/scripted is inside the tree"):
                await calls[door]()
            return "refused"

        async with ActorSystem() as system:
            assert await _play(system, use) == "refused"
            assert asyncio.get_running_loop().time() < 1

    scenario()


@virtual
async def test_stop_and_epoch_point_down_too() -> None:
    async def reach_up(ctx: Context) -> str:
        with pytest.raises(UpwardAsk):
            await ctx.stop(other)
        with pytest.raises(UpwardAsk):
            await ctx.stop(ctx.self_ref)
        with pytest.raises(UpwardAsk):
            ctx.epoch(1, [other], timeout_s=5)
        with pytest.raises(UpwardAsk):
            await ctx.ask_all([(other, Echo())], timeout_s=5)
        return ctx.state.value

    async with ActorSystem() as system:
        other = await system.spawn(Performer)
        assert await _play(system, reach_up) == "idle"


@virtual
async def test_the_wait_for_graph_is_checked_anyway() -> None:
    async with ActorSystem() as system:
        a, b = [await system.spawn(Performer, name=name) for name in "ab"]
        host = system._known()
        wait = host.waits.open(Origin(b.path, 1), a.path, "a reply", 100.0, Witness.MONITOR)
        with pytest.raises(WaitCycle, match=r"/a cannot wait for /b: /b waited for /a \(a reply\)"):
            host.delivery.begin_ask(host.cells[a.path].origin, b, Echo(), 50.0)
        host.waits.close(wait)
        assert system.statistics()["open_waits"] == 0


@virtual
async def test_deadlines_shrink_down_a_chain_of_three() -> None:
    remaining: dict[str, float] = {}

    async def ask_down(ctx: Context) -> str:
        remaining[ctx.self_ref.path] = ctx.remaining_s
        await asyncio.sleep(1)
        if below := DOWN.get(ctx.self_ref.path):
            child = await ctx.spawn(Scripted, ask_down, name=below)
            return str((await ctx.ask(child, Act(), timeout_s=100)).text)
        await asyncio.sleep(100)
        return "never"

    async with ActorSystem() as system:
        ref = await system.spawn(Scripted, ask_down, name="a")
        with pytest.raises(Expired, match="given 10 s"):
            await system.ask(ref, Act(), timeout_s=10)
        assert asyncio.get_running_loop().time() == 10.0
        assert remaining == {"/a": 10.0, "/a/b": 9.0, "/a/b/c": 8.0}
        await settle()
        assert system.statistics()["open_waits"] == 0, "the whole chain has ended with its first wait"


DOWN = {"/a": "b", "/a/b": "c"}


@virtual
async def test_a_shorter_timeout_of_its_own_holds() -> None:
    async def ask_shortly(ctx: Context) -> str:
        child = await ctx.spawn(Performer)
        with pytest.raises(Expired, match="given 2 s"):
            await ctx.ask(child, Sleep(50), timeout_s=2)
        return f"{ctx.remaining_s:g}"

    async with ActorSystem() as system:
        assert await _play(system, ask_shortly, timeout_s=10) == "8"


@virtual
async def test_a_timeout_is_cut_to_what_remains() -> None:
    async def ask_for_long(ctx: Context) -> str:
        child = await ctx.spawn(Performer)
        await ctx.ask(child, Sleep(math.inf), timeout_s=1e9)
        return "never"

    async with ActorSystem() as system:
        with pytest.raises(Expired):
            await _play(system, ask_for_long, timeout_s=3)
        assert asyncio.get_running_loop().time() == 3.0


@pytest.mark.parametrize("timeout_s", [math.inf, math.nan])
def test_outside_an_infinite_timeout_is_refused(timeout_s: float) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            ref = await system.spawn(Performer)
            with pytest.raises(ValueError, match="without end"):
                await system.ask(ref, Echo(), timeout_s=timeout_s)
            with pytest.raises(ValueError, match="without end"):
                await system.wait_epoch(ref, 1, timeout_s=timeout_s)
            with pytest.raises(ValueError, match="without end"):
                await system.stop(ref, timeout_s=timeout_s)
            with pytest.raises(ValueError, match="needs an end"):
                await system.shutdown(timeout_s)
            assert system.statistics()["open_waits"] == 0
            assert await system.ask(ref, Echo("still open"), timeout_s=1) == Note("still open")

    scenario()


@pytest.mark.parametrize("limit_s", [math.inf, math.nan, 0.0, -1.0])
def test_a_handler_without_a_deadline_is_refused(limit_s: float) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            with pytest.raises(ValueError, match="not a finite time above 0"):
                await system.spawn(Performer, name="p", handler_timeout_s=limit_s)
            assert system.tree() == (), "nothing is left of what was refused"
            await system.spawn(Performer, name="p")

    scenario()


@virtual
async def test_a_tells_handler_has_a_deadline_and_the_actor_goes_on() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log, handler_timeout_s=2)
        system.tell(ref, Sleep(50))
        await asyncio.sleep(1.9)
        assert log[-1] == "sleep 50"
        await asyncio.sleep(0.2)
        assert log[-1] == "cancelled"
        assert await system.ask(ref, Echo("next"), timeout_s=1) == Note("next")
        assert system.statistics()["dead_letters"] == {"handler ended: its deadline passed": 1}


@virtual
async def test_foreign_things_are_waited_for_with_an_end() -> None:
    async def wait_for_them(ctx: Context) -> str:
        assert await ctx.wait(asyncio.sleep(1, "value"), reason="a nap") == "value"
        with pytest.raises(LookupError):
            await ctx.wait(_raise(LookupError()), reason="trouble")
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with pytest.raises(Expired, match=r"/scripted waited for foreign awaitable \(godot\)"):
            await ctx.wait(never, timeout_s=3, reason="godot")
        assert never.cancelled()
        return f"{ctx.remaining_s:g}"

    async with ActorSystem() as system:
        assert await _play(system, wait_for_them, timeout_s=10) == "6"
        assert system.statistics()["open_waits"] == 0


async def _raise(error: Exception) -> None:
    raise error


@virtual
async def test_why_waiting_names_the_chain_to_its_end() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        top = await system.spawn(Director, log, name="top")
        leaf = (await system.ask(top, Spawn("leaf"), timeout_s=1)).ref
        inner = asyncio.create_task(system.ask(leaf, Sleep(5), timeout_s=20))
        await settle()
        outer = asyncio.create_task(system.ask(top, Relay(leaf), timeout_s=20))
        await settle()
        chain = system.why_waiting(top)
        assert [(wait.waiter, wait.target, wait.reason) for wait in chain] == [
            ("/top", "/top/leaf", "reply to cast.echo")
        ]
        assert chain[0].witness is Witness.MONITOR
        assert math.isfinite(chain[0].deadline_s)
        assert [wait.waiter for wait in system.waits()] == ["outside", "outside", "/top"]
        assert system.why_waiting(leaf) == [], "it is idle in its handler, and waits for nobody of ours"
        await inner
        await outer
        assert system.waits() == []


@virtual
async def test_a_job_is_a_wait_too() -> None:
    seen: list[str] = []

    def work(_token: JobToken, times: int) -> int:
        return 21 * times

    async def offload(ctx: Context) -> int:
        job = asyncio.ensure_future(ctx.offload(work, 2))
        await asyncio.sleep(0)
        seen.extend(f"{wait.target}, {wait.witness.name}" for wait in system.why_waiting(ctx.self_ref))
        return await job

    async with ActorSystem() as system:
        assert await _play(system, offload) == "42"
        assert seen == ["job test_a_job_is_a_wait_too.<locals>.work, JOB_SLOT"]


@virtual
async def test_a_context_is_dead_after_its_incarnation() -> None:
    """ "Raw pointers in messages": what is left of an old life can reach nothing of the new one."""
    kept: list[Context] = []

    async def keep(ctx: Context) -> str:
        kept.append(ctx)
        return "kept"

    async with ActorSystem() as system:
        ref = await system.spawn(Scripted, keep, name="scripted")
        await system.ask(ref, Act(), timeout_s=1)
        await system.stop(ref)
        with pytest.raises(ActorDown, match="incarnation 1 has ended"):
            kept[0].tell(ref, Note())
        with pytest.raises(ActorDown):
            await kept[0].spawn(Performer)
        with pytest.raises(ActorDown):
            kept[0].tell_later(1, ref, Note())


@virtual
async def test_an_actor_that_never_rests_does_not_starve_the_others() -> None:
    class Restless(Actor):
        @on(Note)
        async def note(self, msg: Note, ctx: Context) -> None:
            ctx.tell(ctx.self_ref, msg)

    async with ActorSystem() as system:
        restless = await system.spawn(Restless)
        other = await system.spawn(Performer)
        system.tell(restless, Note())
        assert await system.ask(other, Echo("my turn"), timeout_s=1) == Note("my turn")
        await system.shutdown(1)


@virtual
async def test_tell_later_comes_later_and_only_while_its_sender_lives() -> None:
    async def promise(ctx: Context) -> str:
        ctx.tell_later(5, log_keeper, Note(f"from {ctx.incarnation}"))
        with pytest.raises(ValueError, match="after -1 seconds"):
            ctx.tell_later(-1, log_keeper, Note())
        with pytest.raises(ValueError, match="after inf seconds"):
            ctx.tell_later(math.inf, log_keeper, Note())
        with pytest.raises(TypeError):
            ctx.tell_later(1, log_keeper, "no message")
        return "promised"

    async with ActorSystem() as system:
        log: list[str] = []
        log_keeper = await system.spawn(Performer, log)
        ref = await system.spawn(Scripted, promise, name="scripted")
        await system.ask(ref, Act(), timeout_s=1)
        await asyncio.sleep(4.9)
        assert log == ["start /performer-1#1"]
        await asyncio.sleep(0.2)
        assert log[-1] == "note from 1"
        assert "sender ended" not in system.statistics()["dead_letters"]
        await system.ask(ref, Act(), timeout_s=1)
        await system.stop(ref)
        assert system.statistics()["dead_letters"]["sender ended"] == 1
        await asyncio.sleep(10)
        assert log.count("note from 1") == 1


@virtual
async def test_an_actor_cannot_plan_without_bound() -> None:
    async def plan(ctx: Context) -> str:
        for _ in range(LATER_MAX):
            ctx.tell_later(5, log_keeper, Note("planned"))
        with pytest.raises(MailboxFull, match=f"{LATER_MAX} messages to send later"):
            ctx.tell_later(5, log_keeper, Note("too many"))
        return "planned"

    async with ActorSystem() as system:
        log: list[str] = []
        log_keeper = await system.spawn(Performer, log, capacity=2 * LATER_MAX)
        ref = await system.spawn(Scripted, plan, name="scripted")
        await system.ask(ref, Act(), timeout_s=1)
        assert system.statistics()["dead_letters"] == {"too many for later": 1}
        await asyncio.sleep(6)
        assert log.count("note planned") == LATER_MAX
        await system.ask(ref, Act(), timeout_s=1)  # there is room again


@virtual
async def test_tell_later_says_nothing_between_two_lives_and_nothing_to_the_second() -> None:
    class Forgetful(Performer):
        async def on_start(self, ctx: Context) -> None:
            if ctx.incarnation == 1:
                ctx.tell_later(1.0, ctx.self_ref, Note("of the first life"))

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Forgetful, log, supervision=supervised(backoff_s=2.0))
        await asyncio.sleep(0.5)
        system.tell(ref, Fail())  # it is down from 0.5 s to 2.5 s
        await asyncio.sleep(5.0)
        assert await system.ask(ref, Echo("second life"), timeout_s=1.0) == Note("second life")
        assert not [line for line in log if line.startswith("note")]
