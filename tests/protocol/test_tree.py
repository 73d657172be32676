"""Law 1: one tree; a child ends before its parent; every end is told exactly once to each who must know."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from actors import (
    Actor,
    ActorDown,
    ActorError,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Down,
    Expired,
    Supervision,
    UpwardAsk,
)
from tests.helpers.cast import (
    Director,
    Echo,
    Fail,
    Note,
    Performer,
    Spawn,
    StopChild,
    WatchIt,
    supervised,
)
from tests.helpers.virtual_loop import settle, virtual

if TYPE_CHECKING:
    from actors.system import TreeNode


async def _family(
    system: ActorSystem, log: list[str], max_restarts: int = 0
) -> dict[str, ActorRef[Director]]:
    """top over a and b, a over a1 and a2."""
    refs = {"top": await system.spawn(Director, log, "top", name="top")}
    for parent, name in [("top", "a"), ("top", "b"), ("a", "a1"), ("a", "a2")]:
        refs[name] = (await system.ask(refs[parent], Spawn(name, max_restarts), timeout_s=1)).ref
    return refs


def _paths(nodes: tuple[TreeNode, ...]) -> list[str]:
    return [path for node in nodes for path in [node.path, *_paths(node.children)]]


def _ends(system: ActorSystem) -> list[str]:
    assert system.tracer is not None
    return [event.actor for event in system.tracer.events() if event.kind == "end"]


@virtual
async def test_the_tree_can_be_seen() -> None:
    async with ActorSystem() as system:
        await _family(system, [])
        assert _paths(system.tree()) == ["/top", "/top/a", "/top/a/a1", "/top/a/a2", "/top/b"]
        top = system.tree()[0]
        assert (top.actor, top.incarnation, top.phase, top.state, top.queued) == (
            "Director",
            1,
            "live",
            "idle",
            0,
        )


@virtual
async def test_a_child_ends_before_its_parent_ends() -> None:
    async with ActorSystem(trace=True) as system:
        log: list[str] = []
        refs = await _family(system, log)
        await system.stop(refs["top"])
        assert _ends(system) == ["/top/b", "/top/a/a2", "/top/a/a1", "/top/a", "/top"]
        assert [line for line in log if line.startswith("stop")] == [
            "stop top",  # the hook of an ordinary stop runs while the children still live
            "stop b",
            "stop a",
            "stop a2",
            "stop a1",
        ]
        assert system.tree() == ()


@virtual
async def test_a_parent_that_fails_takes_its_children_along() -> None:
    async with ActorSystem(trace=True) as system:
        log: list[str] = []
        refs = await _family(system, log)
        with pytest.raises(AskFailed):
            await system.ask(refs["top"], Fail(), timeout_s=1)
        await settle()
        assert set(_ends(system)) == {"/top", "/top/a", "/top/b", "/top/a/a1", "/top/a/a2"}
        assert _ends(system)[-1] == "/top"
        assert "failure top: ValueError" in log


@virtual
async def test_a_subtree_that_is_abandoned_goes_as_a_whole() -> None:
    async with ActorSystem(trace=True) as system:
        refs = await _family(system, [], max_restarts=3)
        await system.stop(refs["a"], timeout_s=0)
        assert _paths(system.tree()) == ["/top", "/top/b"]
        assert _ends(system) == ["/top/a/a2", "/top/a/a1", "/top/a"]
        await asyncio.sleep(100)
        assert _paths(system.tree()) == ["/top", "/top/b"], (
            "nobody is restarted under a parent that has ended"
        )


@virtual
async def test_exactly_one_down_for_the_parent_and_each_watcher() -> None:
    async with ActorSystem() as system:
        watcher_log: list[str] = []
        log: list[str] = []
        refs = await _family(system, log)
        watcher = await system.spawn(Director, watcher_log, name="watcher")
        for _ in range(2):
            await system.ask(watcher, WatchIt(refs["b"]), timeout_s=1)
        await system.ask(refs["top"], WatchIt(refs["b"]), timeout_s=1)
        await system.ask(refs["top"], StopChild(refs["b"]), timeout_s=1)
        await settle()
        assert [line for line in log if line.startswith("down")] == ["down /top/b#1 for good: stopped"]
        assert [line for line in watcher_log if line.startswith("down")] == [
            "down /top/b#1 for good: stopped"
        ]


@pytest.mark.parametrize("how", ["stop", "fail", "abandon", "exit"])
def test_every_kind_of_end_is_told_once(how: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            top = await system.spawn(Director, log, "top", name="top")
            child = (await system.ask(top, Spawn("child"), timeout_s=1)).ref
            if how in {"fail", "exit"}:
                with pytest.raises(AskFailed):
                    await system.ask(
                        child, Fail("SystemExit" if how == "exit" else "ValueError"), timeout_s=1
                    )
            else:
                await system.ask(top, StopChild(child, 0 if how == "abandon" else 5), timeout_s=9)
            await settle()
            downs = [line for line in log if line.startswith("down")]
            assert len(downs) == 1
            assert downs[0].startswith("down /top/child#1 for good")

    scenario()


@virtual
async def test_each_incarnation_has_its_own_down() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        top = await system.spawn(Director, log, "top", name="top")
        child = (await system.ask(top, Spawn("child", max_restarts=2), timeout_s=1)).ref
        for _ in range(3):
            system.tell(child, Fail())
            await asyncio.sleep(1)
        downs = [line.partition(":")[0] for line in log if line.startswith("down")]
        assert downs == [
            "down /top/child#1 restarting",
            "down /top/child#2 restarting",
            "down /top/child#3 for good",
        ]


@virtual
async def test_watching_who_is_gone_tells_at_once() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        gone = await system.spawn(Performer, name="gone")
        await system.stop(gone)
        watcher = await system.spawn(Director, log, name="watcher")
        await system.ask(watcher, WatchIt(gone), timeout_s=1)
        await settle()
        assert log[-1] == "down /gone#0 for good: no such actor"


@virtual
async def test_a_new_incarnation_does_not_hear_what_an_old_one_watched() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        watched = await system.spawn(Performer, name="watched")
        watcher = await system.spawn(Director, log, name="watcher", supervision=supervised())
        await system.ask(watcher, WatchIt(watched), timeout_s=1)
        system.tell(watcher, Fail())
        await asyncio.sleep(1)
        await system.stop(watched)
        await settle()
        assert "start /watcher#2" in log
        assert not any(line.startswith("down") for line in log)


@virtual
async def test_names_are_unique_among_living_siblings() -> None:
    async with ActorSystem() as system:
        first = await system.spawn(Performer, name="same")
        with pytest.raises(ValueError, match="/same exists already"):
            await system.spawn(Performer, name="same")
        await system.stop(first)
        second = await system.spawn(Performer, name="same")
        assert second.path == first.path
        assert second != first
        system.tell(first, Note("to the dead"))
        assert system.statistics()["dead_letters"] == {"no such actor": 1}


@pytest.mark.parametrize("name", ["", "a/b", "tab\there", "\udcff", "x" * 2000])
def test_impossible_names_are_refused(name: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            with pytest.raises(ValueError, match=r"printable|longer"):
                await system.spawn(Performer, name=name)
            assert system.tree() == ()
            assert system.statistics()["open_waits"] == 0

    scenario()


class Refusing(Actor):
    """Cannot start: it raises, or it never comes to an end."""

    def __init__(self, how: str) -> None:
        if how == "constructor":
            raise LookupError("not made")
        self.how = how

    async def on_start(self, ctx: Context) -> None:
        if self.how == "raise":
            raise LookupError("not started")
        await asyncio.sleep(100)


@pytest.mark.parametrize("how", ["raise", "constructor"])
@pytest.mark.parametrize("supervision", [None, supervised()])
def test_a_start_that_raises_is_heard_by_whoever_spawns(how: str, supervision: Supervision | None) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            with pytest.raises(ActorDown, match=r"/r is down \(for good\): LookupError: not"):
                await system.spawn(Refusing, how, name="r", supervision=supervision)
            await asyncio.sleep(10)
            assert system.tree() == (), "what was never there is not restarted"
            assert system.statistics()["open_waits"] == 0

    scenario()


@pytest.mark.parametrize("supervision", [None, supervised()])
def test_a_start_that_takes_too_long_is_given_up(supervision: Supervision | None) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            with pytest.raises((Expired, ActorDown)):
                await system.spawn(Refusing, "sleep", name="r", supervision=supervision, handler_timeout_s=2)
            assert asyncio.get_running_loop().time() < 3
            await asyncio.sleep(100)
            assert system.tree() == ()
            assert system.statistics()["tasks"] == 0

    scenario()


@pytest.mark.parametrize("supervision", [None, supervised()])
def test_a_spawn_that_is_cancelled_leaves_nothing(supervision: Supervision | None) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            spawning = asyncio.create_task(system.spawn(Refusing, "sleep", name="r", supervision=supervision))
            await settle()
            spawning.cancel()
            with pytest.raises(asyncio.CancelledError):
                await spawning
            await asyncio.sleep(100)
            assert system.tree() == ()
            assert system.statistics()["tasks"] == 0

    scenario()


@virtual
async def test_a_child_that_cannot_start_does_not_hurt_a_parent_that_expects_it() -> None:
    class Parent(Performer):
        async def on_start(self, ctx: Context) -> None:
            with pytest.raises(ActorDown):
                await ctx.spawn(Refusing, "raise")
            assert ctx.children == ()

    async with ActorSystem() as system:
        parent = await system.spawn(Parent)
        assert await system.ask(parent, Echo("fine"), timeout_s=1) == Note("fine")


@virtual
async def test_what_an_actor_knows_of_its_place() -> None:
    seen: list[object] = []

    class Child(Actor):
        async def on_start(self, ctx: Context) -> None:
            seen.extend(
                [ctx.self_ref.path, str(ctx.parent), ctx.children, ctx.incarnation, ctx.current_epoch]
            )

    class Parent(Actor):
        async def on_start(self, ctx: Context) -> None:
            child = await ctx.spawn(Child, name="child")
            assert ctx.parent is None
            assert ctx.children == (child,)

    async with ActorSystem() as system:
        await system.spawn(Parent, name="parent")
        assert seen == ["/parent/child", "/parent", (), 1, 0]


@virtual
async def test_a_tree_has_at_most_100_levels() -> None:
    refused: list[str] = []

    class Nesting(Actor):
        async def on_start(self, ctx: Context) -> None:
            try:
                await ctx.spawn(Nesting, name="n")
            except ValueError as error:
                refused.append(str(error))

    async with ActorSystem() as system:
        await system.spawn(Nesting, name="n")
        assert system.statistics()["actors"] == 100
    assert refused == [f"{'/n' * 20}... is deeper in the tree than 100 levels"]


@virtual
async def test_the_epoch_of_a_grandchild_is_its_parents_affair() -> None:
    refused: list[str] = []

    class Reaching(Director):
        async def reach(self, ctx: Context, grandchild: ActorRef[Director]) -> None:
            with pytest.raises(UpwardAsk) as caught:
                ctx.epoch(1, children=[grandchild], timeout_s=1.0)
            refused.extend([str(caught.value), *caught.value.__notes__])

        async def on_down(self, down: Down, ctx: Context) -> None:
            await self.reach(ctx, ActorRef("/top/a/a1", 0))

    async with ActorSystem() as system:
        top = await system.spawn(Reaching, [], "top", name="top")
        a = (await system.ask(top, Spawn("a", 0), timeout_s=1)).ref
        b = (await system.ask(top, Spawn("b", 0), timeout_s=1)).ref
        await system.ask(a, Spawn("a1", 0), timeout_s=1)
        await system.stop(b)
        await settle()
        assert system.tree()[0].state == "idle"
    assert refused[:2] == [
        "/top/a/a1 is no child of /top: its own parent runs its epochs",
        "/top/a/a1 is idle, 0 queued",
    ]


@virtual
async def test_a_foreign_future_that_is_refused_is_left_as_it_is() -> None:
    """A coroutine that nobody will await is closed; a future may have others who wait for it."""
    later: list[Context] = []

    class Short(Actor):
        async def on_start(self, ctx: Context) -> None:
            later.append(ctx)

    async with ActorSystem() as system:
        await system.stop(await system.spawn(Short))
        future = asyncio.get_running_loop().create_future()
        coroutine = asyncio.sleep(1)
        for awaitable in (future, coroutine):
            with pytest.raises(ActorError):
                await later[0].wait(awaitable, timeout_s=1.0, reason="too late")
        assert not future.done()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coroutine
