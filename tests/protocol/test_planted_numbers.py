"""Planted faults that show in numbers: the summary or the critical path names them in its first three lines.

How fast the machine is decides nothing: whoever is to be slow waits for the others first.
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorRef, ActorSystem, Context, Request, message, on
from actors.tracing import CriticalPath, Trace, critical, summarise
from crystalline.training import team
from crystalline.training.work import ShardWork
from tests.helpers.cast import Fail, Note, Performer, supervised
from tests.helpers.training import settings, trainer_of
from tests.helpers.virtual_loop import settle, virtual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actors import JobToken
    from crystalline.training.messages import ComputeShards
    from crystalline.training.team import Run

LIMIT_S = 20.0


@message("figures.work")
class Work(Request[Note]):
    """Asked: answer after so many seconds of something foreign."""

    seconds: float
    text: str = ""


@message("figures.go")
class Go(Request[Note]):
    """Asked: have some children work at the same time, so many times."""

    seconds: tuple[float, ...]
    texts: tuple[str, ...] = ()
    times: int = 1


class Worker(Performer):
    """Works, and may fail."""

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        await ctx.wait(asyncio.sleep(msg.seconds), timeout_s=100, reason="its work")
        return Note()


class Leader(Actor):
    """Has children work."""

    def __init__(self, children: int) -> None:
        self.children = children
        self.refs: list[ActorRef[Any]] = []

    async def on_start(self, ctx: Context) -> None:
        for index in range(self.children):
            name = f"worker-{index}"
            self.refs.append(await ctx.spawn(Worker, name=name, supervision=supervised(backoff_s=2.0)))

    @on(Go)
    async def go(self, msg: Go, ctx: Context) -> Note:
        texts = msg.texts or ("",) * len(msg.seconds)
        for _ in range(msg.times):
            works = [Work(*each) for each in zip(msg.seconds, texts, strict=True)]
            await ctx.ask_all(list(zip(self.refs, works, strict=True)), timeout_s=100)
        return Note()

    @on(Note)
    async def lose_one(self, msg: Note, ctx: Context) -> Note:
        """A child fails, and is asked again while it is down."""
        await ctx.ask_all([(self.refs[0], Fail()), (self.refs[1], Work(1.0))], timeout_s=100)
        await ctx.ask(self.refs[0], Work(1.0), timeout_s=100)
        return Note()


async def path_of(ask: Request[Any], children: int) -> CriticalPath:
    """The critical path of one ask of a leader."""
    async with ActorSystem(trace=True) as system:
        leader = await system.spawn(Leader, children, name="leader")
        await system.ask(leader, ask, timeout_s=200)
        assert system.tracer is not None
        return critical(Trace.of(system.tracer.events()))


@virtual
async def test_a_slow_child_is_named_with_what_it_costs() -> None:
    found = await path_of(Go((1.0, 5.0, 2.0), times=10), 3)
    whole, who, why = found.lines()[:3]
    assert "(figures.go) in /leader: 50.0 s" in whole
    assert who == "100% of it is /leader/worker-1, 50.0 s: waiting for outside: its work 50.0 s"
    assert why == (
        "had it been as fast as the second slowest each time, the whole would be 30.0 s (60%) shorter; "
        "its figures.work was as large as its siblings', but took 3.3 times as long: it is slower"
    )


@virtual
async def test_a_child_with_more_to_do_is_told_from_a_slow_one() -> None:
    found = await path_of(Go((1.0, 1.0, 4.0), texts=("x" * 100, "x" * 100, "x" * 400), times=3), 3)
    assert "/leader/worker-2" in found.lines()[1]
    assert found.lines()[2].endswith(
        "its figures.work was 3.7 times as large as its siblings' and took 4.0 times as long: "
        "it has more to do"
    )


@virtual
async def test_a_child_that_was_started_again_is_on_the_path_while_it_was_down() -> None:
    found = await path_of(Note(), 2)
    items = {(item.actor, item.what): item.seconds for item in found.items}
    assert items == pytest.approx(
        {
            ("/leader/worker-1", "waiting for outside: its work"): 1.0,
            ("/leader/worker-0", "being started again"): 1.0,  # of the 2 s that it was down
            ("/leader/worker-0", "waiting for outside: its work"): 1.0,
        }
    )
    assert found.seconds == pytest.approx(3.0)


class Noticing(logging.Handler):
    """Lets whoever blocks the event loop go on when the runtime has logged that."""

    def __init__(self) -> None:
        super().__init__()
        self.noticed = threading.Lock()
        self.noticed.acquire()

    def emit(self, record: logging.LogRecord) -> None:
        if self.noticed.locked():
            self.noticed.release()


@pytest.fixture
def noticing() -> Iterator[Noticing]:
    handler, logger = Noticing(), logging.getLogger("actors")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Blocker(Actor):
    """Holds the event loop until that was noticed."""

    def __init__(self, noticing: Noticing) -> None:
        self.noticing = noticing

    @on(Note)
    async def hold(self, msg: Note, ctx: Context) -> Note:
        assert self.noticing.noticed.acquire(timeout=LIMIT_S)
        return msg


async def test_who_blocks_the_loop_is_named_with_the_place(noticing: Noticing) -> None:
    async with ActorSystem(trace=True, blocked_after_s=0.05) as system:
        ref = await system.spawn(Blocker, noticing, name="blocker")
        await system.ask(ref, Note(), timeout_s=60)
        await settle()
        assert system.tracer is not None
        trace = Trace.of(system.tracer.events())
    for lines in (summarise(trace).lines(), critical(trace).lines()):
        assert lines[1].startswith("the event loop was blocked by /blocker 1 time, ")
        assert "test_planted_numbers.py" in lines[1]
        assert "hold" in lines[1]


class SlowSphere:
    """The job of the sphere with the first shard goes on for three times as long as the longest other."""

    def __init__(self, others: int) -> None:
        self._others = others
        self._took_s: dict[int, list[float]] = defaultdict(list)
        self._changed = threading.Condition()

    def after(self, request: ComputeShards, seconds: float) -> None:
        """Called in the thread, when its own work is done."""
        with self._changed:
            took_s = self._took_s[request.step]
            if request.run[0]:
                took_s.append(seconds)
                self._changed.notify_all()
                return
            assert self._changed.wait_for(lambda: len(took_s) == self._others, LIMIT_S)
        threading.Event().wait(3 * max(took_s) + 0.02)


async def trained(path: Path, spheres: int) -> Trace:
    """The trace of a small training."""
    train = settings(spheres=spheres, epochs=1)
    async with trainer_of(train, trace=path) as trainer:
        await trainer.fit()
    return Trace.open(path)


async def test_a_slow_sphere_of_a_training_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    slow, compute = SlowSphere(others=2), ShardWork.compute

    def slowed(self: ShardWork, token: JobToken, weights: Any, request: ComputeShards) -> Any:
        begun_s = time.perf_counter()
        sums = compute(self, token, weights, request)
        slow.after(request, time.perf_counter() - begun_s)
        return sums

    monkeypatch.setattr(ShardWork, "compute", slowed)
    trace = await trained(tmp_path / "slow.trace", 3)
    found = critical(trace, epoch=1)
    whole, who, why = found.lines()[:3]
    assert whole.startswith("epoch 1 of /root: ")
    assert "of it is /root/sphere-0, " in who
    assert "its crystalline.compute_shards was as large as its siblings'" in why
    assert why.endswith("times as long: it is slower")
    steps = summarise(trace).jobs[0].begun // 3
    assert found.saved_s is not None
    assert found.saved_s > steps * 0.02
    assert sum(part.seconds for part in found.segments) == pytest.approx(found.seconds)


async def test_skewed_shards_of_a_training_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compute = ShardWork.compute

    def skewed(run: Run, weights: Sequence[int]) -> list[Run]:
        cuts = [run[0], *range(run[1] - len(weights) + 1, run[1] + 1)]
        return list(pairwise(cuts))

    def slowed(self: ShardWork, token: JobToken, weights: Any, request: ComputeShards) -> Any:
        sums = compute(self, token, weights, request)
        threading.Event().wait(0.005 * (request.run[1] - request.run[0]))  # shards that take their time
        return sums

    monkeypatch.setattr(team, "split_run", skewed)
    monkeypatch.setattr(ShardWork, "compute", slowed)
    found = critical(await trained(tmp_path / "skewed.trace", 3), epoch=1)
    _, who, why = found.lines()[:3]
    assert "of it is /root/sphere-0, " in who
    assert "its crystalline.compute_shards was " in why
    assert " times as large as its siblings' and took " in why
    assert "it has more to do" in why
    assert found.comparisons["/root/sphere-0"].larger > 4  # 10 shards beside 1


async def test_a_training_that_lost_a_sphere_has_a_path_without_gaps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compute, calls = ShardWork.compute, iter(range(1000))

    def failing(self: ShardWork, *args: Any) -> Any:
        if next(calls) == 4:
            raise ValueError("planted")
        return compute(self, *args)

    monkeypatch.setattr(ShardWork, "compute", failing)
    trace = await trained(tmp_path / "lost.trace", 3)
    found, summary = critical(trace), summarise(trace)
    (asked,) = (each for each in summary.message_types if each.type == "crystalline.compute_shards")
    assert asked.sent % 3 == 1, "one part was asked for again"
    at_s = found.stretch.begin_s
    for part in found.segments:
        assert part.begin_s == pytest.approx(at_s, abs=1e-6)
        at_s = part.begin_s + part.seconds
    assert at_s == pytest.approx(found.stretch.end_s, abs=1e-6)
    assert summary.lines()[1].startswith(
        "errors in handlers: ValueError (1); the first ValueError in /root/sphere-"
    )
    assert "planted" in summary.lines()[1]
    assert summary.restarts == 1
