"""A fault is planted into a small system, and its trace says which: in the first three lines of the answer.

Each fault has a control, the same system without it, of which the same question must not be answered so. What
slows a training down is planted in the tests of the critical path.
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import logging
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    AskError,
    Context,
    JobToken,
    Overflow,
    Request,
    State,
    WaitCycle,
    message,
    on,
)
from actors.tracing import Trace, TraceQueryError, stuck, why
from actors.waits import Origin, Witness
from tests.helpers.cast import (
    Director,
    Echo,
    Fail,
    Note,
    Performer,
    Sleep,
    Spawn,
)
from tests.helpers.virtual_loop import Stuck, run_virtual, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINES = 3


def said(trace: Trace, symptom: str) -> str:
    """The first three lines of the answer; or that there is nothing of the kind in the trace."""
    try:
        return "\n".join(why(trace, symptom).lines()[:LINES])
    except TraceQueryError as error:
        return str(error)


def trace_of(system: ActorSystem) -> Trace:
    """Of everything until now."""
    assert system.tracer is not None
    return Trace.of(system.tracer.events())


@message("planted.work")
class Work(Request[Note]):
    """Asked: do your part."""


class Worker(Performer):
    """Has a job for each piece of work."""

    def __init__(self, job: Callable[[JobToken], str]) -> None:
        super().__init__()
        self.job = job

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        return Note(await ctx.offload(self.job))


class Boss(Performer):
    """Has workers, and needs them all."""

    def __init__(self, jobs: list[Callable[[JobToken], str]]) -> None:
        super().__init__()
        self.jobs = jobs
        self.workers: list[ActorRef[Any]] = []

    async def on_start(self, ctx: Context) -> None:
        self.workers = [
            await ctx.spawn(Worker, job, name=f"worker-{number}") for number, job in enumerate(self.jobs)
        ]

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        for outcome in await ctx.ask_all([(worker, Work()) for worker in self.workers], timeout_s=30):
            if isinstance(outcome, AskError):
                raise outcome
        return Note("all done")


def backward(_token: JobToken) -> str:
    """A job that ends."""
    return "done"


def stuck_backward(stuck_job: Stuck) -> Callable[[JobToken], str]:
    """A job of the same name that does not."""

    def job(token: JobToken) -> str:
        token.progress("micro-batch 3 of 8")
        return stuck_job(token)

    job.__qualname__ = backward.__qualname__
    return job


async def work_all(third: Callable[[JobToken], str]) -> tuple[Trace, Trace]:
    """Let four workers work; the trace in the middle of it, and at the end."""
    async with ActorSystem(trace=True) as system:
        boss = await system.spawn(Boss, [backward, backward, third, backward], name="boss")
        asked = asyncio.create_task(system.ask(boss, Work(), timeout_s=60))
        await asyncio.sleep(10)
        system.tell(await system.spawn(Performer), Note("the trace goes on"))
        await settle()
        middle = trace_of(system)
        await asyncio.wait([asked])
        asked.exception()
        return middle, trace_of(system)


@pytest.mark.parametrize("symptom", ["boss", "worker-2", "Expired", "#11"])
def test_a_stuck_job_is_named_with_its_last_progress(symptom: str) -> None:
    stuck_job = Stuck()
    _, trace = run_virtual(lambda: work_all(stuck_backward(stuck_job)))
    stuck_job.release()
    text = said(trace, symptom)
    assert "job backward of /boss/worker-2 was abandoned after 30.0 s" in text
    assert re.search(r"its last progress: micro-batch 3 of 8, at \S+\.py:\d+ in \S+", text)
    assert "did not come back in 30.0 s; 3 others of that name took" in text
    _, control = run_virtual(lambda: work_all(backward))
    assert "abandoned" not in said(control, symptom)
    assert "did not come back" not in said(control, symptom)


def test_a_stuck_job_is_what_everything_waits_for_while_it_lasts() -> None:
    stuck_job = Stuck()
    middle, end = run_virtual(lambda: work_all(stuck_backward(stuck_job)))
    stuck_job.release()
    text = "\n".join(stuck(middle).lines()[:LINES])
    assert "everything waits for job backward: it has been at work for /boss/worker-2 for 10.0 s" in text
    assert said(middle, "boss").endswith("/boss")
    assert "job backward of /boss/worker-2 had been at work for 10.0 s" in said(middle, "boss")
    assert stuck(end).holder is None
    middle, _ = run_virtual(lambda: work_all(backward))
    assert "backward" not in "\n".join(stuck(middle).lines())


async def lose_child(failures: int) -> Trace:
    """A parent whose child may be restarted twice fails so often, and then asks it something."""
    async with ActorSystem(trace=True) as system:
        top = await system.spawn(Parent, name="top")
        child = (await system.ask(top, Spawn("child", max_restarts=2), timeout_s=1)).ref
        for _ in range(failures):
            system.tell(child, Fail())
            await asyncio.sleep(1)
        with_child = asyncio.create_task(system.ask(top, Work(), timeout_s=5))
        await asyncio.wait([with_child])
        with_child.exception()
        return trace_of(system)


class Parent(Director):
    """Asks its child."""

    child: ActorRef[Any] | None = None

    @on(Spawn)
    async def spawn(self, msg: Spawn, ctx: Context) -> Any:
        spawned = await super().spawn(msg, ctx)
        self.child = spawned.ref
        return spawned

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        assert self.child is not None
        answer: Note = await ctx.ask(self.child, Echo("still there?"), timeout_s=1)
        return answer


def test_a_lost_child_is_named_with_what_it_failed_of() -> None:
    trace = run_virtual(lambda: lose_child(3))
    for symptom in ("/top", "ActorDown", "child"):
        text = said(trace, symptom)
        assert "/top/child is lost: it failed 3 times within 2.00 s" in text
        assert "ValueError: as asked" in text
        assert "max_restarts" in text
    control = run_virtual(lambda: lose_child(2))
    for symptom in ("/top", "ActorDown", "child"):
        assert "is lost" not in said(control, symptom)


async def flood(count: int, pause_s: float) -> Trace:
    """Tell an actor that takes a tenth of a second for each message so many, so fast."""
    async with ActorSystem(trace=True) as system:
        slow = await system.spawn(Performer, name="slow", capacity=8, overflow=Overflow.FAIL)
        source = await system.spawn(Source, slow, count, pause_s, name="source")
        system.tell(source, Work())
        await asyncio.sleep(5)
        return trace_of(system)


class Source(Performer):
    """Tells somebody more and more."""

    def __init__(self, to: ActorRef[Any], count: int, pause_s: float) -> None:
        super().__init__()
        self.to, self.count, self.pause_s = to, count, pause_s

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        for _ in range(self.count):
            ctx.tell(self.to, Sleep(0.1))
            await asyncio.sleep(self.pause_s)
        return Note()


def test_a_mailbox_that_fills_is_named_with_how_fast() -> None:
    trace = run_virtual(lambda: flood(40, 0.02))
    for symptom in ("MailboxFull", "source"):
        text = said(trace, symptom)
        assert "/slow" in text
        assert "holds 8 messages" in text
        assert "the mailbox of /slow fills: " in text
        assert "messages come a second, most of them from /source" in text
        assert "each takes it 100 ms" in text
    control = run_virtual(lambda: flood(40, 0.11))
    for symptom in ("MailboxFull", "source"):
        assert "fills" not in said(control, symptom)
        assert "holds" not in said(control, symptom)


class Stubborn(Director):
    """Asks its child again and again until it gets an answer."""

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Note:
        for _ in range(40):
            try:
                return await ctx.ask(ctx.children[0], Sleep(1.0), timeout_s=0.05)
            except AskError:
                continue
        raise RuntimeError("no answer at all")

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        return await ctx.ask(ctx.children[0], Sleep(0.01), timeout_s=0.05)


async def retry(request: Request[Note]) -> Trace:
    async with ActorSystem(trace=True) as system:
        top = await system.spawn(Stubborn, name="top")
        await system.ask(top, Spawn("child"), timeout_s=1)
        for _ in range(1 if isinstance(request, Work) else 40):
            try:
                await system.ask(top, request, timeout_s=30)
            except AskError:
                continue
        return trace_of(system)


def test_a_retry_storm_is_named_with_who_storms() -> None:
    trace = run_virtual(lambda: retry(Work()))
    for symptom in ("/top", "no answer at all", "child"):
        text = said(trace, symptom)
        assert (
            "a retry storm: /top sent cast.sleep to /top/child 40 times in 1.95 s, 40 of them in vain" in text
        )
    control = run_virtual(lambda: retry(Echo()))
    for symptom in ("/top", "no answer at all", "child"):
        assert "storm" not in said(control, symptom)


class Reports(logging.Handler):
    """Hears that the loop is blocked, in the watchdog's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.came.set()


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler, logger = Reports(), logging.getLogger("actors")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Blocker(Performer):
    """Holds the loop until that was noticed, if it is told to."""

    def __init__(self, reports: Reports) -> None:
        super().__init__()
        self.reports = reports

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        if msg.text == "block":
            assert self.reports.came.wait(30)
        return Note()


