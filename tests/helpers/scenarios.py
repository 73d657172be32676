"""Scenarios for simulations: ordinary programs of actors, which must keep the laws whatever happens."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, TypeVar

from actors import (
    Actor,
    ActorError,
    AskError,
    Context,
    Down,
    Expired,
    JobToken,
    MailboxFull,
    Overflow,
    Request,
    State,
    Strategy,
    Supervision,
    message,
    on,
)
from actors.host import Phase
from tests.helpers.cast import (
    Cling,
    Director,
    Echo,
    Fail,
    Note,
    Performer,
    Sleep,
    Spawn,
    StopChild,
    WatchIt,
    supervised,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from actors import ActorRef
    from actors.simulation import Simulation
    from actors.tracing import TraceEvent


A = TypeVar("A", bound=Actor)
R = TypeVar("R")
ENDS = ("ValueError", "SystemExit", "CancelledError")


@message("scenarios.run_epoch")
class RunEpoch(Request[Note]):
    """Asked: run this epoch with all children."""

    epoch: int


@message("scenarios.compute")
class Compute(Request[Note]):
    """Asked: take part in the epoch."""

    epoch: int
    crash: bool = False


class Leaf(Performer):
    """Computes in a job, now and then crashes."""

    @on(Compute, when=State.RUNNING)
    async def compute(self, msg: Compute, ctx: Context) -> Note:
        assert ctx.current_epoch == msg.epoch, "work of another epoch"
        if msg.crash:
            raise ValueError("as asked")
        return Note(await ctx.offload_within(5.0, _label, msg.epoch))


def _label(token: JobToken, epoch: int) -> str:
    token.check()
    return str(epoch)


class Branch(Performer):
    """Shares the work out to its leaves, and asks again where one was restarted."""

    async def on_start(self, ctx: Context) -> None:
        for index in range(2):
            await ctx.spawn(Leaf, name=f"leaf-{index}", supervision=supervised(5, backoff_s=0.05))

    @on(Compute, when=State.RUNNING)
    async def compute(self, msg: Compute, ctx: Context) -> Note:
        pending = {
            child: Compute(msg.epoch, msg.crash and index == 0) for index, child in enumerate(ctx.children)
        }
        for _ in range(4):
            answers = await ctx.ask_all(pending.items(), timeout_s=10.0)
            lost = [ref for ref, answer in zip(pending, answers, strict=True) if isinstance(answer, AskError)]
            if not lost:
                return Note(str(msg.epoch))
            pending = {ref: Compute(msg.epoch) for ref in lost}
            await asyncio.sleep(0.2)
        raise ActorError("the leaves were lost too often")


class Coordinator(Performer):
    """Runs epochs over branches."""

    async def on_start(self, ctx: Context) -> None:
        for index in range(2):
            await ctx.spawn(Branch, name=f"branch-{index}", supervision=supervised(5, backoff_s=0.05))

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=50.0):
            work = [(child, Compute(msg.epoch, crash=msg.epoch == 2)) for child in ctx.children]
            answers = await ctx.ask_all(work, timeout_s=40.0)
        return Note(", ".join(answer.text for answer in answers if isinstance(answer, Note)))


class Observer(Director):
    """Hears of ends; twice of one is an error, but for a promised restart that is called off."""

    def __init__(self, log: list[str] | None = None, tag: str = "") -> None:
        super().__init__(log, tag)
        self.heard: set[tuple[ActorRef[Any], int, bool]] = set()

    async def on_down(self, down: Down, ctx: Context) -> None:
        if down.incarnation and down.reason != "between two lives":  # else it has asked for it, maybe again
            end = (down.ref, down.incarnation, down.restarting)
            assert end not in self.heard, f"heard twice: {down}"
            self.heard.add(end)


class Worker(Performer):
    """Offloads."""

    @on(Sleep)
    async def sleep(self, msg: Sleep, ctx: Context) -> Note:
        try:
            return Note(await ctx.offload_within(msg.seconds, _label, 1))
        except Expired:
            return Note("late")


class Stale(Performer):
    """Refuses to end when cancelled, and then tries to act on in the name of its successor."""

    @on(Cling)
    async def cling(self, msg: Cling, ctx: Context) -> Note:
        for _ in range(3):
            try:
                await asyncio.sleep(1.0)
            except asyncio.CancelledError:
                self.log.append("clinging")
        return Note("late")


async def fan_out(sim: Simulation) -> None:
    """Many callers ask many actors at once."""
    refs = [await spawned(sim, Performer, supervision=supervised()) for _ in range(3)]
    asks = [sim.call(sim.system.ask(ref, Echo(ref.path), timeout_s=5.0)) for ref in refs for _ in range(3)]
    answers = await asyncio.gather(*asks)
    assert [answer.text for answer in answers] == [ref.path for ref in refs for _ in range(3)]


async def epochs(sim: Simulation) -> None:
    """A three-level tree runs epochs; in the second one leaf of a branch crashes and is restarted."""
    root = await spawned(sim, Coordinator, name="root", supervision=supervised())
    epochs = itertools.count(1)  # one that failed is over, and its number with it
    for _ in range(3):
        answer = await insist(sim, lambda: sim.system.ask(root, RunEpoch(next(epochs)), timeout_s=60.0))
        assert sim.faulty or answer.text in {"1, 1", "2, 2", "3, 3"}
    lifecycle = await sim.system.wait_epoch(root, 3, timeout_s=1.0)
    assert sim.faulty or (lifecycle.failure is None and lifecycle.epoch == 3)


async def insist(sim: Simulation, attempt: Callable[[], Awaitable[R]]) -> R:
    """Try again where a fault may be the reason; without faults there is no second try."""
    for _ in range(4):
        try:
            return await attempt()
        except ActorError:
            if not sim.faulty:
                raise
            await asyncio.sleep(0.5)
    return await attempt()


async def spawned(sim: Simulation, actor: type[A], *args: Any, **options: Any) -> ActorRef[A]:
    return await insist(sim, lambda: sim.system.spawn(actor, *args, **options))


async def stops(sim: Simulation) -> None:
    """Two callers stop a tree at random moments, while it is asked and told, and a third shuts all down."""
    top = await spawned(sim, Branch, name="top", supervision=supervised())
    refs = [top, *(cell.ref for cell in sim.host.cells.values() if cell.parent is not None)]
    deadline_s = sim.random.choice((0.0, 0.1, 5.0))

    async def stop(ref: ActorRef[Any]) -> None:
        await asyncio.sleep(sim.random.random() * 0.3)
        await sim.system.stop(ref, timeout_s=deadline_s)

    async def press(ref: ActorRef[Any]) -> None:
        for index in range(5):
            try:
                sim.system.tell(ref, Fail() if index == sim.random.randrange(5) else Note("hurry"))
                await sim.system.ask(ref, Sleep(0.05), timeout_s=1.0)
            except ActorError:
                await asyncio.sleep(0.02)

    callers = [sim.call(action(ref)) for ref in refs for action in (stop, press)]
    await asyncio.wait(callers)
    report = await sim.system.shutdown(sim.random.choice((0.0, 1.0)))
    assert not sim.host.cells, report
    assert top not in [cell.ref for cell in sim.host.cells.values()]


async def watchers(sim: Simulation) -> None:
    """Two actors watch a third that fails; one of them fails too and watches again; parents hear as well."""
    target = await spawned(sim, Performer, name="target", supervision=supervised(2))
    eyes = [await spawned(sim, Observer, name=name, supervision=supervised()) for name in ("left", "right")]

    async def watch(ref: ActorRef[Any]) -> None:
        for _ in range(3):
            await attempt(sim, ref, WatchIt(target))
            await asyncio.sleep(sim.random.random() * 0.2)

    async def disturb() -> None:
        for ref in (target, eyes[0], target, target):
            sim.system.tell(ref, Fail())
            await asyncio.sleep(sim.random.random() * 0.2)

    receiver = sim.system.receiver()
    for ref in (target, *eyes):
        receiver.watch(ref)
    await asyncio.gather(*(sim.call(watch(eye)) for eye in eyes), sim.call(disturb()))
    receiver.unwatch(target)
    sim.system.tell(eyes[0], Fail())
    await asyncio.sleep(sim.random.random() * 0.2)
    receiver.close()
    heard = [(down.ref, down.incarnation) async for down in receiver if down.restarting]
    assert sim.faulty or heard, "there were failures"
    assert len(set(heard)) == len(heard), f"heard twice: {heard}"


async def jobs(sim: Simulation) -> None:
    """Jobs of random length, some past their deadline, more than there are threads."""
    refs = [await spawned(sim, Worker, supervision=supervised()) for _ in range(4)]
    asks = [
        sim.call(sim.system.ask(ref, Sleep(seconds), timeout_s=9.0)) for ref in refs for seconds in (0.1, 2.0)
    ]
    for ask in asks:
        assert (await ask).text in {"1", "late"}


async def impatience(sim: Simulation) -> None:
    """Callers leave at random moments; what they asked for is stopped, and the actors go on."""
    ref = await insist(
        sim,
        lambda: sim.system.spawn(
            Performer, name="patient", capacity=2, handler_timeout_s=1.0, supervision=supervised()
        ),
    )

    async def ask() -> None:
        await attempt(
            sim,
            ref,
            Sleep(sim.random.choice((0.0, 0.1, 0.2, 2.0))),
            timeout_s=sim.random.choice((0.1, 0.2, 3)),
        )

    callers = [sim.call(ask()) for _ in range(6)]
    for caller in callers:
        await asyncio.sleep(sim.random.choice((0.0, 0.1)))
        if sim.random.random() < 0.3:
            caller.cancel()
            sim.injector.counts["cancel_caller"] += 1
    await asyncio.wait(callers)
    sim.system.tell(ref, Sleep(100.0))  # longer than a handler may take
    assert sim.faulty or await sim.system.ask(ref, Echo("there"), timeout_s=5.0) == Note("there")


async def crowding(sim: Simulation) -> None:
    """Small mailboxes of every policy, more messages than they hold."""
    refs = [await spawned(sim, Performer, capacity=2, overflow=overflow) for overflow in Overflow]

    async def press(ref: ActorRef[Any]) -> None:
        for index in range(4):
            try:
                sim.system.tell(ref, Note(str(index)))
            except MailboxFull:
                await asyncio.sleep(0.01)
            await attempt(sim, ref, Sleep(0.01), timeout_s=2.0)

    await asyncio.gather(*(sim.call(press(ref)) for ref in refs for _ in range(3)))


async def clinging(sim: Simulation) -> None:
    """A handler outlives its incarnation; its successor works undisturbed."""
    ref = await spawned(sim, Stale, name="stale", supervision=supervised())
    await attempt(sim, ref, Cling(), timeout_s=0.2)

    async def press() -> None:
        for _ in range(12):
            await attempt(sim, ref, Sleep(0.2), timeout_s=1.0)

    await asyncio.gather(*(sim.call(press()) for _ in range(2)))


async def families(sim: Simulation) -> None:
    """Actors start, stop and lose children of their own, while they are asked."""
    top = await spawned(sim, Director, name="top", supervision=supervised())

    async def raise_children(name: str) -> None:
        for _ in range(3):
            try:
                child = (await sim.system.ask(top, Spawn(name, 2), timeout_s=5.0)).ref
                sim.system.tell(
                    child, Fail(sim.random.choice(("ValueError", "SystemExit", "CancelledError")))
                )
                await asyncio.sleep(sim.random.random() * 0.1)
                await sim.system.ask(top, StopChild(child, sim.random.choice((0.0, 0.5))), timeout_s=5.0)
            except (ActorError, ValueError):
                await asyncio.sleep(0.1)

    callers = [sim.call(raise_children(name)) for name in "ab"]
    await asyncio.sleep(sim.random.random() * 0.3)
    sim.system.tell(top, Fail())
    await asyncio.wait(callers)


GROUPS = {
    strategy: Supervision(max_restarts=4, window_s=5.0, backoff_s=0.05, strategy=strategy, escalate=escalate)
    for strategy, escalate in ((Strategy.ONE_FOR_ALL, False), (Strategy.REST_FOR_ONE, True))
}


class Member(Director):
    """Takes its time to stop."""

    async def on_stop(self, ctx: Context) -> None:
        await asyncio.sleep(0.2)


class Household(Director):
    """Has a group of each strategy."""

    async def on_start(self, ctx: Context) -> None:
        for strategy, rule in GROUPS.items():
            for index in range(3):
                await ctx.spawn(Member, name=f"{strategy.value}-{index}", supervision=rule)


async def groups(sim: Simulation) -> None:
    """Members of two groups fail, are stopped and are asked; who starts again, and when, is looked up."""
    house = await spawned(sim, Household, name="house", supervision=supervised(5))
    names = [f"{strategy.value}-{index}" for strategy in GROUPS for index in range(3)]

    async def press(name: str) -> None:
        for _ in range(2):
            await asyncio.sleep(sim.random.random() * 0.3)
            if (cell := sim.host.cells.get(f"/house/{name}")) is None:
                continue
            try:
                sim.system.tell(cell.ref, Fail(sim.random.choice(ENDS)))
                await sim.system.ask(cell.ref, Sleep(0.05), timeout_s=2.0)
            except ActorError:
                await asyncio.sleep(sim.random.random() * 0.3)

    callers = [sim.call(press(name)) for name in sim.random.sample(names, 3)]
    if sim.random.random() < 0.3 and (cell := sim.host.cells.get(f"/house/{sim.random.choice(names)}")):
        await attempt(sim, house, StopChild(cell.ref, 0.5))
    await asyncio.wait(callers)
    await asyncio.sleep(30.0)
    for strategy in GROUPS:
        assert not (found := list(disorder(sim.events(), strategy))), found
    standing = {cell.name: cell.phase for cell in sim.host.cells.values() if cell.parent is not None}
    assert sim.faulty or set(standing.values()) <= {Phase.LIVE}, standing


def disorder(events: list[TraceEvent], strategy: Strategy) -> Iterator[str]:
    """Yield what is wrong with the order in which the members of a group ended and started."""
    members: dict[str, _Member] = {}
    for at, event in enumerate(events):
        path = event.type if event.kind == "wait_end" else event.actor
        if not path.startswith(f"/house/{strategy.value}-"):
            continue
        if event.kind == "start" and event.incarnation == 1:
            members[path] = _Member()
        member = members[path]
        if event.kind == "start":
            if event.incarnation > 1:
                yield from _wrongs(path, members, strategy)
            member.alive, member.due, member.started_at = True, False, at
        elif event.kind == "end":
            member.alive, member.due, member.ended_at = False, False, at
        elif event.kind == "restart":
            member.due = True
        elif event.kind == "wait_end" and member.joined_at is None:
            member.joined_at = at


@dataclasses.dataclass(slots=True)
class _Member:
    alive: bool = True
    due: bool = False  # between two lives
    joined_at: int | None = None  # by then it has certainly started, and is in the group
    started_at: int = 0
    ended_at: int = 0


def _wrongs(path: str, members: dict[str, _Member], strategy: Strategy) -> Iterator[str]:
    for other, member in members.items():
        if member.joined_at is None or member.joined_at > members[path].ended_at:
            continue  # it may have come while the others were down
        if other < path and member.due:
            yield f"{path} starts before {other}"
        stays = member.alive and member.started_at < members[path].ended_at
        if stays and (other > path or (other < path and strategy is Strategy.ONE_FOR_ALL)):
            yield f"{path} starts again, and {other} has not ended"


@message("scenarios.done")
class Done:
    """What a ledger keeps: the epochs that it has finished well."""

    epochs: tuple[int, ...]


class Ledger(Performer):
    """Keeps the epochs it has finished; what it should find in its next life stands outside, in `kept`."""

    def __init__(self, kept: dict[ActorRef[Any], tuple[int, ...]], wrong: list[str]) -> None:
        super().__init__()
        self.kept = kept
        self.wrong = wrong
        self.epochs: tuple[int, ...] = ()

    async def snapshot(self, ctx: Context) -> Done:
        self.epochs += (ctx.current_epoch,)
        await asyncio.sleep(0.01)
        self.kept[ctx.self_ref] = self.epochs
        return Done(self.epochs)

    async def restore(self, state: Done, ctx: Context) -> None:
        await asyncio.sleep(0.01)
        self.epochs = tuple(state.epochs)

    async def on_start(self, ctx: Context) -> None:
        expected = self.kept.get(ctx.self_ref, ())
        if self.epochs != expected:
            self.wrong.append(f"{ctx.self_ref}#{ctx.incarnation} begins with {self.epochs}, not {expected}")

    @on(Compute, when=State.RUNNING)
    async def compute(self, msg: Compute, ctx: Context) -> Note:
        if msg.crash:
            raise ValueError("as asked")
        return Note(str(msg.epoch))


class Archive(Performer):
    """Runs epochs over ledgers; one of them fails in the middle of the second and is started again."""

    def __init__(self, kept: dict[ActorRef[Any], tuple[int, ...]], wrong: list[str]) -> None:
        super().__init__()
        self.kept, self.wrong = kept, wrong

    async def on_start(self, ctx: Context) -> None:
        for index in range(2):
            rule = supervised(5, backoff_s=0.05)
            await ctx.spawn(Ledger, self.kept, self.wrong, name=f"ledger-{index}", supervision=rule)

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Note:
        async with ctx.epoch(msg.epoch, timeout_s=20.0):
            work = [(ref, Compute(msg.epoch, crash=msg.epoch == 2)) for ref in ctx.children[:1]]
            await ctx.ask_all(work, timeout_s=10.0)
        return Note(str(msg.epoch))


async def snapshots(sim: Simulation) -> None:
    """What is kept at the end of an epoch is there in the next life, and nothing else."""
    kept: dict[ActorRef[Any], tuple[int, ...]] = {}
    wrong: list[str] = []
    root = await insist(
        sim, lambda: sim.system.spawn(Archive, kept, wrong, name="archive", supervision=supervised())
    )
    for epoch in (1, 2, 3):
        await attempt(sim, root, RunEpoch(epoch), timeout_s=30.0)
        for cell in list(sim.host.cells.values()):
            if cell.parent is not None and sim.random.random() < 0.3:
                await attempt(sim, cell.ref, Fail())
        await asyncio.sleep(1.0)
    assert not wrong, wrong


async def attempt(sim: Simulation, ref: ActorRef[Any], body: Any, timeout_s: float = 5.0) -> None:
    try:
        await sim.system.ask(ref, body, timeout_s=timeout_s)
    except ActorError:
        await asyncio.sleep(0.01)


SCENARIOS = (
    fan_out,
    epochs,
    stops,
    watchers,
    jobs,
    impatience,
    crowding,
    clinging,
    families,
    groups,
    snapshots,
)
