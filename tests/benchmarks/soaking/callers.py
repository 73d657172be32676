"""The outside of a soak: callers that do one thing after another, as fast as they can, in a drawn order.

The order is drawn once, from the seed, and gone through round and round: what is measured is the runtime and
not the drawing of random numbers. What a caller does it does alone; many of them run at a time.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from actors import ActorDown, AskFailed, Expired, Refused
from tests.benchmarks.soaking.cast import (
    Answer,
    Brood,
    Crash,
    Echo,
    Foreman,
    Job,
    Note,
    Relay,
    RunEpoch,
    Silent,
    Sleep,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors import ActorRef, ActorSystem
    from tests.benchmarks.soaking.board import Board

# No queue is so long that an answer takes this long: what expires then has lost its answer.
PATIENT_S: Final = 8.0
SHORT_S: Final = 0.004
NOTES: Final = 16
# How often each thing is done, of 1000 times.
WEIGHTS: Final = {
    "echo": 690,
    "notes": 130,
    "relay": 60,
    "relay_to_all": 15,
    "crash": 15,
    "crash_by_note": 5,
    "silent": 5,
    "expire": 15,
    "cancel": 30,
    "job": 10,
    "stubborn_job": 2,
    "spawn_and_stop": 15,
    "brood": 8,
}
DRAWN: Final = 5_000


class Caller:
    """One caller outside the tree.

    Args:
        index: its number, from 0.
        system: whom it talks to.
        board: where it keeps account.
        seed: of its order of doing things.
    """

    def __init__(self, index: int, system: ActorSystem, board: Board, seed: int) -> None:
        self.index = index
        self.system = system
        self.board = board
        self.number = 0
        draw = random.Random(f"{seed} {index}")
        names = draw.choices(list(WEIGHTS), list(WEIGHTS.values()), k=DRAWN)
        self._order: list[Callable[[], Awaitable[None]]] = [getattr(self, name) for name in names]
        self._targets = [draw.randrange(1 << 16) for _ in range(DRAWN)]

    async def run(self, stopped: asyncio.Event) -> None:
        """Do one thing after another until `stopped`."""
        while not stopped.is_set():
            for action in self._order:
                await action()
                if stopped.is_set():
                    return

    def worker(self) -> ActorRef[Any]:
        """Somebody to talk to."""
        workers = self.board.workers
        return workers[self._targets[self.number % DRAWN] % len(workers)]

    def foreman(self) -> ActorRef[Any]:
        """Somebody who has others."""
        foremen = self.board.foremen
        return foremen[self._targets[self.number % DRAWN] % len(foremen)]

    async def ask(self, ref: ActorRef[Any], message: Any, timeout_s: float = PATIENT_S) -> None:
        """Ask, and account for how it ends. `message.number` is `self.number`."""
        loop = asyncio.get_running_loop()
        end, deadline_s = "another error", loop.time() + timeout_s
        self.board.begin(self.index, self.number)
        try:
            answer = await self.system.ask(ref, message, timeout_s=timeout_s)
            end = "reply"
            if answer != Answer(self.number):
                self.board.violate("the right answer", f"{message} was answered with {answer}")
        except AskFailed:
            end = "failed"
        except ActorDown:
            end = "down"
        except Expired:
            end = "expired"
            if timeout_s >= PATIENT_S:
                what = f"{message} to {ref} expired after {timeout_s} s"
                self.board.suspect("an answer for all", what, timeout_s)
        except Refused:
            end = "refused"
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        finally:
            self.board.end(self.index, end, loop.time() - deadline_s)

    def next(self) -> int:
        """The number of the next ask."""
        self.number += 1
        return self.number

    async def echo(self) -> None:
        await self.ask(self.worker(), Echo(self.index, self.next()))

    async def relay(self) -> None:
        await self.ask(self.foreman(), Relay(self.index, self.next(), everyone=False))

    async def relay_to_all(self) -> None:
        await self.ask(self.foreman(), Relay(self.index, self.next(), everyone=True))

    async def crash(self) -> None:
        await self.ask(self.worker(), Crash(self.index, self.next()))

    async def silent(self) -> None:
        await self.ask(self.worker(), Silent(self.index, self.next()))

    async def expire(self) -> None:
        await self.ask(self.worker(), Sleep(self.index, self.next(), 10 * SHORT_S), timeout_s=SHORT_S)

    async def job(self) -> None:
        await self.ask(self.worker(), Job(self.index, self.next(), SHORT_S, stubborn=False))

    async def stubborn_job(self) -> None:
        long = Job(self.index, self.next(), 5 * SHORT_S, stubborn=True)
        await self.ask(self.worker(), long, timeout_s=SHORT_S)

    async def brood(self) -> None:
        await self.ask(self.foreman(), Brood(self.index, self.next()))

    async def notes(self) -> None:
        worker, note = self.worker(), Note(self.next())
        for _ in range(NOTES):
            self.board.tell(self.system.tell, worker, note)
        await asyncio.sleep(0)

    async def crash_by_note(self) -> None:
        self.next()
        self.board.tell(self.system.tell, self.worker(), Note(-1))
        await asyncio.sleep(0)

    async def cancel(self) -> None:
        """Ask, and be cancelled after a few turns of the loop."""
        turns = self.next() % 5
        sleep = Sleep(self.index, self.number, SHORT_S if turns else 0.0)
        asking = asyncio.create_task(self.ask(self.worker(), sleep))
        for _ in range(turns + 1):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled() and (error := asking.exception()) is not None:
            raise error

    async def spawn_and_stop(self) -> None:
        self.next()
        ref = await self.system.spawn(Worker, self.board, name=f"passing-{self.index}-{self.number}")
        await self.ask(ref, Echo(self.index, self.number))
        await self.system.stop(ref)
        self.board.counts["passing"] += 1


async def conduct(system: ActorSystem, root: ActorRef[Foreman], board: Board, stopped: asyncio.Event) -> None:
    """Have one tree run epoch after epoch until `stopped`; every seventh is spoilt."""
    epoch = 0
    while not stopped.is_set():
        epoch += 1
        board.counts["epochs_begun"] += 1
        try:
            await system.ask(root, RunEpoch(epoch, spoilt=epoch % 7 == 0), timeout_s=PATIENT_S)
        except (AskFailed, ActorDown, Expired, Refused) as error:
            board.counts[f"epochs_lost_{type(error).__name__}"] += 1