@pytest.mark.parametrize("text", ["block", ""])
async def test_a_blocked_loop_is_named_with_who_and_where(reports: Reports, text: str) -> None:
    async with ActorSystem(trace=True, blocked_after_s=0.05) as system:
        blocker = await system.spawn(Blocker, reports, name="blocker")
        other = await system.spawn(Performer, name="other")
        timeout_s = 0.02 if text else 60
        await asyncio.gather(
            system.ask(blocker, Echo(text), timeout_s=60),
            system.ask(other, Echo(), timeout_s=timeout_s),
            return_exceptions=True,
        )
        await settle()
        trace = trace_of(system)
    for symptom in ("other", "blocked") if text else ("other",):
        answer = said(trace, symptom)
        if text:
            assert "/blocker blocked the event loop for " in answer
            assert re.search(r" at test_planted_faults\.py:\d+ in Blocker\.echo", answer)
            assert "ctx.offload" in answer
        else:
            assert "blocked" not in answer


class Trainee(Actor):
    """Works in an epoch only."""

    @on(Work, when=State.RUNNING)
    async def work(self, msg: Work, ctx: Context) -> Note:
        return Note()


class Trainer(Actor):
    """Has a trainee, and begins an epoch first, or forgets to."""

    @on(Echo)
    async def begin(self, msg: Echo, ctx: Context) -> Note:
        trainee = await ctx.spawn(Trainee, name="trainee")
        await asyncio.sleep(2)
        if msg.text == "forget":
            return await ctx.ask(trainee, Work(), timeout_s=1)
        async with ctx.epoch(1, timeout_s=5):
            return await ctx.ask(trainee, Work(), timeout_s=1)


