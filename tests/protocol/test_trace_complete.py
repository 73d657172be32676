"""Everything leaves a trace (law 10): a system does all that it can do, and its trace adds up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from actors import (
    Actor,
    ActorError,
    ActorRef,
    ActorSystem,
    Context,
    JobToken,
    Overflow,
    State,
    Strategy,
    Supervision,
    message,
    on,
)
from actors.tracing import EVENT_KINDS, Trace, TraceEvent, TraceOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from pathlib import Path

LIMIT_S = 20.0
SHORT_S = 0.03
WHATS = (
    *("nothing", "fail", "job", "bad_job", "foreign", "upward", "later", "brood", "slow"),
    *("foreign_for_long", "unknown"),
)
# What goes wrong is kept whatever the sample; it may be about a message that is not in it.
KEPT_ALWAYS = {"drop", "error", "refuse", "full", "state", "snapshot", "restore"}


@message("trace_complete.do")
class Do:
    what: str


@message("trace_complete.done")
class Done:
    what: str


class Leaf(Actor):
    """Does one thing of each kind."""

    def __init__(self, held: threading.Event) -> None:
        self.held = held

    async def snapshot(self, _: Context) -> Done:
        return Done("kept")

    async def restore(self, state: Any, _: Context) -> None:
        assert state == Done("kept")

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done | None:
        return await getattr(self, msg.what)(ctx) or Done(msg.what)

    @on(Done, when=State.RUNNING)
    async def work(self, msg: Done, _: Context) -> Done:
        return msg

    async def nothing(self, _: Context) -> None: ...

    async def fail(self, _: Context) -> None:
        raise ValueError("as asked")

    async def job(self, ctx: Context) -> None:
        await ctx.offload(lambda _: None)

    async def bad_job(self, ctx: Context) -> None:
        await ctx.offload(lambda _: 1 // 0)

    async def stuck_job(self, ctx: Context) -> None:
        await ctx.offload_within(SHORT_S, self._hold)

    def _hold(self, _: JobToken) -> None:
        self.held.wait(LIMIT_S)

    async def foreign(self, ctx: Context) -> None:
        await ctx.wait(asyncio.sleep(0), reason="a moment")

    async def foreign_for_long(self, ctx: Context) -> None:
        await ctx.wait(asyncio.sleep(LIMIT_S), reason="too long", timeout_s=SHORT_S)

    async def upward(self, ctx: Context) -> None:
        assert ctx.parent is not None
        with contextlib.suppress(ActorError):
            await ctx.ask(ctx.parent, Do("nothing"))

    async def later(self, ctx: Context) -> None:
        ctx.tell_later(0.0, ctx.self_ref, Do("nothing"))
        ctx.tell_later(LIMIT_S, ctx.self_ref, Do("nothing"))

    async def brood(self, ctx: Context) -> None:
        child = await ctx.spawn(Leaf, self.held)
        ctx.watch(child)
        ctx.unwatch(child)
        ctx.watch(child)
        await ctx.stop(child)
        ctx.watch(child)

    async def slow(self, _: Context) -> None:
        await asyncio.sleep(SHORT_S)

    async def late(self, _: Context) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(LIMIT_S)


class Branch(Actor):
    """Has the leaves do it."""

    def __init__(self, held: threading.Event, strategy: Strategy) -> None:
        self.held = held
        self.supervision = Supervision(strategy=strategy, max_restarts=99, window_s=99.0, backoff_s=0.0)
        self.leaves: list[ActorRef[Leaf]] = []

    async def on_start(self, ctx: Context) -> None:
        self.leaves = [
            await ctx.spawn(Leaf, self.held, name=name, supervision=self.supervision) for name in "ab"
        ]

    @on(Do)
    async def do(self, msg: Do, ctx: Context) -> Done:
        asks: list[tuple[ActorRef[Any], Any]] = [(leaf, msg) for leaf in self.leaves]
        await ctx.ask_all(asks, timeout_s=2 * SHORT_S)
        return Done(msg.what)

    @on(Done)
    async def epoch(self, msg: Done, ctx: Context) -> Done:
        async with ctx.epoch(ctx.current_epoch + 1, timeout_s=LIMIT_S):
            await ctx.ask_all([(leaf, msg) for leaf in self.leaves])
            if msg.what == "lose one":
                with contextlib.suppress(ActorError):
                    await ctx.ask(self.leaves[0], Do("fail"))
            if msg.what == "break off":
                raise RuntimeError("no more of this epoch")
        return msg


class Crier(Actor):
    """Tells a receiver more than it has room for."""

    def __init__(self, to: ActorRef[Any]) -> None:
        self.to = to

    @on(Do)
    async def cry(self, msg: Do, ctx: Context) -> None:
        for _ in range(4):
            ctx.tell(self.to, Done(msg.what))


async def quietly(call: Awaitable[Any]) -> None:
    with contextlib.suppress(ActorError, asyncio.CancelledError):
        await call


async def all_of_a_branch(system: ActorSystem, held: threading.Event, strategy: Strategy) -> None:
    branch = await system.spawn(
        Branch,
        held,
        strategy,
        name=strategy.value.replace("_", "-"),
        supervision=Supervision(max_restarts=99, window_s=99.0, backoff_s=0.0),
    )
    for what in ("begin", "lose one", "break off"):
        await quietly(system.ask(branch, Done(what), timeout_s=LIMIT_S))
    for what in WHATS:
        await quietly(system.ask(branch, Do(what), timeout_s=LIMIT_S))
    await quietly(system.ask(branch, Do("late"), timeout_s=SHORT_S))
    given_up = asyncio.ensure_future(quietly(system.ask(branch, Do("late"), timeout_s=LIMIT_S)))
    await asyncio.sleep(0.001)
    given_up.cancel()
    await asyncio.wait([given_up])


async def all_of_a_mailbox(system: ActorSystem, held: threading.Event, overflow: Overflow) -> None:
    leaf = await system.spawn(Leaf, held, capacity=2, overflow=overflow)
    asks = [
        asyncio.ensure_future(quietly(system.ask(leaf, Do("slow"), timeout_s=limit_s)))
        for limit_s in (1.0, 1.0, 1.0, 0.001, 1.0, 1.0)
    ]
    await asyncio.sleep(0)
    with contextlib.suppress(ActorError):
        system.tell(leaf, Do("nothing"))
    asks[-1].cancel()
    await asyncio.wait(asks)
    await system.stop(leaf)
    system.tell(leaf, Do("nothing"))
    await quietly(system.ask(leaf, Do("nothing")))


async def all_of_it(options: TraceOptions) -> list[TraceEvent]:
    """Have a system do all that it can; its events in memory."""
    held = threading.Event()
    async with asyncio.timeout(LIMIT_S), ActorSystem("all", trace=options, shutdown_s=0.5) as system:
        receiver = system.receiver(capacity=2)
        for strategy in Strategy:
            await all_of_a_branch(system, held, strategy)
        for overflow in Overflow:
            await all_of_a_mailbox(system, held, overflow)
        crier = await system.spawn(Crier, receiver.ref)
        receiver.watch(crier)
        system.tell(crier, Do("hear"))
        await receiver.receive(timeout_s=LIMIT_S)
        await system.stop(crier)
        await quietly(system.ask(receiver.ref, Do("nothing")))
        lone = await system.spawn(Leaf, held, name="lone")
        await quietly(system.ask(lone, Do("stuck_job"), timeout_s=LIMIT_S))
        last = await system.spawn(Leaf, held, name="last")
        open_to_the_end = [
            asyncio.ensure_future(quietly(call))
            for call in (
                system.receiver().receive(timeout_s=LIMIT_S),
                system.wait_epoch(last, 9, timeout_s=LIMIT_S),
                system.ask(last, Do("late"), timeout_s=LIMIT_S),
                system.ask(last, Do("nothing"), timeout_s=LIMIT_S),
            )
        ]
        await asyncio.sleep(0.001)
        receiver.close()
        async for _ in receiver:
            pass
        tracer = system.tracer
        held.set()
    await asyncio.wait(open_to_the_end)
    assert tracer is not None
    return tracer.events()


def faults(events: list[TraceEvent], *, sampled: bool = False) -> Iterator[tuple[str, TraceEvent]]:  # noqa: C901, PLR0912 - one list of what must hold
    """What does not add up."""
    waits: dict[int, TraceEvent] = {}
    sends: dict[int, TraceEvent] = {}
    receives: dict[int, TraceEvent] = {}
    ended: Counter[int] = Counter()
    done: Counter[int] = Counter()
    dropped: set[int] = set()
    before_s = events[0].time_s
    for event in events:
        if event.time_s < before_s:
            yield "it is older than the one before", event
        before_s = event.time_s
        if event.kind not in EVENT_KINDS:
            yield "nobody knows its kind", event
        if event.incarnation and not event.state and event.kind != "wait_end":
            yield "it does not say the state", event
        unknown = event.cause_id and event.cause_id not in sends
        if unknown and not (sampled and event.kind in KEPT_ALWAYS):
            yield "its cause is unknown", event
        if event.kind == "wait":
            if event.wait_id in waits or event.limit_s <= 0:
                yield "it began before, or has no limit", event
            waits[event.wait_id] = event
        elif event.kind == "wait_end":
            ended[event.wait_id] += 1
            begun = waits.get(event.wait_id)
            if begun is None or (begun.actor, begun.type, begun.msg_id) != (
                event.actor,
                event.type,
                event.msg_id,
            ):
                yield "nothing like that has begun", event
        elif event.kind == "send":
            if event.msg_id in sends or event.size <= 0:
                yield "it was sent before, or has no size", event
            sends[event.msg_id] = event
        elif event.kind == "receive":
            if event.msg_id in receives or event.msg_id not in sends:
                yield "it was received before, or never sent", event
            receives[event.msg_id] = event
        elif event.kind == "done":
            done[event.msg_id] += 1
            begun = receives.get(event.msg_id)
            if begun is None or (begun.actor, begun.incarnation) != (event.actor, event.incarnation):
                yield "nobody has begun with it here", event
        elif event.kind == "drop":
            dropped.add(event.msg_id)
    yield from (("it has not one end", event) for number, event in waits.items() if ended[number] != 1)
    yield from (
        ("it is not done with once", event) for number, event in receives.items() if done[number] != 1
    )
    fates = {*receives, *dropped, *ended}
    yield from (("nothing became of it", event) for number, event in sends.items() if number not in fates)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "actors")


async def test_what_a_system_does_adds_up_in_its_trace(tmp_path: Path) -> None:
    in_memory = await all_of_it(TraceOptions(tmp_path / "trace"))
    trace = Trace.open(tmp_path / "trace")
    assert not trace.damage
    assert list(trace) == in_memory
    assert list(faults(in_memory)) == []
    missing = set(EVENT_KINDS) - {event.kind for event in in_memory} - {"blocked"}
    assert missing == {"fault", "gap", "dump"}


@pytest.mark.parametrize("sample", [0.0, 0.3, 0.7])
async def test_a_sample_adds_up_too(sample: float, tmp_path: Path) -> None:
    await all_of_it(TraceOptions(tmp_path / "trace", sample=sample))
    events = list(Trace.open(tmp_path / "trace"))
    assert list(faults(events, sampled=True)) == []
    assert ("send" in {event.kind for event in events if event.actor == "outside"}) == (sample > 0)


async def test_no_wait_for_an_answer_is_left_open_where_none_is_kept(tmp_path: Path) -> None:
    await all_of_it(TraceOptions(tmp_path / "trace", level="waits"))
    events = list(Trace.open(tmp_path / "trace"))
    begun = Counter(event.wait_id for event in events if event.kind == "wait")
    assert begun
    assert begun == Counter(event.wait_id for event in events if event.kind == "wait_end")
    assert not any("reply to" in event.detail for event in events if event.kind == "wait")
    assert not {"send", "receive", "done", "reply"} & {event.kind for event in events}
