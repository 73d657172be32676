"""A recorded life can be played again: same messages, same answers, same order; and what differs is found."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorRef,
    ActorSystem,
    AskError,
    AskFailed,
    Context,
    Down,
    Expired,
    JobToken,
    MailboxFull,
    Overflow,
    ReplayDiffers,
    Request,
    State,
    Supervision,
    freeze,
    message,
    on,
    replay,
)
from actors.testing import run_virtual
from actors.tracing import Trace, TraceOptions, TraceQueryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from actors.tracing.options import Payloads

Array = np.ndarray[Any, Any]


@message("replayed.twice")
class Twice(Request["Product"]):
    data: Array


@message("replayed.product")
class Product:
    data: Array


@message("replayed.fetch")
class Fetch(Request["Found"]):
    name: str


@message("replayed.found")
class Found:
    text: str


@message("replayed.news")
class News:
    text: str


@message("replayed.work")
class Work(Request["Found"]):
    epoch: int


@message("replayed.count")
class Count:
    number: int


def record(
    script: Callable[[ActorSystem], Awaitable[None]],
    *,
    payloads: Payloads = "whole",
    path: Path | None = None,
) -> Trace:
    """The trace of a system in virtual time."""

    async def run() -> Trace:
        system = ActorSystem("recorded", trace=TraceOptions(path, payloads=payloads), blocked_after_s=None)
        async with system:
            await script(system)
        assert system.tracer is not None
        return Trace.of(system.tracer.events()) if path is None else Trace.open(path)

    return run_virtual(run)


class Doubler(Actor):
    """Computes in a job."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor

    @on(Twice)
    async def twice(self, msg: Twice, ctx: Context) -> Product:
        return Product(freeze(await ctx.offload(self.job, msg.data)))

    def job(self, _token: JobToken, data: Array) -> Array:
        return data * self.factor


async def ask_doubler(system: ActorSystem) -> None:
    ref = await system.spawn(Doubler, name="doubler")
    for size in (1, 2, 3):
        await system.ask(ref, Twice(freeze(np.arange(size, dtype=np.float64))))


def test_what_was_answered_is_answered_again() -> None:
    played = replay(record(ask_doubler), "/doubler", Doubler)
    assert played.difference is None
    assert (played.messages, played.recorded, played.compared, played.arrays) == (3, 3, 3, 3)
    assert "no difference" in played.lines()[0]


def test_the_class_and_its_arguments_are_in_the_record() -> None:
    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Doubler, 3.0, name="doubler")
        await system.ask(ref, Twice(freeze(np.ones(2))))

    assert replay(record(script), "doubler").difference is None


def test_the_first_difference_is_shown() -> None:
    def make() -> Doubler:
        class Wrong(Doubler):
            def job(self, token: JobToken, data: Array) -> Array:
                made = super().job(token, data)
                made[1:] = np.nextafter(made[1:], 9.0)
                return made

        return Wrong()

    played = replay(record(ask_doubler), "/doubler", make)
    difference = played.difference
    assert difference is not None
    assert (difference.at, difference.handled, difference.field) == (2, "replayed.twice", "data")
    assert difference.apart is not None
    assert difference.apart.at == (1,)
    first, recorded, now, note = played.lines()[:4]
    assert f"message {difference.message}," in first
    assert "replayed.product differs in data" in first
    assert "<f8[2]" in recorded
    assert "<f8[2]" in now
    assert "first at [1]: recorded 2.0, now 2.0000000000000004; 1 of 2 entries differ" in note
    assert played.messages == 3, "the replay goes on"
    assert played.as_dict()["difference"]["apart"]["at"] == (1,)


def test_a_strict_replay_raises_at_the_first_difference() -> None:
    with pytest.raises(ReplayDiffers, match=r"the 2nd message of the actor: its reply replayed\.product"):
        replay(record(ask_doubler), "/doubler", lambda: Doubler(2.5), strict=True)


