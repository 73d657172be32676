"""Many callers of one generator, for simulations: they ask, leave, run out of time; steps are slow and fail.

Whatever happens, every call ends once: in the text that the request gets alone, or in an error of ours with a
beginning of that text. What the generator counted is what the callers saw, and no place is lost.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import CrystallineError, GenerationError
from crystalline.inference import SamplingOptions
from crystalline.inference.scheduler import REFUSED
from tests.helpers.following import look_again
from tests.helpers.generators import TableGenerator, alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.simulation import Simulation
    from crystalline.inference import Piece, Request

__all__ = ["CROWD", "Ends", "asking", "crowd"]

Ends = Counter[str]
"""How calls ended: `whole`, `left`, `cancelled`, or the name of an error."""

CONTEXT: Final = 16
SLOTS: Final = 3
QUEUE: Final = 6
CALLERS: Final = 14
CROWD: Final = 500
STEP_S: Final = 5.0
UNREAD: Final = 3
FAILS: Final = 0.01
PROMPTS: Final = ("Ka", "Hello", "to mi ren sol va du pe", "Or ash bu ka to mi.\nRen sol va du")


class Trouble(Exception):
    """What a step fails with."""


class Asking:
    """One run.

    Args:
        sim: the simulation.
        callers: how many.
        fails: how likely a call of the engine fails.
    """

    def __init__(self, sim: Simulation, callers: int, fails: float, *, slots: int, queue: int) -> None:
        self.ends = Ends()
        self._sim = sim
        self._random = sim.random
        self._callers = callers
        self._fails = fails
        self._heard = 0
        self._at_once = sim.random.random() < 0.3
        self._bound = slots + queue
        self.generator = TableGenerator(
            system=sim.system,
            slots=slots,
            queue=queue,
            context=CONTEXT,
            step_timeout_s=STEP_S,
            prefill_tokens=self._random.choice((1, 8, 512)),
            deadline_s=10_000.0,
            trouble=self._trouble,
        )

    def _trouble(self, what: str) -> None:
        if what != "make" and self._random.random() < self._fails:
            raise Trouble(f"no {what} today")

    async def run(self) -> None:
        """Open a generator, have it asked, and look at what is left."""
        async with self.generator:
            calls = [
                self._sim.call(self._call(number), name=f"caller {number}") for number in range(self._callers)
            ]
            await asyncio.wait(calls)
            await self._look()
        found = self.generator.statistics()
        self._say(not found.queued and not found.running, f"requests are left: {found}")
        self._say(found.submitted == sum(found.ended.values()), f"not every request ended once: {found}")

    async def _look(self) -> None:
        """When all callers are gone, everything is free and accounted for."""
        shelf = self.generator._shelf
        for _ in range(1_000):  # those who have left stay until the step that they were in is over
            found = self.generator.statistics()
            if not (found.queued or found.running or any(press.users for press in shelf._presses)):
                break
            await asyncio.sleep(0.1)
        desk = self.generator._desk
        if desk is not None and desk.path in self._sim.host.cells:  # else the generator is about to clean up
            self._say(not found.queued and not found.running, f"requests are still open: {found}")
            self._say(not any(press.users for press in shelf._presses), "weights are still in use")
        if self._sim.faulty:
            return
        refused = found.ended.get(REFUSED, 0)
        self._say(self.ends["QueueFull"] == refused, f"{self.ends} were refused, and {refused} are counted")
        self._say(
            bool(self._fails) or not self.ends["GenerationError"], "requests were lost, and nothing failed"
        )
        # Who leaves is worked for until the step is over, and what it had not read yet is no waste either.
        gone = sum(self.ends.values()) - self.ends["whole"]
        self._say(found.tokens <= self._heard + UNREAD * gone, f"{found.tokens} tokens, {self._heard} heard")

    def _say(self, holds: bool, problem: str) -> None:  # noqa: FBT001 - it reads like an assertion
        if not holds:
            self._sim.problems.append(problem)

    async def _call(self, number: int) -> None:
        random = self._random
        if not self._at_once:
            await asyncio.sleep(random.choice((0.0, random.uniform(0.0, 8.0))))
        prompt, options = random.choice(PROMPTS), self._options()
        request = self.generator.asked(prompt, **options)
        heard: list[Piece] = []
        end = "nothing"
        patient = random.random() < 0.4  # reads slowly, and never leaves
        leave_after = 1000 if patient else random.choice((1000, random.randint(0, 6)))
        deadline_s = None if patient else random.choice((None, None, random.uniform(0.01, 6.0)))
        options.update(deadline_s=deadline_s, caller=f"{number % 3}")
        task = asyncio.ensure_future(self._listen(prompt, options, heard, leave_after, patient=patient))
        if not patient and random.random() < 0.3:
            self._sim.loop.call_later(random.uniform(0.0, 4.0), task.cancel)
        try:
            end = await task
        except asyncio.CancelledError:
            end = "cancelled"
            if (own := asyncio.current_task()) is not None and own.cancelling():
                task.cancel()
                with suppress(asyncio.CancelledError, CrystallineError):
                    await task
                raise
        except CrystallineError as error:
            end = type(error).__name__
            self._say(end != "DeadlineExceeded" or deadline_s is not None, f"nobody answered {request}")
            self._say(isinstance(error, GenerationError), f"a call ended in {error!r}")
            self._say(len(str(error)) > 20, f"{error!r} tells no story")
        finally:
            self.ends[end] += 1
            self._heard += sum(len(piece.ids) for piece in heard)
            self._compare(request, heard, whole=end == "whole")

    def _options(self) -> dict[str, Any]:
        random = self._random
        options: dict[str, Any] = {
            "tokens": random.choice((1, 4, 12, 30)),
            "seed": random.randrange(8),
            "overflow": random.choice(("refuse", "slide")),
            "stop": random.choice(((), ("a",), ("Ka", "to"))),
            "options": SamplingOptions(temperature=random.choice((0.0, 1.0))),
        }
        return options

    async def _listen(
        self, prompt: str, options: dict[str, Any], heard: list[Piece], leave_after: int, *, patient: bool
    ) -> str:
        random = self._random
        stream = self.generator.stream(prompt, **options)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                heard.append(piece)
                found = self.generator.statistics()
                self._say(
                    found.queued + found.running <= self._bound, f"more than there is room for: {found}"
                )
                if len(heard) > leave_after:
                    return "left"
                if patient and random.random() < 0.05:
                    await asyncio.sleep(random.uniform(0.0, 3.0))
        return "whole"

    def _compare(self, request: Request, heard: Sequence[Piece], *, whole: bool) -> None:
        expected = alone(request, CONTEXT)
        ids = tuple(token for piece in heard for token in piece.ids)
        text = "".join(piece.text for piece in heard)
        if whole:
            self._say((ids, text) == (expected.ids, expected.text), f"{request} was answered {text!r}")
        else:
            self._say(expected.ids[: len(ids)] == ids, f"{request} began {ids}")
            self._say(expected.text.startswith(text), f"{request} began {text!r}")


async def asking(sim: Simulation, ends: Ends | None = None) -> None:
    """A dozen callers, whatever happens."""
    run = Asking(sim, CALLERS, sim.random.choice((0.0, FAILS)), slots=SLOTS, queue=QUEUE)
    sim.do(_look_again(sim, run, ends))
    await _ending_well(sim, run)


async def crowd(sim: Simulation, ends: Ends | None = None) -> None:
    """Five hundred callers at once."""
    run = Asking(sim, CROWD, sim.random.choice((0.0, FAILS / 10)), slots=8, queue=64)
    sim.do(_look_again(sim, run, ends))
    await _ending_well(sim, run)


async def _ending_well(sim: Simulation, run: Asking) -> None:
    try:
        await run.run()
    except GenerationError:
        if not sim.faulty:
            raise


async def _look_again(sim: Simulation, run: Asking, ends: Ends | None) -> None:
    await look_again(sim, run.generator)
    if ends is not None:
        ends.update(run.ends)
