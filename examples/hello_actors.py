"""Two actors, and what each way of ending looks like to whoever asked.

python examples/hello_actors.py
"""

from __future__ import annotations

import asyncio

from actors import (
    Actor,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    Request,
    Supervision,
    message,
    on,
)


@message("hello.greeting")
class Greeting:
    text: str


@message("hello.greet")
class Greet(Request[Greeting]):
    name: str


class Greeter(Actor):
    """Greets, except those without a name."""

    @on(Greet)
    async def greet(self, msg: Greet, ctx: Context) -> Greeting:
        if not msg.name:
            raise ValueError("nobody to greet")
        if msg.name == "slow":
            await asyncio.Event().wait()  # never set: only the deadline of the ask ends this handler
        if msg.name == "parent" and ctx.parent is not None:
            await ctx.ask(ctx.parent, Greet("child"))  # refused: two that wait for each other would hang
        return Greeting(f"hello {msg.name}")


class Hall(Actor):
    """The parent: starts a greeter, looks after it, and passes requests down to it."""

    async def on_start(self, ctx: Context) -> None:
        self.greeter = await ctx.spawn(Greeter, name="greeter", supervision=Supervision(backoff_s=0.0))

    @on(Greet)
    async def greet(self, msg: Greet, ctx: Context) -> Greeting:
        try:
            return await ctx.ask(self.greeter, msg, timeout_s=0.2)
        except AskFailed as error:
            return Greeting(f"no greeting: {error.error_type}: {error.error_text}")
        except Expired as error:
            return Greeting(f"no greeting: {error}")


async def main() -> None:
    async with ActorSystem("hello") as system:
        hall = await system.spawn(Hall, name="hall")
        for name in ("you", "", "slow", "parent", "you, after all that"):
            reply = await system.ask(hall, Greet(name), timeout_s=2.0)
            print(f"{name!r:>22}: {reply.text}")
        report = await system.shutdown()
    print(f"shut down in {report.duration_s:.3f} s, left behind: {len(report.survivors)}")


if __name__ == "__main__":
    asyncio.run(main())
