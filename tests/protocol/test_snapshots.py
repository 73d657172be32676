"""State that outlives an incarnation: taken at epoch_done, handed to the next life."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    Request,
    State,
    Strategy,
    Supervision,
    freeze,
    message,
    on,
)
from tests.helpers.cast import Fail, Note, Performer, supervised
from tests.helpers.virtual_loop import virtual

Array = np.ndarray[Any, Any]


@message("snapshots.tally")
class Tally:
    """What a counter keeps."""

    count: int
    weights: np.ndarray[Any, Any]


@message("snapshots.run")
class RunEpoch(Request[Note]):
    """Asked: run an epoch in which every child counts one more; fail it if wanted."""

    epoch: int
    fail: bool = False


@message("snapshots.count")
class Count(Request[Note]):
    """Asked: count one more."""


class Unregistered:
    """No message."""


class Counter(Performer):
    """Counts, and keeps the count."""

    def __init__(self, log: list[str] | None = None, tag: str = "") -> None:
        super().__init__(log, tag)
        self.count = 0
        self.weights: Array = np.zeros(2)
        self.state: Any = None

    async def snapshot(self, ctx: Context) -> Any:
        self.log.append(f"snapshot {self.count} in {ctx.state.value}")
        if self.tag == "raises":
            raise LookupError("no state")
        if self.tag == "sleeps":
            await asyncio.sleep(1000)
        if self.tag == "unregistered":
            return Unregistered()
        if self.tag == "writable":
            return Tally(self.count, self.weights)
        return None if self.tag == "nothing" else Tally(self.count, freeze(self.weights.copy()))

    async def restore(self, state: Tally, ctx: Context) -> None:
        self.log.append(f"restore {state.count} in life {ctx.incarnation}")
        self.count, self.weights = state.count, state.weights.copy()
        assert not state.weights.flags.writeable

    @on(Count)
    async def counting(self, msg: Count, ctx: Context) -> Note:
        self.count += 1
        self.weights += 1
        return Note(f"{self.count} {self.weights[0]:g}")


class Boss(Performer):
    """Runs epochs; keeps no state."""

    async def on_start(self, ctx: Context) -> None:
        self.child = await ctx.spawn(Counter, self.log, self.tag, name="c", supervision=supervised())

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=10):
            answer: Note = await ctx.ask(self.child, Count())
            if msg.fail:
                raise ValueError("as asked")
        return answer


async def boss_of(
    system: ActorSystem, log: list[str], tag: str = ""
) -> tuple[ActorRef[Boss], ActorRef[Counter]]:
    boss = await system.spawn(Boss, log, tag, name="b", supervision=supervised())
    return boss, system._known().cells["/b/c"].ref


async def lose(system: ActorSystem, ref: ActorRef[Any]) -> None:
    with pytest.raises(AskFailed):
        await system.ask(ref, Fail(), timeout_s=1)


@virtual
async def test_the_next_life_gets_what_was_kept_at_the_end_of_the_last_epoch() -> None:
    async with ActorSystem(trace=True) as system:
        log: list[str] = []
        boss, child = await boss_of(system, log)
        for epoch in (1, 2):
            await system.ask(boss, RunEpoch(epoch), timeout_s=5)
        assert await system.ask(child, Count(), timeout_s=1) == Note("3 3")  # not kept: no epoch ended since
        log.clear()
        await lose(system, child)
        assert await system.ask(child, Count(), timeout_s=1) == Note("3 3")
        hooks = [line for line in log if line.startswith(("restore", "start"))]
        assert hooks == ["restore 2 in life 2", "start /b/c#2"]
        assert system.tracer is not None
        kinds = [event.kind for event in system.tracer.events() if event.type == "snapshots.tally"]
        assert kinds == ["snapshot", "snapshot", "restore"]


@virtual
async def test_a_first_life_and_one_without_a_snapshot_are_not_given_any() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        _, child = await boss_of(system, log)
        await lose(system, child)
        assert await system.ask(child, Count(), timeout_s=1) == Note("1 1")
        assert not [line for line in log if line.startswith("restore")]


@virtual
async def test_it_is_taken_before_the_epoch_is_over_and_not_when_it_fails() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        boss, _ = await boss_of(system, log)
        await system.ask(boss, RunEpoch(1), timeout_s=5)
        assert [line for line in log if line.startswith("snapshot")] == ["snapshot 1 in running"]
        with pytest.raises(AskFailed):
            await system.ask(boss, RunEpoch(2, fail=True), timeout_s=5)
        assert len([line for line in log if line.startswith("snapshot")]) == 1


@virtual
async def test_whoever_runs_its_own_epochs_is_asked_as_well() -> None:
    class Lone(Counter):
        @on(RunEpoch)
        async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=10):
                self.count += 10
            assert ctx.state is State.EPOCH_DONE
            return Note()

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Lone, log, supervision=supervised())
        await system.ask(ref, RunEpoch(1), timeout_s=5)
        await lose(system, ref)
        assert await system.ask(ref, Count(), timeout_s=1) == Note("11 1")


@virtual
async def test_it_survives_any_number_of_lives_and_is_dropped_at_the_end() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        boss, child = await boss_of(system, log)
        await system.ask(boss, RunEpoch(1), timeout_s=5)
        for _ in range(2):
            await lose(system, child)
            assert await system.ask(child, Count(), timeout_s=1) == Note("2 2")
        cell = system._known().cells[child.path]
        await lose(system, boss)  # another life of the parent has other children
        await asyncio.sleep(1)
        assert cell.snapshot is None
        new = system._known().cells["/b/c"].ref
        assert await system.ask(new, Count(), timeout_s=1) == Note("1 1")


@virtual
async def test_to_return_none_drops_what_was_kept() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        boss, child = await boss_of(system, log, "nothing")
        await system.ask(boss, RunEpoch(1), timeout_s=5)
        await lose(system, child)
        assert await system.ask(child, Count(), timeout_s=1) == Note("1 1")


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("raises", "LookupError: no state"),
        (
            "unregistered",
            "UnregisteredMessage: the snapshot of /b/c cannot be kept: .*Unregistered is no message",
        ),
        ("writable", "MutablePayload: the snapshot of /b/c cannot be kept: "),
    ],
)
def test_a_snapshot_that_fails_fails_the_epoch_and_the_actor(tag: str, why: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            boss, _ = await boss_of(system, log, tag)
            with pytest.raises(AskFailed, match=f"EpochFailed: epoch 1 did not end in /b/c: .*{why}"):
                await system.ask(boss, RunEpoch(1), timeout_s=5)
            await asyncio.sleep(0)
            assert f"failure {tag}: {why.partition(':')[0]}" in log

    scenario()


@virtual
async def test_a_snapshot_that_never_returns_ends_with_the_epoch() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        boss, _ = await boss_of(system, log, "sleeps")
        with pytest.raises(AskFailed, match="EpochFailed"):
            await system.ask(boss, RunEpoch(1), timeout_s=50)
        assert asyncio.get_running_loop().time() <= 10.0
        await asyncio.sleep(1)
        assert system.tree()[0].incarnation == 2


@virtual
async def test_what_a_dead_incarnation_says_late_is_not_kept() -> None:
    class Stubborn(Counter):
        async def snapshot(self, ctx: Context) -> Any:
            for _ in range(3):
                try:
                    await asyncio.sleep(5)
                except asyncio.CancelledError:
                    continue
            self.log.append("late")
            return Tally(99, freeze(np.zeros(2)))

        @on(RunEpoch)
        async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=1):
                pass
            return Note()

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Stubborn, log, supervision=supervised())
        with pytest.raises(Expired):
            await system.ask(ref, RunEpoch(1), timeout_s=1)
        await asyncio.sleep(30)
        assert "late" in log
        assert system._known().cells[ref.path].snapshot is None
        assert await system.ask(ref, Count(), timeout_s=1) == Note("1 1")


@virtual
async def test_a_restore_that_raises_is_a_failed_start() -> None:
    class Fussy(Counter):
        async def restore(self, state: Tally, ctx: Context) -> None:
            raise ValueError("not mine")

        @on(RunEpoch)
        async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=1):
                pass
            return Note()

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Fussy, log, name="f", supervision=supervised(2))
        await system.ask(ref, RunEpoch(1), timeout_s=1)
        await lose(system, ref)
        await asyncio.sleep(10)
        assert system.tree() == ()


@virtual
async def test_siblings_that_are_started_again_with_it_get_theirs() -> None:
    class Team(Performer):
        async def on_start(self, ctx: Context) -> None:
            rule = Supervision(backoff_s=0.1, strategy=Strategy.ONE_FOR_ALL)
            for name in "ab":
                await ctx.spawn(Counter, self.log, name, name=name, supervision=rule)

        @on(RunEpoch)
        async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
            async with ctx.epoch(msg.epoch, timeout_s=10):
                await ctx.ask_all([(child, Count()) for child in ctx.children])
            return Note()

    async with ActorSystem() as system:
        log: list[str] = []
        team = await system.spawn(Team, log, name="t")
        await system.ask(team, RunEpoch(1), timeout_s=5)
        a, b = (system._known().cells[f"/t/{name}"].ref for name in "ab")
        await lose(system, a)
        await asyncio.sleep(1)
        assert await system.ask(b, Count(), timeout_s=1) == Note("2 2")


def test_an_actor_has_both_hooks_or_none() -> None:
    with pytest.raises(TypeError, match="TakesOnly needs both `snapshot` and `restore`, or neither"):

        class TakesOnly(Actor):
            snapshot = Counter.snapshot

    with pytest.raises(TypeError, match="GivesOnly needs both"):

        class GivesOnly(Actor):
            restore = Counter.restore