def test_hashes_find_differences_and_messages_come_from_elsewhere() -> None:
    trace = record(ask_doubler, payloads="hash")
    with pytest.raises(TraceQueryError, match='payloads="whole"'):
        replay(trace, "/doubler", Doubler)

    def rebuild(payload: Any) -> Twice:
        (size,) = payload.fields.values["data"].shape
        return Twice(freeze(np.arange(size, dtype=np.float64)))

    played = replay(trace, "/doubler", Doubler, rebuild=rebuild)
    assert (played.difference, played.arrays) == (None, 3)
    played = replay(trace, "/doubler", lambda: Doubler(4.0), rebuild=rebuild)
    assert played.difference is not None
    assert played.difference.field == "data"
    with pytest.raises(TraceQueryError, match="could not be made again: data was"):
        replay(trace, "/doubler", Doubler, rebuild=lambda _: Twice(freeze(np.ones(1))))


def test_a_record_without_payloads_says_what_to_do() -> None:
    with pytest.raises(TraceQueryError, match="TraceOptions"):
        replay(record(ask_doubler, payloads="none"), "/doubler", Doubler)


def test_everything_runs_in_the_calling_thread_and_the_debugger_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = record(ask_doubler)
    threads: set[int] = set()

    class Looking(Doubler):
        def job(self, token: JobToken, data: Array) -> Array:
            threads.add(threading.get_ident())
            return super().job(token, data)

    stopped: list[Any] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stopped.append(sys._getframe(1).f_locals["message"]))
    seen: list[int] = []
    replay(trace, "doubler", Looking, on_message=lambda number, _: seen.append(number))
    assert len(seen) == 3
    replay(trace, "doubler", Looking, stop_at=seen[1])
    assert [len(message.data) for message in stopped] == [2]
    assert threads == {threading.get_ident()}


def test_a_replay_ends_where_it_is_told_to() -> None:
    trace = record(ask_doubler)
    numbers: list[int] = []
    replay(trace, "doubler", Doubler, on_message=lambda number, _: numbers.append(number))
    played = replay(trace, "doubler", Doubler, until=numbers[1])
    assert (played.messages, played.recorded) == (2, 3)
    assert str(numbers[1]) in played.stopped
    with pytest.raises(TraceQueryError, match="has not handled message 99999"):
        replay(trace, "doubler", Doubler, until=99_999)


class Library(Actor):
    """What a `Reader` asks."""

    @on(Fetch)
    async def fetch(self, msg: Fetch, ctx: Context) -> Found:
        if msg.name == "slow":
            await ctx.wait(asyncio.sleep(3600), reason="a slow shelf")
        if msg.name == "broken":
            raise ValueError("a page is missing")
        await ctx.wait(asyncio.sleep(1.0 / len(msg.name)), reason="the shelf")
        return Found(msg.name.upper())


class Reader(Actor):
    """Starts a child, asks it in all ways, tells, and hears of its end."""

    def __init__(self, listener: ActorRef[Any], *, careless: bool = False) -> None:
        self.listener = listener
        self.careless = careless
        self.heard: list[str] = []
        self.library: ActorRef[Library] | None = None

    async def on_start(self, ctx: Context) -> None:
        self.library = await ctx.spawn(Library, supervision=Supervision(backoff_s=0.0))
        ctx.tell(self.listener, News(f"{len(ctx.children)} child"))

    async def on_down(self, down: Down, ctx: Context) -> None:
        self.heard.append(f"down {down.ref == self.library} {down.restarting}")
        ctx.tell_later(2.0, self.listener, News("two seconds later"))

    async def on_stop(self, ctx: Context) -> None:
        ctx.tell(self.listener, News("the end"))

    @on(Fetch)
    async def fetch(self, msg: Fetch, ctx: Context) -> Found:
        assert self.library is not None
        names = msg.name.split()
        asks = [asyncio.ensure_future(ctx.ask(self.library, Fetch(name), timeout_s=5.0)) for name in names]
        order = []
        for first in asyncio.as_completed(asks):
            try:
                order.append((await first).text)
            except AskFailed as failed:
                order.append(f"{failed.error_type} {failed.error_text}")
            except Expired:
                order.append("expired")
            except AskError as error:
                order.append(type(error).__name__)
        ctx.tell(self.listener, News(" then ".join(order)))
        if not self.careless:
            self.heard += order
        return Found(f"{ctx.remaining_s > 0} {self.heard}")


