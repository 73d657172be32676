"""Training for simulations: Root and the spheres as they are, on a model of sixty weights.

A run takes milliseconds and is held to a plain loop without actors: whatever breaks, the weights are always
those that the loop had after as many steps, and a run that ends well has taken all of them.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors import ActorError, AskFailed
from actors import errors as actor_errors
from crystalline import errors as own_errors
from crystalline.model import initialise, weights_sha256
from crystalline.training import EpochDone, StepDone, TrainConfig
from crystalline.training.memory import RunMemory
from crystalline.training.messages import EpochReport, Save, SaveReport, TrainEpoch
from crystalline.training.metrics import Metrics
from crystalline.training.plan import TreePlan
from crystalline.training.progress import Progress
from crystalline.training.root import Root, RootSettings
from crystalline.training.sphere import Seat
from tests.helpers.plain_training import PlainRun, train_on_windows
from tests.helpers.tiny_work import CONFIG, PLANS, SHARDS, SLICES, TinyWork, leaves_of, text

if TYPE_CHECKING:
    import numpy as np

    from actors import ActorRef, JobToken, Receiver
    from actors.simulation import Simulation
    from crystalline.training.checkpoint import Snapshot

__all__ = ["HASH", "Ends", "plain", "training"]

HASH: Final = "the hash"
"""How a run ends that was trained to its end. Others end with the name of an error."""

Ends = Counter[tuple[str, bool]]
"""How runs ended, and whether there were faults in them."""

EPOCHS: Final = 2
STEPS_IN_EPOCH: Final = 3
TOTAL_STEPS: Final = EPOCHS * STEPS_IN_EPOCH
EPOCH_S: Final = 2_000.0
SAVE_S: Final = 200.0
STOP_AFTER_S: Final = 12.0
# How many runs are stopped and resumed, and how many have little time for their jobs.
STOPPED: Final = 0.3
HURRIED: Final = 0.25
REDISTRIBUTED: Final = 0.5
# How many spheres are lost while one Root trains, and when: never so many that none is left or started again.
LOSSES: Final = (0, 0, 1, 2, 3)
LOSSES_WITHIN_S: Final = 6.0
FOR_GOOD: Final = 0.5
# After all is over so much time passes before the last look: what comes late has come by then.
LATE_S: Final = 1_000.0

# What may be told to whoever asked. Any other error is a mistake in the program, not a failure of the run.
CLEAN: Final = {
    *actor_errors.__all__,
    *own_errors.__all__,
    "CancelledError",
    "InjectedCrash",
    "InjectedError",
    "SystemExit",
}


def settings_of(plan: TreePlan, *, save_every: int = 0, job_timeout_s: float = 60.0) -> TrainConfig:
    """Two epochs of three steps, clipped, so that the norm counts."""
    return TrainConfig(
        spheres=plan.spheres,
        shards=SHARDS,
        epochs=EPOCHS,
        batch_size=12,
        lr=0.3,
        warmup=1,
        clip=0.05,
        val_fraction=0.1,
        save_every=save_every,
        save_every_s=0.0,  # those would be seconds of the real clock
        job_timeout_s=job_timeout_s,
    )


@cache
def plain() -> PlainRun:
    """What a plain loop finds: the oracle."""
    return train_on_windows(CONFIG, settings_of(TreePlan(1)), text(), SLICES)


class KeptInMemory:
    """A run folder without a disk: it keeps copies of what it is given, made when the job runs.

    Attributes:
        checkpoints: weights and progress, by step.
        metrics: lines that no file takes over.
    """

    path = Path("nowhere")

    def __init__(self, problems: list[str], metrics: bytes = b"") -> None:
        self._problems = problems
        self.checkpoints: dict[int, tuple[RunMemory, Progress]] = {}
        self.metrics = Metrics(metrics)

    def resumed(self, progress: Progress) -> KeptInMemory:
        """Another one, for a run that goes on from here."""
        return KeptInMemory(self._problems, bytes(self.metrics._kept[: progress.metrics_bytes]))

    def wrong_metrics(self, steps: int) -> list[str]:
        """Say what is wrong, if these are not the steps of an undisturbed run, each once, in order."""
        lines = [json.loads(line) for line in bytes(self.metrics._kept).splitlines()]
        found = [(line["step"], line["loss"]) for line in lines if line["kind"] == "step"]
        expected = list(enumerate(plain().losses[:steps], 1))
        return [] if found == expected else [f"the metrics are {found}, not {expected}"]

    def save(self, token: JobToken, snapshot: Snapshot) -> Path:
        """Keep a checkpoint; nothing but the weights of its step may be in it."""
        token.check()
        step, buffers = snapshot.progress.step, snapshot.buffers
        self._problems += wrong_weights(f"the checkpoint of step {step}", step, buffers.weights)
        if snapshot.weights_sha256 != plain().hashes[step]:
            self._problems.append(f"the checkpoint of step {step} has the hash of others")
        weights, *moments = (buffer.copy() for buffer in buffers)
        memory = RunMemory(CONFIG, weights, moments=(moments[0], moments[1]), version=step)
        self.checkpoints[step] = memory, snapshot.progress
        return self.path / f"step-{step}"


def wrong_weights(whose: str, step: int, weights: np.ndarray[Any, Any]) -> list[str]:
    """Say what is wrong, if they are not the weights that the plain loop had after so many steps."""
    found, hashes = weights_sha256(weights), plain().hashes
    if found == hashes[step]:
        return []
    known = f"those of step {hashes.index(found)}" if found in hashes else "those of no step"
    return [f"{whose}: expected the weights of step {step}, found {known}"]


class Stretch:
    """One Root from its start to its end: a whole run, or the part of one before or after a stop.

    Args:
        sim: the simulation.
        name: of Root.
        memory: the weights to begin with.
        begun: their progress.
    """

    def __init__(self, sim: Simulation, name: str, memory: RunMemory, begun: Progress) -> None:
        self.name = name
        self.memory = memory
        self.begun = begun
        self.receiver: Receiver = sim.system.receiver()
        self.plan = sim.random.choice(PLANS)
        # Two jobs are at work at a time, and most take less than half a second: this is too short for some.
        self.hurried = sim.random.random() < HURRIED
        self.job_timeout_s = 0.5 + 0.25 * leaves_of(self.plan) if self.hurried else 60.0
        self.redistribute = sim.random.random() < REDISTRIBUTED
        self._sim = sim

    async def start(self, folder: KeptInMemory) -> ActorRef[Root]:
        """Spawn Root, and all below it."""
        random = self._sim.random
        settings = settings_of(
            self.plan, save_every=random.choice((0, 1, 2)), job_timeout_s=self.job_timeout_s
        )
        work = TinyWork(self._sim.loop, random, heedless=random.random() < 0.7)
        seat = Seat(self.plan, self.memory, work, self.job_timeout_s, redistribute=self.redistribute)
        kept: Any = folder  # the part of a RunFolder that Root uses
        given = RootSettings(settings, text(), seat, kept, self.receiver.ref, self.begun)
        root = await self._sim.system.spawn(Root, given, name=self.name)
        for _ in range(random.choice(LOSSES)):
            self._sim.do(self._lose_a_sphere(random.uniform(0.0, LOSSES_WITHIN_S)))
        return root

    async def _lose_a_sphere(self, after_s: float) -> None:
        """Kill one, or stop it for good. The simulation's own faults come mostly before the first step."""
        await asyncio.sleep(after_s)
        injector, random = self._sim.injector, self._sim.random
        below = f"/{self.name}/sphere-"
        spheres = [cell for cell in injector.targets("kill") if cell.ref.path.startswith(below)]
        if not spheres:
            return
        lost = random.choice(spheres)
        # One whose parent is a sphere has that started again, if it was the last one there.
        replaceable = len(self.plan.below[None]) > max(LOSSES) or "/" in lost.ref.path.removeprefix(below)
        for_good = self.redistribute and replaceable and random.random() < FOR_GOOD
        injector.inject("stop" if for_good else "kill", lost)

    def epochs_left(self) -> range:
        """As a trainer counts them."""
        return range(max(1, self.begun.epoch + self.begun.validated), EPOCHS + 1)

    async def problems(self) -> list[str]:
        """Say what is wrong with the weights, and with what was told; asked when the system is closed."""
        found = wrong_weights(self.name, self.memory.version, self.memory.current.weights)
        events = [event async for event in self.receiver]
        steps = [event for event in events if isinstance(event, StepDone)]
        taken = range(self.begun.step + 1, self.memory.version + 1)
        if [event.step for event in steps] != list(taken)[: len(steps)]:
            told = ", ".join(str(event.step) for event in steps)
            return [*found, f"{self.name} took the steps {taken} and told of {told}"]
        for event in steps:
            found += wrong_losses(event)
        for done in (event for event in events if isinstance(event, EpochDone)):
            expected = plain().val_losses[done.epoch - 1]
            if done.val_loss is None or not math.isclose(done.val_loss, expected, rel_tol=1e-9):
                found.append(f"epoch {done.epoch}: the held-out loss is {done.val_loss}, not {expected}")
        return found