async def train(text: str) -> Trace:
    async with ActorSystem(trace=True) as system:
        trainer = await system.spawn(Trainer, name="trainer")
        asked = asyncio.create_task(system.ask(trainer, Echo(text), timeout_s=9))
        await asyncio.wait([asked])
        asked.exception()
        return trace_of(system)


def test_a_message_in_the_wrong_state_is_named_with_both_states() -> None:
    trace = run_virtual(lambda: train("forget"))
    for symptom in ("WrongState", "trainer", "trainee"):
        text = said(trace, symptom)
        assert "/trainer/trainee refused message" in text
        assert "(planted.work)" in text
        assert "/trainer/trainee had been idle for 2.00 s and the message is taken only in running" in text
    control = run_virtual(lambda: train(""))
    for symptom in ("WrongState", "trainer", "trainee"):
        assert "refused" not in said(control, symptom)
        assert "idle for 2 s and" not in said(control, symptom)


async def hurry(last_timeout_s: float) -> Trace:
    async with ActorSystem(trace=True) as system:
        clerk = await system.spawn(Performer, name="clerk")
        for _ in range(40):
            await system.ask(clerk, Sleep(0.12), timeout_s=1)
        asked = asyncio.create_task(system.ask(clerk, Sleep(0.12), timeout_s=last_timeout_s))
        await asyncio.wait([asked])
        asked.exception()
        return trace_of(system)


