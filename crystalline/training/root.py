"""Root: the coordinator. It hands out each step's shards, reduces, and moves the weights on.

One step, with `current` the weights of version v and `target` the memory of version v + 1:

    ComputeShards(v)  -> every shard's loss and the gradients of tree nodes
    ReduceSlices      -> target.gradient, and its sum of squares slice by slice
    ApplySlices       -> target.buffers
    commit            -> the target is version v + 1

Whatever fails before the commit leaves version v untouched.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from actors import Actor, ActorRef, Context, freeze, on
from crystalline.data import batch_indices, cut_into_shards, epoch_order, steps_per_epoch
from crystalline.errors import NonFiniteError
from crystalline.model import layout_of, name_at, weights_sha256
from crystalline.optim import clip_scale, global_norm, learning_rate
from crystalline.training.checkpoint import Progress, Snapshot
from crystalline.training.events import EpochDone, Saved, SphereTime, StepDone
from crystalline.training.gather import Reasons, ask_each, gather
from crystalline.training.messages import (
    ApplySlices,
    ComputeShards,
    EpochReport,
    EvaluateShards,
    NodeSum,
    ReduceSlices,
    Save,
    SaveReport,
    TrainEpoch,
)
from crystalline.training.plan import steps_planned
from crystalline.training.sphere import spawn_spheres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import JobToken
    from crystalline.data import Windows
    from crystalline.training.checkpoint import RunFolder
    from crystalline.training.config import TrainConfig
    from crystalline.training.sphere import Seat

__all__ = ["Root", "RootSettings"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class RootSettings:
    """What Root is given.

    Attributes:
        train: the settings of the run.
        windows: the text.
        seat: what spheres are given; Root uses the same plan, memory and jobs.
        folder: where checkpoints go; None keeps no files.
        listener: whom to tell `StepDone`, `EpochDone` and `Saved`.
        progress: where the run begins.
    """

    train: TrainConfig
    windows: Windows
    seat: Seat
    folder: RunFolder | None
    listener: ActorRef[Any]
    progress: Progress


class Root(Actor):
    """The actor at the top of a training run."""

    def __init__(self, settings: RootSettings) -> None:
        self._settings = settings
        self._train = settings.train
        self._windows = settings.windows
        self._memory = settings.seat.memory
        self._below: dict[int, ActorRef[Any]] = {}
        self._steps = steps_planned(
            steps_per_epoch(len(self._windows.train), self._train.batch_size),
            self._train.epochs,
            self._train.steps,
        )
        self._steps_in_run = sum(self._steps)
        self._progress = settings.progress
        self._saved: SaveReport | None = None
        self._tokens = 0
        self._seconds = 0.0
        self._usage = np.zeros((settings.train.spheres, 2))

    async def on_start(self, ctx: Context) -> None:
        """Start the tree."""
        self._below = await spawn_spheres(ctx, None, self._settings.seat)

    @on(TrainEpoch)
    async def train_epoch(self, msg: TrainEpoch, ctx: Context) -> EpochReport:
        """Train one epoch, validate, and save a checkpoint."""
        try:
            async with ctx.epoch(msg.epoch, timeout_s=msg.timeout_s):
                report = await self._steps_of(msg.epoch, ctx)
        except BaseException:
            self._memory.discard_target()  # a job that was left behind may still write to it
            raise
        self._tell_epoch(report, ctx)
        await self._save(ctx)
        return report

    @on(Save)
    async def save(self, _msg: Save, ctx: Context) -> SaveReport:
        """Write a checkpoint of where the run stands now."""
        return await self._save(ctx)

    async def _steps_of(self, epoch: int, ctx: Context) -> EpochReport:
        order = epoch_order(len(self._windows.train), self._train.seed, epoch)
        tokens, seconds, usage = self._tokens, self._seconds, self._usage.copy()
        loss = 0.0
        begun = self._progress.step_in_epoch if self._progress.epoch == epoch else 0
        for at in range(begun, self._steps[epoch - 1]):
            indices = self._windows.train[batch_indices(order, at, self._train.batch_size)]
            done = await self._step(epoch, indices, ctx)
            self._progress = Progress(epoch=epoch, step=done.step, step_in_epoch=at + 1)
            self._tokens += done.tokens
            self._seconds += done.seconds
            loss += done.loss * done.tokens
            ctx.tell(self._settings.listener, done)
            if self._train.save_every and done.step % self._train.save_every == 0:
                await self._save(ctx)
        tokens, seconds, usage = self._tokens - tokens, self._seconds - seconds, self._usage - usage
        val_loss = await self._validate(epoch, ctx)
        return EpochReport(
            epoch, self._progress.step, loss / tokens, val_loss, tokens, seconds, freeze(usage)
        )

    async def _step(self, epoch: int, indices: Array, ctx: Context) -> StepDone:
        """Take one optimizer step."""
        begun_s = time.perf_counter()
        step = self._progress.step + 1
        inputs, targets = self._cut(indices)
        tokens = sum(int(np.count_nonzero(shard >= 0)) for shard in targets)
        before = self._usage[:, 0].copy()
        losses, nodes = await self._gradients(epoch, step, tokens, inputs, targets, ctx)
        rate = learning_rate(
            step - 1, peak=self._train.lr, warmup_steps=self._train.warmup, total_steps=self._steps_in_run
        )
        norm = await self._update(step, nodes, rate, ctx)
        seconds = time.perf_counter() - begun_s
        return StepDone(
            epoch=epoch,
            epochs=len(self._steps),
            step=step,
            steps=self._steps_in_run,
            loss=_ordered_sum(losses) / tokens,
            grad_norm=norm,
            learning_rate=rate,
            tokens=tokens,
            seconds=seconds,
            busy=tuple(((self._usage[:, 0] - before) / seconds).tolist()),
        )

    async def _gradients(
        self,
        epoch: int,
        step: int,
        tokens: int,
        inputs: tuple[Array, ...],
        targets: tuple[Array, ...],
        ctx: Context,
    ) -> tuple[Array, tuple[NodeSum, ...]]:
        """Losses of all shards in order, and tree nodes that cover them.

        Raises:
            NonFiniteError: a shard's loss is not finite; the weights were not touched.
            TrainingError: a sphere is lost for good.
        """
        whole = ComputeShards(epoch, step, self._memory.version, tokens, 0, inputs, targets)
        parts = await gather(ctx, self._shared_out(whole, len(inputs)))
        self._add_usage(parts)
        losses = np.concatenate([part.losses for part in parts])
        for shard, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise NonFiniteError(
                    f"step {step}: the loss of shard {shard} is {loss}; the weights were not changed. "
                    "A lower learning rate or a smaller clip may help"
                )
        return losses, tuple(node for part in parts for node in part.nodes)

    async def _update(self, step: int, nodes: tuple[NodeSum, ...], rate: float, ctx: Context) -> float:
        """Reduce, clip, apply and commit; return the gradient's norm.

        Loops until an attempt lost no sphere: restarts are limited, so this ends.

        Raises:
            NonFiniteError: the gradient or what it leads to is not finite; the weights were not touched.
            TrainingError: a sphere is lost for good.
        """
        slices = len(self._settings.seat.work.slices)
        restarting: Reasons = {}
        while True:
            attempt = self._memory.attempt
            reduce = ReduceSlices(step, attempt, 0, slices, nodes)
            asks = self._shared_out(reduce, slices)
            squared, restarting = await ask_each(ctx, asks, restarting)
            if not restarting:
                parts = [squared[ref] for ref in asks]
                self._add_usage(parts)
                norm = self._norm(step, np.concatenate([part.squares for part in parts]))
                scale = clip_scale(norm, self._train.clip)
                apply = ApplySlices(step, attempt, 0, slices, rate, scale)
                applied, restarting = await ask_each(ctx, self._shared_out(apply, slices))
                self._add_usage(list(applied.values()))
            if not restarting:
                self._memory.commit()
                return norm
            self._memory.discard_target()

    def _norm(self, step: int, squares: Array) -> float:
        broken = np.flatnonzero(~np.isfinite(squares))
        if len(broken):
            lo, hi = self._settings.seat.work.slices[broken[0]]
            gradient = self._memory.target(self._memory.attempt).gradient[lo:hi]
            index = lo + int(np.flatnonzero(~np.isfinite(gradient))[0])
            tensor = name_at(layout_of(self._memory.config), index)
            raise NonFiniteError(
                f"step {step}: the gradient of {tensor} is not finite; the weights were not changed. "
                "A lower learning rate may help"
            )
        return global_norm(squares.tolist())

    async def _validate(self, epoch: int, ctx: Context) -> float | None:
        """Mean loss over the held-out text, None without any.

        Raises:
            NonFiniteError: it is not finite.
            TrainingError: a sphere is lost for good.
        """
        held_out = self._windows.validation
        total, tokens = 0.0, 0
        for at in range(steps_per_epoch(len(held_out), self._train.batch_size)):
            inputs, targets = self._cut(batch_indices(held_out, at, self._train.batch_size))
            whole = EvaluateShards(epoch, at, self._memory.version, 0, inputs, targets)
            parts = await gather(ctx, self._shared_out(whole, len(inputs)))
            total += _ordered_sum(np.concatenate([part.losses for part in parts]))
            tokens += sum(int(np.count_nonzero(shard >= 0)) for shard in targets)
        if not math.isfinite(total):
            raise NonFiniteError(
                f"epoch {epoch}: the loss on the held-out text is {total}; no checkpoint of these weights is "
                "made. A lower learning rate may help"
            )
        return total / tokens if tokens else None

    def _cut(self, indices: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Inputs and targets of a batch, cut into shards by symmetry group, evenly."""
        inputs, targets = self._windows.batch(indices)
        rows = cut_into_shards(np.where(targets >= 0, inputs, -1), self._train.shards)  # padding has no vote
        return tuple(freeze(inputs[row]) for row in rows), tuple(freeze(targets[row]) for row in rows)

    def _shared_out(self, whole: Any, units: int) -> dict[ActorRef[Any], Any]:
        """What to ask of each sphere under Root that has work."""
        at_work = self._settings.seat.plan.children_at_work(None, units)
        return {self._below[child]: whole.part(run) for child, run in at_work}

    async def _save(self, ctx: Context) -> SaveReport:
        if self._saved is not None and self._saved.step == self._progress.step:
            return self._saved
        sha256 = await ctx.offload(_hash, self._memory.current.weights)
        folder = self._settings.folder
        path = None
        if folder is not None:
            snapshot = Snapshot(self._memory.config, self._memory.current, self._progress, sha256)
            path = str(await ctx.offload(folder.save, snapshot))
            ctx.tell(self._settings.listener, Saved(path, self._progress.step, sha256))
        usage = freeze(self._usage.copy())
        self._saved = SaveReport(path, self._progress.step, sha256, self._tokens, self._seconds, usage)
        return self._saved

    def _add_usage(self, parts: Sequence[Any]) -> None:
        for part in parts:
            np.add.at(self._usage, part.usage[:, 0].astype(int), part.usage[:, 1:])

    def _tell_epoch(self, report: EpochReport, ctx: Context) -> None:
        spheres = tuple(
            SphereTime(f"sphere-{index}", busy_s, waiting_s, max(0.0, report.seconds - busy_s - waiting_s))
            for index, (busy_s, waiting_s) in enumerate(report.usage.tolist())
        )
        done = EpochDone(
            epoch=report.epoch,
            epochs=len(self._steps),
            step=report.step,
            train_loss=report.train_loss,
            val_loss=report.val_loss,
            tokens=report.tokens,
            seconds=report.seconds,
            spheres=spheres,
        )
        ctx.tell(self._settings.listener, done)


def _hash(_token: JobToken, weights: Array) -> str:
    return weights_sha256(weights)


def _ordered_sum(values: Array) -> float:
    """Plain left-to-right float64 addition: neither pairwise nor compensated, the same everywhere."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total