async def read(system: ActorSystem) -> None:
    receiver = system.receiver()
    reader = await system.spawn(Reader, receiver.ref, name="reader")
    for names in ("one three eleven", "slow two", "broken four", "five"):
        await system.ask(reader, Fetch(names), timeout_s=20.0)
    await asyncio.sleep(5.0)


def test_answers_errors_and_ends_come_as_recorded_and_in_their_order() -> None:
    trace = record(read)
    played = replay(trace, "reader")
    assert played.difference is None, played.lines()
    assert (played.messages, played.stopped) == (played.recorded, "")
    assert played.recorded == 5, "four requests, and a Down"
    # Four answers, seven questions, and what the listener is told: at the start, at each request, later, and
    # at the end.
    assert played.compared == 4 + 7 + 1 + 4 + 1 + 1


def test_the_file_of_a_trace_can_be_replayed(tmp_path: Path) -> None:
    record(read, path=tmp_path / "run.trace")
    assert replay(tmp_path / "run.trace", "/reader").difference is None


def test_a_message_that_is_sent_differently_is_found_before_the_reply() -> None:
    class Shy(Reader):
        async def on_start(self, ctx: Context) -> None:
            self.library = await ctx.spawn(Library, supervision=Supervision(backoff_s=0.0))

    trace = record(read)
    listener = next(event.detail for event in trace.select(kinds={"send"}) if event.type == "replayed.news")
    ref: ActorRef[Any] = ActorRef(listener, 1)
    played = replay(trace, "reader", lambda: Shy(ref))
    assert played.difference is not None
    assert (played.difference.at, played.difference.what) == (0, "it does not send")
    assert played.lines()[0].startswith("a hook")
    played = replay(trace, "reader", lambda: Reader(ref, careless=True))
    assert played.difference is not None
    assert (played.difference.at, played.difference.field) == (1, "text")


def test_a_question_that_the_record_does_not_have_ends_the_replay() -> None:
    class Curious(Doubler):
        @on(Twice)
        async def twice(self, msg: Twice, ctx: Context) -> Product:
            await ctx.ask(ActorRef("/doubler/none", 7), Fetch("what"))
            return await super().twice(msg, ctx)

    played = replay(record(ask_doubler), "doubler", Curious)
    assert played.difference is not None
    assert played.difference.now == "replayed.fetch asked of /doubler/none"
    assert "the record has no answer" in played.stopped


def test_an_error_that_is_new_is_a_difference_and_ends_the_life() -> None:
    class Broken(Doubler):
        def job(self, token: JobToken, data: Array) -> Array:
            if len(data) == 2:
                raise ZeroDivisionError("in the job")
            return super().job(token, data)

    played = replay(record(ask_doubler), "doubler", Broken)
    assert played.difference is not None
    assert (played.difference.at, played.difference.recorded) == (2, "replayed.product")
    assert "ZeroDivisionError: in the job" in played.difference.now
    assert isinstance(played.error, ZeroDivisionError)
    assert "1 messages left" in played.stopped


def test_what_make_raises_is_raised() -> None:
    def make() -> Actor:
        raise LookupError("no such weights")

    with pytest.raises(LookupError, match="no such weights"):
        replay(record(ask_doubler), "doubler", make)


class Counter(Actor):
    """Keeps a number over its lives, and works in epochs only."""

    def __init__(self) -> None:
        self.number = 0

    async def snapshot(self, _ctx: Context) -> Count:
        return Count(self.number)

    async def restore(self, state: Count, _ctx: Context) -> None:
        self.number = state.number

    @on(Work, when=State.RUNNING)
    async def work(self, _msg: Work, ctx: Context) -> Found:
        self.number += 1
        if self.number == 3 and ctx.incarnation == 1:
            raise ValueError("the third")
        return Found(f"{self.number} in {ctx.state.value} {ctx.current_epoch}, life {ctx.incarnation}")


class Manager(Actor):
    """Runs epochs with a `Counter`."""

    async def on_start(self, ctx: Context) -> None:
        await ctx.spawn(Counter, name="counter", supervision=Supervision(backoff_s=0.0))

    @on(Work)
    async def work(self, msg: Work, ctx: Context) -> Found:
        found = []
        async with ctx.epoch(msg.epoch, timeout_s=10.0) as epoch:
            for _ in range(2):
                try:
                    answer = await ctx.ask(ctx.children[0], Work(msg.epoch))
                    found.append(answer.text)
                except AskFailed as error:
                    found.append(error.error_text)
                    await ctx.wait(asyncio.sleep(1.0), reason="its next life")
            found.append(f"restarted {len(epoch.restarted)}")
        return Found("; ".join(found))


