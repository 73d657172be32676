"""A training run that is stopped and resumed, or loses a sphere in each epoch, or both, or neither."""

from __future__ import annotations

import asyncio
import functools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from actors import ending
from actors.tracing import read_trace
from crystalline.training import StepDone, Trainer
from crystalline.training.plan import TreePlan
from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crystalline.data import Corpus
    from crystalline.model import ModelConfig
    from crystalline.training import TrainConfig, TrainReport

__all__ = ["Cell", "Found", "run_cell"]

JOBS: Final = ("compute", "reduce", "apply")
LIMIT_S: Final = 20.0


class Cell(NamedTuple):
    """One way to train the same model."""

    spheres: int
    killed: bool
    resumed: bool

    def __str__(self) -> str:
        """As the name of a test."""
        disturbed = "killed" if self.killed else "undisturbed"
        return f"{self.spheres}-{disturbed}-{'resumed' if self.resumed else 'straight'}"


@dataclass(slots=True)
class Found:
    """What a run came to.

    Attributes:
        sha256: of its weights.
        parts: reports of the runs of the program: one, or two if it was resumed.
        kills: for each epoch the sphere that was killed and started again in it, as (step, job, path).
    """

    sha256: str
    parts: list[TrainReport]
    kills: dict[int, tuple[int, str, str]]


@dataclass(slots=True)
class Kill:
    """Whoever does this part of this job of this step is killed in the middle of it, once for each trainer.

    Attributes:
        epoch: to which the step belongs.
        step: of the run.
        job: name of a method of `ShardWork`.
        part: which of the shards, or slices, as a fraction of their number.
        killed: paths of the spheres that were killed by the trainer that is open.
    """

    epoch: int
    step: int
    job: str
    part: float
    killed: list[str] = field(default_factory=list)


class Killing:
    """Kills spheres from outside, each while its job is under way.

    Args:
        trainer: open.
        plan: of its tree.
        kills: when.
    """

    def __init__(self, trainer: Trainer, plan: TreePlan, kills: list[Kill]) -> None:
        self._trainer = trainer
        self._plan = plan
        self._kills = kills
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Until this is left."""
        with pytest.MonkeyPatch.context() as patch:
            for job in JOBS:
                patch.setattr(ShardWork, job, self._wrapped(job, getattr(ShardWork, job)))
            yield

    def _wrapped(self, job: str, original: Any) -> Any:
        @functools.wraps(original)
        def wrapped(work: ShardWork, token: Any, *args: Any) -> Any:
            units = work.tree[1] if job == "compute" else len(work.slices)
            for kill in self._kills:
                if (kill.job, kill.step) == (job, args[-1].step):
                    self._consider(kill, args[-1].run, units)
            return original(work, token, *args)

        return wrapped

    def _consider(self, kill: Kill, run: tuple[int, int], units: int) -> None:
        if not run[0] <= int(kill.part * units) < run[1]:
            return
        runs = self._plan.runs(units)
        leaf = next(leaf for leaf, own in runs.items() if own == run and not self._plan.below[leaf])
        with self._lock:
            if not kill.killed:
                done = threading.Event()
                self._loop.call_soon_threadsafe(self._do, kill, f"sphere-{leaf}", done)
                assert done.wait(LIMIT_S)

    def _do(self, kill: Kill, name: str, done: threading.Event) -> None:
        try:
            cells = self._trainer.system._known().cells
            for path in [path for path in cells if path.endswith(f"/{name}")]:
                ending.abandon(cells[path], "killed by a test")
                kill.killed.append(path)
        finally:
            done.set()


class _Run:
    def __init__(
        self, model: ModelConfig, train: TrainConfig, corpus: Corpus, cell: Cell, folder: Path, seed: int
    ) -> None:
        self.train = replace(train, spheres=cell.spheres)
        self.make = functools.partial(Trainer, model, self.train, corpus, out=folder / "run")
        self.cell = cell
        self.folder = folder
        self.random = Random(f"{seed} {cell}")
        self.kills: list[Kill] = []
        self.found = Found("", [], {})

    async def run(self) -> Found:
        if self.cell.resumed:
            await self.part(stops=True)
        await self.part(stops=False)
        self.found.sha256 = self.found.parts[-1].weights_sha256
        return self.found

    async def part(self, *, stops: bool) -> None:
        """From the beginning or the last checkpoint to a random step, or to the end."""
        again = self.folder / "run" if self.found.parts else None
        trace = self.folder / f"part-{len(self.found.parts)}.trace"
        async with self.make(resume=again, trace=trace) as trainer:
            if self.cell.killed and not self.kills:
                self.kills = self.plan_kills(trainer)
            for kill in self.kills:
                kill.killed.clear()
            # Not the last ones: a run that is stopped there may be over before it notices.
            stop_at = self.random.randint(1, max(1, trainer.steps - 2)) if stops else trainer.steps + 1
            with Killing(trainer, TreePlan(self.cell.spheres), self.kills).going_on():
                taken = set()
                async for event in trainer.events():
                    if isinstance(event, StepDone):
                        taken.add(event.step)
                        if event.step >= stop_at:
                            await trainer.stop()
                self.found.parts.append(await trainer.fit())
        started_again = [event.actor for event in read_trace(trace) if event.kind == "restart"]
        for kill in self.kills:
            for path in kill.killed if kill.step in taken else ():
                # A control sphere is started again, with all below it, when it loses a child in the update.
                if any(path == actor or path.startswith(f"{actor}/") for actor in started_again):
                    self.found.kills[kill.epoch] = (kill.step, kill.job, path)

    def plan_kills(self, trainer: Trainer) -> list[Kill]:
        """One in each epoch."""
        kills: list[Kill] = []
        before = 0
        for epoch, steps in enumerate(trainer._steps_planned(), 1):
            step = before + self.random.randint(1, steps)
            kills.append(Kill(epoch, step, self.random.choice(JOBS), self.random.random()))
            before += steps
        return kills


async def run_cell(
    model: ModelConfig, train: TrainConfig, corpus: Corpus, cell: Cell, folder: Path, *, seed: int = 0
) -> Found:
    """Train.

    Args:
        model: sizes.
        train: settings; `spheres` is the cell's.
        corpus: the text.
        cell: how.
        folder: an empty one.
        seed: decides where it is stopped, and which sphere is killed when.
    """
    return await _Run(model, train, corpus, cell, folder, seed).run()
