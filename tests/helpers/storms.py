"""More scenarios: crossing deadlines, partial failures, comings and goings, readers outside."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from actors import (
    Actor,
    ActorDown,
    ActorError,
    AskError,
    AskFailed,
    Context,
    Expired,
    MailboxFull,
    Overflow,
    Request,
    SystemClosed,
    message,
    on,
)
from tests.helpers.cast import (
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
from tests.helpers.scenarios import Coordinator, Observer, RunEpoch, attempt, insist, spawned

if TYPE_CHECKING:
    from actors import ActorRef
    from actors.simulation import Simulation

LEAF_DEPTH = 3
SLACK_S = 0.002  # a remaining time travels in whole milliseconds


@message("storms.dig")
class Dig(Request[Note]):
    """Asked: ask the next one below with the first of these timeouts; at the bottom, sleep."""

    timeouts_s: tuple[float, ...]
    sleep_s: float
    remaining_s: float


class Digger(Performer):
    """One of a chain: has so many below it."""

    def __init__(self, below: int) -> None:
        super().__init__()
        self.below = below

    async def on_start(self, ctx: Context) -> None:
        if self.below:
            await ctx.spawn(Digger, self.below - 1, name="next", supervision=supervised())

    @on(Dig)
    async def dig(self, msg: Dig, ctx: Context) -> Note:
        assert ctx.remaining_s <= msg.remaining_s + SLACK_S, "a deadline has grown on its way down"
        if not msg.timeouts_s:
            await asyncio.sleep(msg.sleep_s)
            return Note("dug")
        timeout_s, *rest = msg.timeouts_s
        further = Dig(tuple(rest), msg.sleep_s, min(timeout_s, ctx.remaining_s))
        try:
            return await ctx.ask(ctx.children[0], further, timeout_s=timeout_s)
        except (Expired, ActorDown, AskFailed, IndexError) as error:
            return Note(type(error).__name__)


async def descent(sim: Simulation) -> None:
    """Asks go three levels down, each with a timeout of its own, shorter or longer than that above it."""
    top = await spawned(sim, Digger, 2, name="top", supervision=supervised())

    async def dig() -> None:
        for _ in range(3):
            timeouts_s = tuple(sim.random.choice((0.05, 0.3, 5.0)) for _ in range(2))
            limit_s, sleep_s = sim.random.choice((0.1, 1.0)), sim.random.choice((0.0, 0.04, 0.4))
            try:
                answer = await sim.system.ask(top, Dig(timeouts_s, sleep_s, limit_s), timeout_s=limit_s)
            except ActorError as error:
                if not (sim.faulty or isinstance(error, Expired)):
                    raise
                await asyncio.sleep(0.3)
            else:
                assert sim.faulty or answer.text in {"dug", "Expired"}

    await asyncio.gather(*(sim.call(dig()) for _ in range(2)))


@message("storms.collect")
class Collect(Request[Note]):
    """Asked: ask all children at once, each for something else."""


class Collector(Performer):
    """Asks many, some of which fail, are late, or are gone."""

    async def on_start(self, ctx: Context) -> None:
        for name in ("well", "failing", "late", "gone"):
            await ctx.spawn(Performer, name=name, supervision=supervised())

    @on(Collect)
    async def collect(self, msg: Collect, ctx: Context) -> Note:
        well, failing, late, gone = self.known(ctx)
        await ctx.stop(gone, timeout_s=0.1)
        wanted = [(well, Echo("a")), (failing, Fail()), (late, Sleep(5.0)), (gone, Echo("b"))]
        answers = await ctx.ask_all(wanted, timeout_s=1.0)
        return Note(
            ",".join(answer.text if isinstance(answer, Note) else type(answer).__name__ for answer in answers)
        )

    def known(self, ctx: Context) -> tuple[ActorRef[Any], ...]:
        """Its four children, whether they still live or not."""
        if not hasattr(self, "refs"):
            self.refs = ctx.children
        return self.refs


async def partial_failures(sim: Simulation) -> None:
    """A fan-out in which each child ends its ask in another way, while others ask the children too."""
    top = await spawned(sim, Collector, name="top", supervision=supervised())
    others = [cell.ref for cell in sim.host.cells.values() if cell.parent is not None]

    async def press(ref: ActorRef[Any]) -> None:
        for _ in range(2):
            await attempt(sim, ref, Echo("from outside"), timeout_s=1.0)

    pressing = [sim.call(press(ref)) for ref in others]
    answer = await insist(sim, lambda: sim.system.ask(top, Collect(), timeout_s=5.0))
    assert sim.faulty or answer.text == "a,AskFailed,Expired,ActorDown"
    await asyncio.wait(pressing)


@message("storms.tick")
class Tick:
    """Told to oneself later."""

    incarnation: int
    number: int


class Clockwork(Performer):
    """Reminds itself, in each life anew."""

    async def on_start(self, ctx: Context) -> None:
        self.ticks: list[int] = []
        ctx.tell_later(0.1, ctx.self_ref, Tick(ctx.incarnation, 1))

    @on(Tick)
    async def tick(self, msg: Tick, ctx: Context) -> None:
        assert msg.incarnation == ctx.incarnation, "a reminder of an earlier life"
        self.ticks.append(msg.number)
        ctx.tell_later(0.1, ctx.self_ref, Tick(ctx.incarnation, msg.number + 1))

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        assert self.ticks == list(range(1, len(self.ticks) + 1)), (
            "reminders are lost, doubled or out of order"
        )
        return Note(str(len(self.ticks)))


async def reminders(sim: Simulation) -> None:
    """Actors tell themselves something later, fail in between, and are stopped before it comes."""
    quick = supervised(backoff_s=0.02)
    refs = [await spawned(sim, Clockwork, capacity=4, supervision=quick) for _ in range(2)]
    await asyncio.sleep(0.55)
    counted = await insist(sim, lambda: sim.system.ask(refs[0], Echo(), timeout_s=1.0))
    assert sim.faulty or counted == Note("5")
    sim.system.tell(refs[0], Fail())
    await asyncio.sleep(sim.random.random())
    for ref in refs:
        await attempt(sim, ref, Echo())
    await sim.system.stop(refs[1], timeout_s=sim.random.choice((0.0, 1.0)))
    await asyncio.sleep(0.5)


class Foreigner(Performer):
    """Waits for what is not of the runtime, which the test holds."""

    def __init__(self, futures: list[asyncio.Future[str]]) -> None:
        super().__init__()
        self.futures = futures

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        future = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        try:
            return Note(await ctx.wait(future, timeout_s=0.5, reason="somebody outside"))
        except (Expired, ValueError, asyncio.InvalidStateError) as error:
            return Note(type(error).__name__)


async def foreign_waits(sim: Simulation) -> None:
    """Actors wait for futures that somebody else completes, fails, cancels or forgets."""
    futures: list[asyncio.Future[str]] = []
    refs = [await spawned(sim, Foreigner, futures, supervision=supervised()) for _ in range(2)]

    async def ask(ref: ActorRef[Any]) -> None:
        for _ in range(3):
            await attempt(sim, ref, Echo(), timeout_s=sim.random.choice((0.2, 2.0)))

    callers = [sim.call(ask(ref)) for ref in refs for _ in range(2)]
    endings = (
        lambda future: future.set_result("done"),
        lambda future: future.set_exception(ValueError("foreign")),
        lambda future: future.cancel(),
        id,  # forgotten
    )
    for _ in range(12):
        await asyncio.sleep(sim.random.choice((0.0, 0.1, 0.3)))
        for future in futures:
            if not future.done():
                sim.random.choice(endings)(future)
        futures.clear()
    await asyncio.wait(callers)


async def watch_churn(sim: Simulation) -> None:
    """Watchers that fail and come back watch actors that come and go under the same names."""
    quick = supervised(9, backoff_s=0.001)
    eyes = [await spawned(sim, Observer, name=name, supervision=quick) for name in ("left", "right")]

    async def come_and_go(name: str) -> None:
        for _ in range(3):
            try:
                ref = await sim.system.spawn(Performer, name=name, supervision=supervised(1, backoff_s=0.02))
            except (ActorError, ValueError):
                await asyncio.sleep(0.05)
                continue
            for eye in eyes:
                sim.call(attempt(sim, eye, WatchIt(ref)))
            sim.system.tell(ref, Fail())
            await asyncio.sleep(sim.random.random() * 0.05)
            sim.system.tell(sim.random.choice(eyes), Fail(sim.random.choice(("ValueError", "SystemExit"))))
            await sim.system.stop(ref, timeout_s=sim.random.choice((0.0, 0.1)))

    await asyncio.gather(*(sim.call(come_and_go(name)) for name in "ab"))


class Reluctant(Director):
    """Does not always start: at random it fails, hangs, or is slow."""

    def __init__(self, moods: list[str]) -> None:
        super().__init__()
        self.mood = moods.pop() if moods else "well"

    async def on_start(self, ctx: Context) -> None:
        if self.mood == "failing":
            raise ValueError("not today")
        await asyncio.sleep({"well": 0.0, "slow": 0.1, "hanging": 100.0}[self.mood])


async def comings_and_goings(sim: Simulation) -> None:
    """Storms of spawns and stops: names clash, starts fail or hang, whole trees go while others are asked."""
    moods = [sim.random.choice(("well", "failing", "slow", "hanging")) for _ in range(20)]

    async def storm() -> None:
        for _ in range(4):
            name = sim.random.choice("abc")
            try:
                ref = await sim.system.spawn(
                    Reluctant, moods, name=name, supervision=supervised(1), handler_timeout_s=0.5
                )
                child = await sim.system.ask(ref, Spawn("child", 1), timeout_s=1.0)
                sim.system.tell(child.ref, Fail())
                await sim.system.ask(ref, StopChild(child.ref, 0.2), timeout_s=1.0)
                await sim.system.stop(ref, timeout_s=sim.random.choice((0.0, 0.3)))
            except (ActorError, ValueError):
                await asyncio.sleep(sim.random.random() * 0.1)

    await asyncio.wait([sim.call(storm()) for _ in range(4)])


async def epochs_stopped(sim: Simulation) -> None:
    """A three-level tree runs epochs and is stopped meanwhile, anywhere, while others wait for its epochs."""
    root = await spawned(sim, Coordinator, name="root", supervision=supervised())
    refs = [root, *(cell.ref for cell in sim.host.cells.values())]

    async def run() -> None:
        for epoch in (1, 2, 3):
            try:
                await sim.system.ask(root, RunEpoch(epoch), timeout_s=5.0)
            except AskError:
                await asyncio.sleep(0.1)

    async def wait(epoch: int) -> None:
        try:
            lifecycle = await sim.system.wait_epoch(root, epoch, timeout_s=20.0)
        except (ActorDown, Expired):
            return
        assert lifecycle.over(epoch)

    async def stop(ref: ActorRef[Any]) -> None:
        await asyncio.sleep(sim.random.random() * 0.6)
        await sim.system.stop(ref, timeout_s=sim.random.choice((0.0, 0.05, 2.0)))

    callers = [sim.call(run()), *(sim.call(wait(epoch)) for epoch in (1, 2, 3))]
    callers += [sim.call(stop(ref)) for ref in (sim.random.choice(refs), root)]
    await asyncio.wait(callers)


async def epochs_pressed(sim: Simulation) -> None:
    """A three-level tree runs epochs while its leaves are kept busy and fail, also as an epoch ends."""
    root = await spawned(sim, Coordinator, name="root", supervision=supervised())
    leaves = [cell.ref for cell in sim.host.cells.values() if cell.depth == LEAF_DEPTH]

    async def run() -> None:
        for epoch in (1, 2, 3):
            await attempt(sim, root, RunEpoch(epoch), timeout_s=20.0)

    async def press(ref: ActorRef[Any]) -> None:
        for _ in range(4):
            await asyncio.sleep(sim.random.random() * 0.2)
            if sim.random.random() < 0.3:
                await attempt(sim, ref, Fail())
            await attempt(sim, ref, Sleep(sim.random.random() * 0.5))

    await asyncio.wait([sim.call(run()), *(sim.call(press(ref)) for ref in leaves)])


@message("storms.publish")
class Publish(Request[Note]):
    """Asked: tell everybody outside the next numbers."""

    count: int


class Publisher(Actor):
    """Tells receivers outside the tree numbers that grow."""

    def __init__(self, receivers: list[ActorRef[Any]], numbers: list[int]) -> None:
        self.receivers = receivers
        self.numbers = numbers

    @on(Publish)
    async def publish(self, msg: Publish, ctx: Context) -> Note:
        for _ in range(msg.count):
            self.numbers[0] += 1
            for ref in self.receivers:
                ctx.tell(ref, Note(str(self.numbers[0])))
            await asyncio.sleep(0.01)
        return Note("published")


async def subscribers(sim: Simulation) -> None:
    """Actors tell readers outside more than these take; it is read in order, and the oldest is lost."""
    receivers = [
        sim.system.receiver(capacity=capacity, overflow=Overflow.DROP_OLDEST) for capacity in (2, 50)
    ]
    numbers = [0]
    refs = [receiver.ref for receiver in receivers]
    publisher = await spawned(sim, Publisher, refs, numbers, supervision=supervised())
    read: list[list[int]] = [[], []]

    async def iterate() -> None:
        async for note in receivers[0]:
            read[0].append(int(note.text))
            await asyncio.sleep(sim.random.choice((0.0, 0.05)))

    async def receive() -> None:
        while True:
            try:
                note = await receivers[1].receive(timeout_s=sim.random.choice((0.005, 0.5)))
                read[1].append(int(note.text))
            except Expired:
                await asyncio.sleep(0.01)
            except SystemClosed:
                return

    readers = [sim.call(iterate()), sim.call(receive())]
    try:
        for _ in range(3):
            await attempt(sim, publisher, Publish(6))
    finally:
        for receiver in receivers:
            receiver.close()
    await asyncio.wait(readers)
    for taken in read:
        assert taken == sorted(set(taken)), "read twice, or out of order"
    assert sim.faulty or read[1] == list(range(1, numbers[0] + 1)), "lost although there was room"


async def heavy_messages(sim: Simulation) -> None:
    """Mailboxes that are full by bytes long before they are by number; some messages alone are too large."""
    refs = [
        await spawned(sim, Performer, bytes_max=300, overflow=overflow, supervision=supervised(9))
        for overflow in Overflow
    ]

    async def press(ref: ActorRef[Any]) -> None:
        for _ in range(4):
            text = "x" * sim.random.choice((1, 100, 250, 1000))
            try:
                sim.system.tell(ref, Note(text))
                sim.system.tell(ref, Fail() if sim.random.random() < 0.2 else Sleep(0.02))
            except MailboxFull:
                await asyncio.sleep(0.01)
            await attempt(sim, ref, Echo(text), timeout_s=sim.random.choice((0.02, 2.0)))

    await asyncio.wait([sim.call(press(ref)) for ref in refs for _ in range(4)])


STORMS = (
    descent,
    partial_failures,
    reminders,
    foreign_waits,
    watch_churn,
    comings_and_goings,
    epochs_stopped,
    epochs_pressed,
    subscribers,
    heavy_messages,
)
