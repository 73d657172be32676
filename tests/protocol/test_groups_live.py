"""Groups of siblings at work: they end and start together, and what was promised to others holds."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio

import pytest

from actors import (
    ActorDown,
    ActorRef,
    ActorSystem,
    Context,
    Expired,
    Request,
    State,
    Strategy,
    Supervision,
    message,
    on,
)
from tests.helpers.cast import (
    Cling,
    Director,
    Echo,
    Fail,
    Note,
    Performer,
    Sleep,
    StopChild,
    WatchIt,
    supervised,
)
from tests.helpers.virtual_loop import settle, virtual

ALL = Supervision(max_restarts=3, backoff_s=1.0, strategy=Strategy.ONE_FOR_ALL)
REST = Supervision(max_restarts=3, backoff_s=1.0, strategy=Strategy.REST_FOR_ONE)


@message("groups.family")
class Family(Request[Note]):
    """Asked: start performers a, b and c under a strategy."""

    strategy: str
    max_restarts: int = 3
    escalate: bool = False


@message("groups.run")
class RunEpoch(Request[Note]):
    """Asked: run an epoch with all children, and leave it when told."""

    epoch: int
    seconds: float


class Parent(Director):
    """Has a group, and hears what becomes of it."""

    @on(Family)
    async def family(self, msg: Family, ctx: Context) -> Note:
        rule = Supervision(
            max_restarts=msg.max_restarts,
            backoff_s=1.0,
            strategy=Strategy(msg.strategy),
            escalate=msg.escalate,
        )
        for name in "abc":
            await ctx.spawn(Performer, self.log, name, name=name, supervision=rule)
        return Note()

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=60.0):
            await asyncio.sleep(msg.seconds)
        return Note()


async def family_of(
    system: ActorSystem, log: list[str], strategy: Strategy, **rule: int
) -> tuple[ActorRef[Parent], list[ActorRef[Performer]]]:
    parent = await system.spawn(Parent, log, name="p")
    await system.ask(parent, Family(strategy.value, **rule), timeout_s=1)  # type: ignore[arg-type] # a bool is an int
    cells = system._known().cells
    return parent, [cells[f"/p/{name}"].ref for name in "abc"]


async def group_of(system: ActorSystem, log: list[str], rule: Supervision) -> list[ActorRef[Performer]]:
    return [await system.spawn(Performer, log, name, name=name, supervision=rule) for name in "abc"]


def lives(system: ActorSystem) -> dict[str, int]:
    return {node.path: node.incarnation for node in system.tree()}


@virtual
async def test_one_for_all_ends_all_in_reverse_order_and_starts_them_in_order() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        _, b, _ = await group_of(system, log, ALL)
        log.clear()
        system.tell(b, Fail())
        await asyncio.sleep(2)
        assert log == ["failure b: ValueError", "stop c", "stop a", "start a#2", "start b#2", "start c#2"]


@virtual
async def test_rest_for_one_leaves_those_alone_that_started_before() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        a, b, _ = await group_of(system, log, REST)
        log.clear()
        system.tell(b, Fail())
        await asyncio.sleep(2)
        assert log == ["failure b: ValueError", "stop c", "start b#2", "start c#2"]
        system.tell(a, Fail())
        await asyncio.sleep(4)
        assert lives(system) == {"/a": 2, "/b": 3, "/c": 3}


@virtual
async def test_equal_supervisions_make_a_group_and_its_name_tells_two_apart() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        for name, group in (("a", "left"), ("b", "left"), ("c", "right")):
            rule = Supervision(strategy=Strategy.ONE_FOR_ALL, group=group)
            await system.spawn(Performer, log, name, name=name, supervision=rule)
        system.tell(system._known().cells["/a"].ref, Fail())
        await asyncio.sleep(1)
        assert lives(system) == {"/a": 2, "/b": 2, "/c": 1}


@virtual
async def test_children_of_two_parents_are_no_siblings() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        parents = [await system.spawn(Parent, log, name=name) for name in "pq"]
        for parent in parents:
            await system.ask(parent, Family("one_for_all"), timeout_s=1)
        system.tell(system._known().cells["/p/a"].ref, Fail())
        await asyncio.sleep(2)
        assert [cell.incarnation for cell in system._known().cells.values()] == [1, 1, 2, 2, 2, 1, 1, 1]


@virtual
async def test_one_starts_only_when_the_one_before_it_has_come_up() -> None:
    class Slow(Performer):
        async def on_start(self, ctx: Context) -> None:
            await super().on_start(ctx)
            await asyncio.sleep(3)
            self.log.append(f"{self.tag} is up")

    async with ActorSystem() as system:
        log: list[str] = []
        refs = [await system.spawn(Slow, log, name, name=name, supervision=ALL) for name in "ab"]
        log.clear()
        system.tell(refs[0], Fail())
        await asyncio.sleep(20)
        assert log[2:] == ["start a#2", "a is up", "start b#2", "b is up"]


@virtual
async def test_what_siblings_were_asked_ends_in_down_restarting_and_may_be_asked_again() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        a, b, _ = await group_of(system, log, ALL)
        asks = [asyncio.create_task(system.ask(b, what, timeout_s=50)) for what in (Sleep(30), Echo("next"))]
        await settle()
        system.tell(a, Fail())
        ends = await asyncio.gather(*asks, return_exceptions=True)
        assert [(type(end), str(end)) for end in ends] == [
            (ActorDown, "/b is down (restarting): together with /a: ValueError: as asked")
        ] * 2
        assert asyncio.get_running_loop().time() == 0.0
        assert await system.ask(b, Echo("again"), timeout_s=5) == Note("again")


@virtual
async def test_the_parent_and_watchers_hear_once_of_each_end() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        _, (a, b, _) = await family_of(system, log, Strategy.ONE_FOR_ALL)
        watcher_log: list[str] = []
        watcher = await system.spawn(Director, watcher_log, name="w")
        await system.ask(watcher, WatchIt(b), timeout_s=1)
        system.tell(a, Fail())
        await asyncio.sleep(2)
        downs = [line for line in log if line.startswith("down")]
        assert downs == [
            "down /p/a#1 restarting: ValueError: as asked",
            "down /p/c#1 restarting: together with /p/a: ValueError: as asked",
            "down /p/b#1 restarting: together with /p/a: ValueError: as asked",
        ]
        assert [line for line in watcher_log if line.startswith("down")] == downs[2:]


@virtual
async def test_several_failures_at_once_are_one_restart() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        refs = await group_of(
            system, log, Supervision(max_restarts=1, backoff_s=1.0, strategy=Strategy.ONE_FOR_ALL)
        )
        for ref in refs:
            system.tell(ref, Fail())
        await asyncio.sleep(5)
        assert lives(system) == {"/a": 2, "/b": 2, "/c": 2}


@virtual
async def test_who_was_stopped_on_purpose_stays_down() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        a, b, _ = await group_of(system, log, ALL)
        await system.stop(b)
        system.tell(a, Fail())
        await asyncio.sleep(2)
        assert lives(system) == {"/a": 2, "/c": 2}


@pytest.mark.parametrize("after_s", [0.0, 0.5])
def test_who_is_stopped_in_the_middle_of_a_restart_stays_down(after_s: float) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            a, b, _ = await group_of(system, log, ALL)
            system.tell(b, Sleep(30))
            system.tell(a, Fail())
            await asyncio.sleep(after_s)
            await system.stop(b)
            await asyncio.sleep(5)
            assert lives(system) == {"/a": 2, "/c": 2}
            with pytest.raises(ActorDown, match=r"/b is down \(for good\)"):
                await system.ask(b, Echo(), timeout_s=1)

    scenario()


@virtual
async def test_a_sibling_that_will_not_end_is_left_behind_and_started_again() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        a, b, _ = await group_of(system, log, ALL)
        system.tell(b, Cling())
        await settle()
        system.tell(a, Fail())
        await asyncio.sleep(3)
        assert lives(system) == {"/a": 2, "/b": 2, "/c": 2}
        assert system.statistics()["stray_tasks"] == 1
        assert await system.ask(b, Echo("second life"), timeout_s=1) == Note("second life")


@virtual
async def test_a_sibling_whose_on_stop_never_returns_has_a_limit() -> None:
    class Endless(Performer):
        async def on_stop(self, ctx: Context) -> None:
            await asyncio.sleep(1000)

    async with ActorSystem() as system:
        log: list[str] = []
        a = await system.spawn(Performer, log, name="a", supervision=ALL)
        await system.spawn(Endless, log, name="b", supervision=ALL)
        system.tell(a, Fail())
        await asyncio.sleep(7)
        assert lives(system) == {"/a": 2, "/b": 2}


@virtual
async def test_a_sibling_that_fails_while_it_is_stopped_is_started_again_and_not_counted() -> None:
    class Clumsy(Performer):
        async def on_stop(self, ctx: Context) -> None:
            raise LookupError("while cleaning up")

    async with ActorSystem() as system:
        log: list[str] = []
        rule = Supervision(max_restarts=1, backoff_s=1.0, strategy=Strategy.ONE_FOR_ALL)
        a = await system.spawn(Performer, log, name="a", supervision=rule)
        await system.spawn(Clumsy, log, name="b", supervision=rule)
        system.tell(a, Fail())
        await asyncio.sleep(3)
        assert lives(system) == {"/a": 2, "/b": 2}


@virtual
async def test_a_start_that_fails_counts_and_the_group_is_given_up_in_the_end() -> None:
    class Unlucky(Performer):
        async def on_start(self, ctx: Context) -> None:
            await super().on_start(ctx)
            if ctx.incarnation > 1:
                raise ValueError("no luck")

    async with ActorSystem() as system:
        log: list[str] = []
        a = await system.spawn(Performer, log, "a", name="a", supervision=ALL)
        await system.spawn(Unlucky, log, "b", name="b", supervision=ALL)
        log.clear()
        system.tell(a, Fail())
        await asyncio.sleep(60)
        assert [line for line in log if line.startswith("start")] == [
            f"start {name}#{life}" for life in (2, 3, 4) for name in "ab"
        ]
        assert system.tree() == ()
        assert system._known().groups == {}


@pytest.mark.parametrize(
    ("strategy", "left"), [(Strategy.ONE_FOR_ALL, set()), (Strategy.REST_FOR_ONE, {"/p/a"})]
)
def test_a_group_that_is_given_up_stays_down(strategy: Strategy, left: set[str]) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            _, (_, b, _) = await family_of(system, log, strategy, max_restarts=1)
            for _ in range(2):
                system.tell(b, Fail())
                await asyncio.sleep(3)
            (parent,) = system.tree()
            assert {node.path for node in parent.children} == left
            downs = [line for line in log if line.startswith("down") and "for good" in line]
            assert downs[0].startswith(
                "down /p/b#2 for good: ValueError: as asked (restarts exhausted: failed 2"
            )
            assert downs[1].startswith("down /p/c#2 for good: ")
            assert len(downs) == 3 - len(left)

    scenario()


@virtual
async def test_a_group_that_is_given_up_may_fail_its_parent() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        parent = await system.spawn(Parent, log, name="p", supervision=supervised())
        await system.ask(parent, Family("one_for_all", max_restarts=0, escalate=True), timeout_s=1)
        system.tell(system._known().cells["/p/a"].ref, Fail())
        await asyncio.sleep(1)
        assert log.count("failure /p: ActorError") == 1
        assert lives(system) == {"/p": 2}
        assert system._known().groups == {}


@pytest.mark.parametrize("after_s", [0.0, 0.5])
@pytest.mark.parametrize("timeout_s", [0.0, 5.0])
def test_a_stop_of_the_parent_ends_a_restart(after_s: float, timeout_s: float) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            parent, (a, b, _) = await family_of(system, log, Strategy.ONE_FOR_ALL)
            system.tell(b, Sleep(30))
            system.tell(a, Fail())
            await asyncio.sleep(after_s)
            await system.stop(parent, timeout_s=timeout_s)
            log.clear()
            assert system.statistics()["actors"] == 0
            await asyncio.sleep(60)
            assert log == []

    scenario()


@virtual
async def test_a_shutdown_in_the_middle_of_a_restart_leaves_nothing() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        a, b, _ = await group_of(system, log, ALL)
        system.tell(b, Cling())
        await settle()
        system.tell(a, Fail())
        await settle()
        report = await system.shutdown(2.0)
        assert report.duration_s <= 2.0
        assert not [line for line in log if line.endswith("#2")]


@virtual
async def test_a_parent_may_stop_a_member_that_waits_for_its_next_life() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        parent, (a, b, _) = await family_of(system, log, Strategy.REST_FOR_ONE)
        system.tell(a, Fail())
        await settle()
        await system.ask(parent, StopChild(b), timeout_s=1)
        await asyncio.sleep(3)
        (node,) = system.tree()
        assert [child.path for child in node.children] == ["/p/a", "/p/c"]
        assert "down /p/b#1 for good: stopped" in log


@virtual
async def test_siblings_join_the_epoch_that_is_under_way() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        parent, (a, _, c) = await family_of(system, log, Strategy.ONE_FOR_ALL)
        running = asyncio.create_task(system.ask(parent, RunEpoch(1, 10), timeout_s=60))
        waiting = asyncio.create_task(system.wait_epoch(c, 1, timeout_s=60))
        await asyncio.sleep(1)
        system.tell(a, Fail())
        await asyncio.sleep(3)
        (node,) = system.tree()
        assert [(child.incarnation, child.state) for child in node.children] == [(2, "running(1)")] * 3
        await running
        assert (await waiting).state is State.EPOCH_DONE


@virtual
async def test_a_group_of_its_own_for_a_new_family_at_the_same_place() -> None:
    """What is left of one that was given up must not touch its successor."""
    async with ActorSystem() as system:
        log: list[str] = []
        rule = Supervision(max_restarts=0, strategy=Strategy.ONE_FOR_ALL)
        _, b, c = await group_of(system, log, rule)
        with pytest.raises(Expired):
            await system.ask(b, Cling(), timeout_s=0.1)
        system.tell(c, Fail())
        await asyncio.sleep(0.2)
        new = [await system.spawn(Performer, log, name=f"new-{name}", supervision=rule) for name in "ab"]
        await asyncio.sleep(10)
        system.tell(new[0], Fail())
        await asyncio.sleep(10)
        assert system.tree() == ()
        assert system._known().groups == {}