def test_a_deadline_that_is_too_short_is_named_with_what_it_takes() -> None:
    trace = run_virtual(lambda: hurry(0.05))
    for symptom in ("clerk", "Expired", "outside"):
        text = said(trace, symptom)
        assert "the deadline was too short: message " in text
        assert (
            "(cast.sleep) was given 50 ms (timeout_s); the 40 like it that were answered took 120 ms" in text
        )
        assert "/clerk" in text
    control = run_virtual(lambda: hurry(0.15))
    for symptom in ("clerk", "Expired", "outside"):
        assert "too short" not in said(control, symptom)


class Child(Performer):
    """Asks its parent, which is refused; or tells it."""

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        assert ctx.parent is not None
        if msg.text == "ask":
            return await ctx.ask(ctx.parent, Echo(), timeout_s=1)
        ctx.tell(ctx.parent, Note("told"))
        return Note()


class Above(Performer):
    """Asks its child."""

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        child = await ctx.spawn(Child, name="child")
        return await ctx.ask(child, msg, timeout_s=1)


async def ask_up(text: str) -> Trace:
    async with ActorSystem(trace=True) as system:
        above = await system.spawn(Above, name="above")
        asked = asyncio.create_task(system.ask(above, Echo(text), timeout_s=9))
        await asyncio.wait([asked])
        asked.exception()
        return trace_of(system)


def test_an_attempt_to_wait_upwards_is_named_with_both_and_the_law() -> None:
    trace = run_virtual(lambda: ask_up("ask"))
    for symptom in ("UpwardAsk", "above", "child"):
        text = said(trace, symptom)
        assert "/above/child cannot wait for /above, which is not below it" in text
        assert "waits point down: /above/child and /above could wait for each other for ever" in text
    control = run_virtual(lambda: ask_up("tell"))
    for symptom in ("UpwardAsk", "above", "child"):
        assert "waits point down" not in said(control, symptom)


async def close_circle(*, back: bool) -> Trace:
    """Two actors, of which one waits for the other as no actor can, and is asked by it."""
    async with ActorSystem(trace=True) as system:
        a, b = [await system.spawn(Performer, name=name) for name in "ab"]
        host = system._known()
        wait = host.waits.open(
            Origin(b.path, 1), a.path if back else "outside/1", "a reply", 9.0, Witness.MONITOR
        )
        try:
            ask = host.delivery.begin_ask(Origin(a.path, 1), b, Echo(), 9.0)
        except WaitCycle:
            assert back
        else:
            host.delivery.close(ask)
        host.waits.close(wait)
        return trace_of(system)


def test_an_attempt_to_wait_in_a_circle_is_named_with_both_and_the_law() -> None:
    trace = run_virtual(lambda: close_circle(back=True))
    for symptom in ("WaitCycle", "/a"):
        text = said(trace, symptom)
        assert "/a cannot wait for /b: /b waited for /a (a reply)" in text
        assert "waits point down: /a and /b could wait for each other for ever" in text
    control = run_virtual(lambda: close_circle(back=False))
    for symptom in ("WaitCycle", "/a"):
        assert "waits point down" not in said(control, symptom)


def test_the_first_lines_also_tell_a_program() -> None:
    """The same answer as data has the links, each with the event that shows it."""
    trace = run_virtual(lambda: hurry(0.05))
    answer = why(trace, "Expired").as_dict()
    assert answer["root"]["actor"] in {"/clerk", "outside"}
    assert next(link["kind"] for link in answer["links"]) == "expired"
    assert answer["links"][0]["event"]["kind"] == "wait_end"
    assert [hint["name"] for hint in answer["hints"]] == ["deadline_too_short"]