async def count(system: ActorSystem) -> None:
    manager = await system.spawn(Manager, name="manager")
    for epoch in (1, 2, 3):
        await system.ask(manager, Work(epoch))


@pytest.mark.parametrize("life", [1, 2])
def test_a_later_life_begins_with_what_it_was_handed(life: int) -> None:
    made: list[Counter] = []

    def make() -> Counter:
        made.append(Counter())
        return made[-1]

    played = replay(record(count), "counter", make, incarnation=life)
    assert played.difference is None, played.lines()
    assert played.incarnation == life
    assert played.messages == played.recorded == 6
    assert made[0].number == {1: 3, 2: 5}[life]


def test_an_actor_that_runs_epochs_and_loses_a_child_does_it_again() -> None:
    played = replay(record(count), "manager")
    assert played.difference is None, played.lines()
    assert played.messages == played.recorded == 4, "three requests, and a Down"
    with pytest.raises(TraceQueryError, match="has no life 7"):
        replay(record(count), "manager", incarnation=7)


def test_a_handler_that_was_ended_is_ended_again() -> None:
    class Patient(Actor):
        @on(Fetch)
        async def fetch(self, msg: Fetch, ctx: Context) -> Found:
            if msg.name == "long":
                await ctx.wait(asyncio.get_running_loop().create_future(), reason="nothing")
            return Found(msg.name)

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Patient, name="patient")
        for name in ("a", "long", "b"):
            try:
                await system.ask(ref, Fetch(name), timeout_s=0.3)
            except Expired:
                assert name == "long"

    played = replay(record(script), "patient", Patient)
    assert (played.difference, played.messages, played.compared) == (None, 3, 2)


def test_a_full_mailbox_is_full_again() -> None:
    class Sink(Actor):
        @on(News)
        async def news(self, _msg: News, _ctx: Context) -> None: ...

    class Full(Actor):
        @on(Work)
        async def work(self, _msg: Work, ctx: Context) -> Found:
            ref = await ctx.spawn(Sink, name="sink", capacity=2, overflow=Overflow.FAIL)
            try:
                for number in range(4):
                    ctx.tell(ref, News(str(number)))
            except MailboxFull:
                return Found("full")
            return Found("never full")

    async def script(system: ActorSystem) -> None:
        ref = await system.spawn(Full, name="full")
        assert (await system.ask(ref, Work(1))).text == "full"

    played = replay(record(script), "full", Full)
    assert (played.difference, played.messages) == (None, 1)


def test_who_is_not_there_is_said() -> None:
    trace = record(ask_doubler)
    with pytest.raises(TraceQueryError, match="no actor /nobody in the trace, but /doubler"):
        replay(trace, "/nobody", Doubler)
    late = Trace.of([event for event in trace if event.kind != "start"])
    with pytest.raises(TraceQueryError, match="begins later"):
        replay(late, "/doubler", Doubler)
    with pytest.raises(TraceQueryError, match="outside is code outside the tree"):
        replay(trace, "outside")


def test_a_life_with_a_gap_is_refused() -> None:
    events = list(record(ask_doubler))
    gap = events[0]._replace(kind="gap", actor="outside", detail="the disk was too slow")
    at = next(index for index, event in enumerate(events) if event.kind == "receive")
    with pytest.raises(TraceQueryError, match="missing: the disk was too slow"):
        replay(Trace.of([*events[:at], gap, *events[at:]]), "/doubler", Doubler)
    assert replay(Trace.of([gap, *events]), "/doubler", Doubler).difference is None
    rotated = Trace.of(events)
    rotated.rotated = True
    with pytest.raises(TraceQueryError, match="bytes_max"):
        replay(rotated, "/doubler", Doubler)


async def test_a_replay_is_no_coroutine() -> None:
    with pytest.raises(RuntimeError, match="plain script"):
        replay(Trace.of([]), "/doubler", Doubler)