def wrong_losses(event: StepDone) -> list[str]:
    """Say what is wrong with what was told of a step: the loss and norm of the plain loop, bit by bit."""
    expected = plain().losses[event.step - 1], plain().norms[event.step - 1]
    found = event.loss, event.grad_norm
    return [] if found == expected else [f"step {event.step}: loss and norm are {found}, not {expected}"]


class TinyTraining:
    """A run as its caller sees it, stopped and resumed on the way or not.

    Attributes:
        end: how it ended: `HASH`, or the name of the error.
    """

    def __init__(self, sim: Simulation) -> None:
        self.end = "nothing"
        self._sim = sim
        self._folder = KeptInMemory(sim.problems)
        self._stretches: list[Stretch] = []
        self._stopping = False
        self._epoch: asyncio.Task[EpochReport] | None = None

    async def train(self) -> None:
        """Train to the end.

        Raises:
            ActorError: it failed, and says so.
        """
        random = self._sim.random
        begun = RunMemory(CONFIG, initialise(CONFIG, 0)), Progress()
        if random.random() < STOPPED:
            saved = await self._stretch("root", *begun, stop_after_s=random.uniform(0.0, STOP_AFTER_S))
            begun = self._folder.checkpoints[saved.step]
            self._folder = self._folder.resumed(begun[1])
        saved = await self._stretch("root-at-last", *begun)
        assert not (wrong := self._folder.wrong_metrics(TOTAL_STEPS)), wrong
        assert (saved.step, saved.weights_sha256) == (TOTAL_STEPS, plain().hashes[-1]), saved
        self.end = HASH

    async def _stretch(
        self, name: str, memory: RunMemory, begun: Progress, *, stop_after_s: float = math.inf
    ) -> SaveReport:
        """Train with one Root, to the end or for so long; save, and stop it."""
        system, loop = self._sim.system, self._sim.loop
        stretch = Stretch(self._sim, name, memory, begun)
        self._stretches.append(stretch)
        self._stopping = False
        root = await stretch.start(self._folder)
        timer = loop.call_later(min(stop_after_s, 1e6), self._stop)
        try:
            for epoch in stretch.epochs_left():
                if not self._stopping:
                    await self._train_epoch(root, epoch)
        finally:
            timer.cancel()
        saved: SaveReport = await system.ask(root, Save(), timeout_s=SAVE_S)
        assert saved.weights_sha256 == plain().hashes[saved.step], f"another hash at step {saved.step}"
        await system.stop(root)
        return saved

    async def _train_epoch(self, root: ActorRef[Root], epoch: int) -> None:
        """Train one epoch, or as much of it as there is time for."""
        ask = self._sim.system.ask(root, TrainEpoch(epoch, EPOCH_S), timeout_s=EPOCH_S)
        self._epoch = asyncio.ensure_future(ask)
        stopped_before = self._stopping
        try:
            await self._epoch
        except asyncio.CancelledError:
            if not self._stopping or stopped_before or _being_cancelled():
                raise

    def _stop(self) -> None:
        self._stopping = True
        if self._epoch is not None:
            self._epoch.cancel()

    def failed(self, error: BaseException) -> None:
        """Write down how it ended: cleanly, or with a mistake in the program."""
        self.end = error.error_type if isinstance(error, AskFailed) else type(error).__name__
        unclean = {self.end, *re.findall(r"failed with (\w+)", str(error))} - CLEAN
        if unclean:
            self._sim.problems.append(f"it ended with {', '.join(sorted(unclean))}: {error}")

    @property
    def hurried(self) -> bool:
        """Whether jobs may have been too slow, which may end a run as any fault may."""
        return any(stretch.hurried for stretch in self._stretches)

    async def look_again(self, ends: Ends) -> None:
        """Hold the run to the plain loop when everything is over, and what was left behind has come in."""
        while waiting := [task for task in self._sim.callers if not task.done()]:
            await asyncio.wait(waiting)
        await asyncio.sleep(LATE_S)
        for stretch in self._stretches:
            self._sim.problems += await stretch.problems()
        ends[self.end, self._sim.faulty] += 1


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def training(sim: Simulation, ends: Ends | None = None) -> None:
    """Train, whatever happens.

    Args:
        sim: the simulation.
        ends: counts how the run ended.
    """
    run = TinyTraining(sim)
    sim.do(run.look_again(Ends() if ends is None else ends))
    try:
        await run.train()
    except (ActorError, asyncio.CancelledError) as error:
        run.failed(error)
        if sim.faulty or not run.hurried:  # then the simulation says whether it may end so
            raise
