"""The hang that this project was built to exclude: the second epoch that never begins.

An older system trained with threads and flags. Each worker thread waited for a start flag, worked one epoch,
set a done flag, and returned. The root cleared the flags, set the start flag for epoch two, and waited for
done flags that nobody was left to set. Where workers did loop, one that was late could find its start flag
cleared again, or the root could miss a done flag that was set between two of its polls.

Here that program cannot be written:

- a worker is an actor; being idle is a state, not the end of a thread, and `epoch_done -> running` is a row
  in the table of states;
- there is no flag to miss: an epoch is begun by an ask, which ends in an answer or in an error, and
  `epoch_done` is a level, which stays true and can be looked at as late as one likes;
- an epoch number only grows, so a repeated or stale start is refused, not merged with the one before.

python examples/second_epoch.py
"""

from __future__ import annotations

import asyncio

from actors import Actor, ActorSystem, AskFailed, Context, Request, State, message, on

WORKERS = 3


@message("second_epoch.part")
class Part:
    """What one worker made of its share."""

    total: int


@message("second_epoch.work")
class Work(Request[Part]):
    """Asked by the root: add up these numbers."""

    first: int
    last: int


@message("second_epoch.report")
class Report:
    """What all workers made of one epoch."""

    epoch: int
    total: int


@message("second_epoch.run")
class RunEpoch(Request[Report]):
    """Asked from outside: work through one epoch."""

    epoch: int


class Worker(Actor):
    """Adds numbers, but only while an epoch runs."""

    @on(Work, when=State.RUNNING)
    async def work(self, msg: Work, ctx: Context) -> Part:
        return Part(sum(range(msg.first, msg.last)))


class Root(Actor):
    """Shares the work of each epoch among its workers."""

    async def on_start(self, ctx: Context) -> None:
        for index in range(WORKERS):
            await ctx.spawn(Worker, name=f"worker-{index}")

    @on(RunEpoch)
    async def run_epoch(self, msg: RunEpoch, ctx: Context) -> Report:
        async with ctx.epoch(msg.epoch, timeout_s=5.0):
            shares = [Work(100 * index, 100 * (index + 1)) for index in range(WORKERS)]
            parts = await ctx.ask_all(zip(ctx.children, shares, strict=True))
        return Report(msg.epoch, sum(part.total for part in parts))


async def main() -> None:
    async with ActorSystem("epochs") as system:
        root = await system.spawn(Root, name="root")
        for epoch in (1, 2, 3):
            report = await system.ask(root, RunEpoch(epoch), timeout_s=5.0)
            print(f"epoch {report.epoch}: total {report.total}")

        # Whoever comes late still sees that it is over: a level, not a pulse.
        lifecycle = await system.wait_epoch(root, 2, timeout_s=1.0)
        print(f"looking back at epoch 2: the root is {lifecycle}")

        # A start that was sent twice is no second start.
        try:
            await system.ask(root, RunEpoch(3), timeout_s=5.0)
        except AskFailed as error:
            print(f"epoch 3 again: {error.error_type}: {error.error_text}")
        else:
            raise SystemExit("epoch 3 began twice")


if __name__ == "__main__":
    asyncio.run(main())
