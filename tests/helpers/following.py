"""A generator that follows a training, for simulations: every answer is from one checkpoint, whole."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import numpy as np

from crystalline.errors import GenerationError, ModelFolderError
from crystalline.inference import TextModel, follower
from crystalline.inference.editions import ENGINES_MAX, Edition
from tests.helpers.generators import CONFIG, SEEDS, TableGenerator, alone, tiny_model

if TYPE_CHECKING:
    from actors import JobToken
    from actors.simulation import Simulation

__all__ = ["following"]

CHECKPOINTS: Final = 5
CONTEXT: Final = 16
CALLERS: Final = 8
DAMAGED: Final = 0.3


@cache
def checkpoint(number: int) -> TextModel:
    """The model as it was saved for the nth time."""
    first = tiny_model()
    model = TextModel(CONFIG, first.parameters, first.tokenizer, first.text)
    SEEDS[model] = number
    return model


class Folder:
    """A run folder in which checkpoints appear, not all of them whole at the first look.

    Attributes:
        newest: number of the latest checkpoint.
    """

    def __init__(self, sim: Simulation) -> None:
        self.newest = 0
        self._random = sim.random

    def mark(self, _token: JobToken, _folder: Path) -> follower.Mark | None:
        return (f"step-{self.newest}", self.newest, 0) if self.newest else None

    def load(self, folder: Path, _used: TextModel) -> Edition:
        if self._random.random() < DAMAGED:
            error = self._random.choice((ModelFolderError("it is damaged"), FileNotFoundError("it is gone")))
            raise error
        number = int(folder.name.removeprefix("step-"))
        return Edition(folder.name, checkpoint(number), np.empty(0, np.intp))


def number_of(weights: str) -> int:
    return int(weights.removeprefix("step-") or 0)


class Following:
    """One run."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._random = sim.random
        self._folder = Folder(sim)
        self.generator = TableGenerator(
            system=sim.system,
            model=checkpoint(0),
            slots=3,
            queue=50,
            context=CONTEXT,
            step_timeout_s=5.0,
            deadline_s=10_000.0,
            follow=Path("run"),
            follow_s=0.5,
        )

    async def run(self) -> None:
        """Have the generator asked while checkpoints appear."""
        with (
            patch.object(follower, "_mark", self._folder.mark),
            patch.object(follower, "_load", self._folder.load),
        ):
            async with self.generator:
                calls = [self._sim.call(self._call(n), name=f"caller {n}") for n in range(CALLERS)]
                calls.append(self._sim.call(self._publish(), name="training"))
                await asyncio.wait(calls)
                await self._wait_for_the_last()

    async def _publish(self) -> None:
        for number in range(1, CHECKPOINTS + 1):
            await asyncio.sleep(self._random.uniform(0.0, 3.0))
            self._folder.newest = number

    async def _wait_for_the_last(self) -> None:
        for _ in range(200):
            if number_of(self.generator.weights) == CHECKPOINTS:
                return
            await asyncio.sleep(0.5)
        if not self._sim.faulty:
            self._sim.problems.append(f"the last checkpoint was not taken, but {self.generator.weights!r}")

    async def _call(self, number: int) -> None:
        for turn in range(3):
            await asyncio.sleep(self._random.uniform(0.0, 3.0))
            try:
                await self._ask(number + turn, self._random.choice((1, 8, 20)))
            except GenerationError:
                if not self._sim.faulty:
                    raise

    async def _ask(self, seed: int, tokens: int) -> None:
        """Ask, and compare the answer with what the weights that are named for it answer."""
        oldest, problems = number_of(self.generator.weights), self._sim.problems
        answer = await self.generator.complete("Ka to", tokens=tokens, seed=seed, overflow="slide")
        found = number_of(answer.weights)
        request = self.generator.asked("Ka to", tokens=tokens, seed=seed, overflow="slide")
        expected = alone(request, CONTEXT, found)
        if not oldest <= found <= self._folder.newest:
            problems.append(f"answered by {found}, asked at {oldest}")
        if (answer.ids, answer.text) != (expected.ids, expected.text):
            problems.append(f"{answer} is no answer of the weights {found}")
        engines = sum(not engine.closed for engine in self.generator.engines)
        if engines > ENGINES_MAX and not self._sim.faulty:
            problems.append(f"{engines} engines at once")


async def following(sim: Simulation) -> None:
    """Callers ask while checkpoints appear."""
    run = Following(sim)
    sim.do(look_again(sim, run.generator))
    try:
        await run.run()
    except GenerationError:
        if not sim.faulty:
            raise


async def look_again(sim: Simulation, generator: TableGenerator) -> None:
    """When everything is over, and what was left behind has come in, no engine is open."""
    while waiting := [task for task in sim.callers if not task.done()]:
        await asyncio.wait(waiting)
    await asyncio.sleep(1_000.0)
    for engine in generator.engines:
        sim.problems += engine.mistakes
        if not engine.closed:
            sim.problems.append("an engine was not closed")
