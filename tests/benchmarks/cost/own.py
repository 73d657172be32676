"""Our actors, with every law in force."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

from actors import Actor, ActorRef, ActorSystem, Context, message, on
from tests.benchmarks.cost.ways import CHILDREN, Arrivals, Measures, Number, bursts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

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


@asynccontextmanager
async def actors(*, trace: bool = False) -> AsyncIterator[Measures]:
    """One system with an actor that answers and a parent with children."""
    arrivals = Arrivals()
    async with ActorSystem("bench", trace=trace) as system:
        echo = await system.spawn(Echo)
        sink = await system.spawn(Sink, arrivals)
        parent = await system.spawn(Parent)

        async def ask(messages: Sequence[Number]) -> None:
            for question in messages:
                await system.ask(echo, question)

        async def tell(messages: Sequence[Number]) -> None:
            for burst in bursts(messages):
                done = arrivals.expect(len(burst))
                for each in burst:
                    system.tell(sink, each)
                await done

        async def ask_child(messages: Sequence[Number]) -> None:
            await system.ask(parent, AskChild(len(messages)), timeout_s=SAMPLE_S)

        async def fan_out(messages: Sequence[Number]) -> None:
            await system.ask(parent, FanOut(len(messages)), timeout_s=SAMPLE_S)

        async def spawn_stop(messages: Sequence[Number]) -> None:
            for _ in messages:
                await system.stop(await system.spawn(Echo))

        yield {
            "ask": ask,
            "tell": tell,
            "fan_out": fan_out,
            "spawn_stop": spawn_stop,
            "ask_child": ask_child,
        }


def traced() -> AbstractAsyncContextManager[Measures]:
    """The same with the trace in memory."""
    return actors(trace=True)
