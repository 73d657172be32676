"""Our actors, with every law in force."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

from actors import Actor, ActorRef, ActorSystem, Context, message, on
from tests.benchmarks.cost.ways import CHILDREN, Arrivals, Measures, Number, bursts, measures

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from actors.tracing import TraceLike

# Long enough for any sample on a slow machine; every handler has a deadline all the same.
SAMPLE_S: Final = 300.0


@message("bench.ask_child")
class AskChild:
    """Asked: ask the first child so many times, one after the other."""

    count: int


@message("bench.fan_out")
class FanOut:
    """Asked: ask all children at once, so many times."""

    count: int


class Echo(Actor):
    """Answers with what it was asked."""

    @on(Number)
    async def number(self, msg: Number, _ctx: Context) -> Number:
        return msg


class Sink(Actor):
    """Is told numbers and counts them."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals

    @on(Number)
    async def number(self, _msg: Number, _ctx: Context) -> None:
        self.arrivals.handled()


class Parent(Actor):
    """Asks its children from inside a handler."""

    def __init__(self) -> None:
        self.children: list[ActorRef[Echo]] = []

    async def on_start(self, ctx: Context) -> None:
        self.children = [await ctx.spawn(Echo) for _ in range(CHILDREN)]

    @on(AskChild)
    async def ask_child(self, msg: AskChild, ctx: Context) -> Number:
        child, question = self.children[0], Number(msg.count)
        for _ in range(msg.count):
            await ctx.ask(child, question)
        return question

    @on(FanOut)
    async def fan_out(self, msg: FanOut, ctx: Context) -> Number:
        question = Number(msg.count)
        for _ in range(msg.count):
            await ctx.ask_all([(child, question) for child in self.children])
        return question


class System:
    """An actor that answers, one that is told, and a parent with children."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.arrivals = Arrivals()
        self.echo: ActorRef[Echo]
        self.sink: ActorRef[Sink]
        self.parent: ActorRef[Parent]

    async def start(self) -> None:
        self.echo = await self.system.spawn(Echo)
        self.sink = await self.system.spawn(Sink, self.arrivals)
        self.parent = await self.system.spawn(Parent)

    async def ask(self, messages: Sequence[Number]) -> None:
        system, echo = self.system, self.echo
        for question in messages:
            await system.ask(echo, question)

    async def tell(self, messages: Sequence[Number]) -> None:
        system, sink = self.system, self.sink
        for burst in bursts(messages):
            done = self.arrivals.expect(len(burst))
            for note in burst:
                system.tell(sink, note)
            await done

    async def ask_child(self, messages: Sequence[Number]) -> None:
        await self.system.ask(self.parent, AskChild(len(messages)), timeout_s=SAMPLE_S)

    async def fan_out(self, messages: Sequence[Number]) -> None:
        await self.system.ask(self.parent, FanOut(len(messages)), timeout_s=SAMPLE_S)

    async def spawn_stop(self, messages: Sequence[Number]) -> None:
        for _ in messages:
            await self.system.stop(await self.system.spawn(Echo))


@asynccontextmanager
async def actors(*, trace: TraceLike = None) -> AsyncIterator[Measures]:
    """Open a system, and shut it down."""
    async with ActorSystem("bench", trace=trace) as opened:
        party = System(opened)
        await party.start()
        yield {**measures(party), "ask_child": party.ask_child}


def traced() -> AbstractAsyncContextManager[Measures]:
    """The same with the trace in memory."""
    return actors(trace=True)
