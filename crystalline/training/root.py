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
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from actors import Actor, ActorDown, ActorRef, AskFailed, Context, Supervision, freeze, on
from crystalline.data import batch_indices, epoch_order, steps_per_epoch
from crystalline.errors import NonFiniteError, OutputError
from crystalline.model import layout_of, name_at, weights_sha256
from crystalline.optim import clip_scale, global_norm, learning_rate
from crystalline.training.ahead import ahead
from crystalline.training.archive import WRITE_S, Archive
from crystalline.training.cutting import cut_batch
from crystalline.training.events import EpochDone, SphereTime, StepDone
from crystalline.training.failures import own_error
from crystalline.training.gather import Reasons, ask_once, gather
from crystalline.training.messages import (
    ApplySlices,
    ComputeShards,
    EpochReport,
    EvaluateShards,
    Flush,
    Keep,
    NodeSum,
    ReduceSlices,
    Save,
    SaveReport,
    Shards,
    TrainEpoch,
    Written,
)
from crystalline.training.plan import steps_planned
from crystalline.training.records import epoch_record, step_record
from crystalline.training.sphere import spawn_spheres
from crystalline.training.spikes import is_spike
from crystalline.training.team import Team

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from actors import JobToken, Request
    from crystalline.data import Windows
    from crystalline.training.config import TrainConfig
    from crystalline.training.progress import Progress
    from crystalline.training.run_folder import RunFolder
    from crystalline.training.sphere import Seat

__all__ = ["Root", "RootSettings"]

Array = np.ndarray[Any, Any]

_SKIPPED_MAX: Final = 100
# A save that fails ends the archive's life; the next one must find it there.
_ARCHIVE = Supervision(max_restarts=3, window_s=60.0, backoff_s=0.0)


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


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch, cut into shards."""

    epoch: int
    step: int
    shards: Shards

    @cached_property
    def tokens(self) -> int:
        return int(np.count_nonzero(self.shards.targets >= 0))


class Root(Actor):
    """The actor at the top of a training run."""

    def __init__(self, settings: RootSettings) -> None:
        self._settings = settings
        self._train = settings.train
        self._windows = settings.windows
        self._memory = settings.seat.memory
        self._team = Team({}, redistribute=False)
        self._archive: ActorRef[Archive] | None = None
        self._steps = steps_planned(
            steps_per_epoch(len(self._windows.train), self._train.batch_size),
            self._train.epochs,
            self._train.steps,
        )
        self._steps_in_run = sum(self._steps)
        self._progress = settings.progress
        self._kept: Progress | None = None
        self._kept_at_s = time.monotonic()
        self._tokens = 0
        self._seconds = 0.0
        self._usage = np.zeros((settings.train.spheres, 2))

    async def on_start(self, ctx: Context) -> None:
        """Start the tree."""
        self._team = await spawn_spheres(ctx, None, self._settings.seat)
        if self._settings.folder is not None:
            self._archive = await ctx.spawn(
                Archive,
                self._memory,
                self._settings.folder,
                self._settings.listener,
                name="archive",
                handler_timeout_s=WRITE_S,
                supervision=_ARCHIVE,
            )

    @on(TrainEpoch)
    async def train_epoch(self, msg: TrainEpoch, ctx: Context) -> EpochReport:
        """Train one epoch, validate, and have a checkpoint written."""
        try:
            async with ctx.epoch(msg.epoch, self._team.refs, timeout_s=msg.timeout_s):
                seconds = self._seconds
                report = await self._steps_of(msg.epoch, ctx)
        except BaseException:
            self._memory.discard_target()  # a job that was left behind may still write to it
            raise
        self._tell_epoch(report, self._seconds - seconds, ctx)
        await self._keep(ctx)
        return report

    @on(Save)
    async def save(self, _msg: Save, ctx: Context) -> SaveReport:
        """Answer when a checkpoint of where the run stands now is on the disk."""
        if self._archive is None:
            sha256 = await ctx.offload(_hash, self._memory.current.weights)
            folder = None
        else:
            written = await self._flush(ctx)
            folder, sha256 = written.folder, written.weights_sha256
        usage = freeze(self._usage.copy())
        return SaveReport(
            folder,
            self._progress.step,
            sha256,
            self._tokens,
            self._seconds,
            usage,
            self._progress.skipped,
            self._progress.spikes,
            self._progress.validated,
        )

    async def _steps_of(self, epoch: int, ctx: Context) -> EpochReport:
        order = epoch_order(len(self._windows.train), self._train.seed, epoch)
        usage = self._usage.copy()
        progress, planned = self._progress.begun(epoch), self._steps[epoch - 1]
        left = range(progress.step_in_epoch, planned)
        wanted = (self._windows.train[batch_indices(order, at, self._train.batch_size)] for at in left)
        async with aclosing(self._batches(wanted, ctx)) as batches:
            async for shards in batches:
                done = await self._step(epoch, shards, ctx)
                progress = self._progress = progress.after(done)
                self._tokens += done.tokens
                self._seconds += done.seconds
                self._record(step_record(done))
                ctx.tell(self._settings.listener, done)
                self._check_skipped(done)
                # After the last one, the epoch's end is saved.
                if progress.step_in_epoch < planned and self._save_is_due():
                    await self._keep(ctx)
        usage = freeze(self._usage - usage)
        report = EpochReport(
            epoch,
            progress.step,
            progress.train_loss,
            await self._validate(epoch, ctx),
            progress.epoch_tokens,
            progress.epoch_seconds,
            usage,
        )
        self._progress = replace(progress, validated=True)
        self._record(epoch_record(report))
        return report

    async def _step(self, epoch: int, shards: Shards, ctx: Context) -> StepDone:
        """Take one optimizer step, or skip it if the settings say so.

        Raises:
            NonFiniteError: a loss or a gradient is not finite; the weights were not touched.
            TrainingError: a sphere is lost for good.
        """
        begun_s = time.perf_counter()
        step = self._progress.step + 1
        batch = _Batch(epoch, step, shards)
        before = self._usage.copy()
        rate = learning_rate(
            step - 1, peak=self._train.lr, warmup_steps=self._train.warmup, total_steps=self._steps_in_run
        )
        loss, norm, skipped = 0.0, 0.0, ""
        try:
            loss, nodes = await self._gradients(batch, ctx)
            norm = await self._update(batch, nodes, rate, ctx)
            self._memory.commit()
        except NonFiniteError as error:
            if self._train.on_nonfinite == "fail":
                raise
            skipped = str(error)
        seconds = time.perf_counter() - begun_s
        busy, waiting = ((self._usage - before) / seconds).T.tolist()
        return StepDone(
            epoch=epoch,
            epochs=len(self._steps),
            step=step,
            steps=self._steps_in_run,
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            tokens=batch.tokens,
            seconds=seconds,
            busy=tuple(busy),
            waiting=tuple(waiting),
            skipped=skipped,
            spike=not skipped and is_spike(loss, self._progress.recent_losses),
        )

    def _check_skipped(self, done: StepDone) -> None:
        if self._progress.skipped_in_a_row >= _SKIPPED_MAX:
            raise NonFiniteError(f"{_SKIPPED_MAX} steps in a row were skipped; the last one: {done.skipped}")

    async def _gradients(self, batch: _Batch, ctx: Context) -> tuple[float, tuple[NodeSum, ...]]:
        """Mean loss of the batch, and tree nodes that cover it.

        Raises:
            NonFiniteError: a shard's loss is not finite.
            TrainingError: a sphere is lost for good.
        """
        parts = await gather(ctx, self._team, self._whole(batch))
        self._add_usage(parts)
        losses = np.concatenate([part.losses for part in parts])
        for shard, loss in enumerate(losses.tolist()):
            if not math.isfinite(loss):
                raise NonFiniteError(
                    f"step {batch.step}: the loss of shard {shard} is {loss}; the weights were not changed. "
                    "A lower learning rate or a smaller clip may help"
                )
        return _ordered_sum(losses) / batch.tokens, tuple(node for part in parts for node in part.nodes)

    def _whole(self, batch: _Batch) -> ComputeShards:
        version, tokens = self._memory.version, batch.tokens
        return ComputeShards(batch.epoch, batch.step, version, tokens, 0, batch.shards)

    async def _update(self, batch: _Batch, nodes: tuple[NodeSum, ...], rate: float, ctx: Context) -> float:
        """Reduce, clip and apply; return the gradient's norm. The target is whole then.

        Loops until an attempt lost no sphere: restarts are limited and so are spheres, so this ends.

        Raises:
            NonFiniteError: the gradient or what it leads to is not finite.
            TrainingError: a sphere is lost for good.
        """
        slices, update = len(self._settings.seat.work.slices), self._progress.updates + 1
        reasons: Reasons = {}
        while True:
            attempt = self._memory.attempt
            self._memory.stage(nodes)
            reduce = ReduceSlices(batch.step, attempt, 0, slices)
            parts, reasons = await ask_once(ctx, self._team, reduce, reasons)
            if parts is not None:
                self._add_usage(parts)
                norm = await self._norm(batch, np.concatenate([part.squares for part in parts]), ctx)
                scale = clip_scale(norm, self._train.clip)
                apply = ApplySlices(batch.step, update, attempt, 0, slices, rate, scale)
                parts, reasons = await ask_once(ctx, self._team, apply)
            if parts is not None:
                self._add_usage(parts)
                _check_applied(batch.step, [part.trouble for part in parts])
                return norm
            self._memory.discard_target()

    async def _norm(self, batch: _Batch, squares: Array, ctx: Context) -> float:
        broken = np.flatnonzero(~np.isfinite(squares))
        if not len(broken):
            return global_norm(squares.tolist())
        lo, hi = self._settings.seat.work.slices[broken[0]]
        gradient = self._memory.target(self._memory.attempt).gradient[lo:hi]
        tensor = name_at(layout_of(self._memory.config), lo + int(np.isfinite(gradient).argmin()))
        where = await self._blame(batch, ctx)
        raise NonFiniteError(
            f"step {batch.step}: the gradient of {tensor} is not finite, {where}; the weights were not "
            "changed. A lower learning rate may help"
        )

    async def _blame(self, batch: _Batch, ctx: Context) -> str:
        """Compute one shard after the other once more, to name the first that has such a gradient."""
        whole = self._whole(batch)
        for shard in range(len(batch.shards)):
            for part in await gather(ctx, self._team, whole.part((shard, shard + 1))):
                for node in part.nodes:
                    at = await ctx.offload(_first_not_finite, node.gradient)
                    if at is not None:
                        tensor = name_at(layout_of(self._memory.config), at)
                        return f"first in shard {shard} ({tensor})"
        return "though that of each shard is: their sum is too large"

    async def _validate(self, epoch: int, ctx: Context) -> float | None:
        """Mean loss over the held-out text, None without any.

        Raises:
            NonFiniteError: it is not finite.
            TrainingError: a sphere is lost for good.
        """
        held_out = self._windows.validation
        total, tokens = 0.0, 0
        numbers = range(steps_per_epoch(len(held_out), self._train.batch_size))
        wanted = (batch_indices(held_out, at, self._train.batch_size) for at in numbers)
        async with aclosing(self._batches(wanted, ctx)) as batches:
            at = 0
            async for shards in batches:
                batch = _Batch(epoch, at, shards)
                whole = EvaluateShards(epoch, at, self._memory.version, 0, shards)
                parts = await gather(ctx, self._team, whole)
                total += _ordered_sum(np.concatenate([part.losses for part in parts]))
                tokens += batch.tokens
                at += 1
        if not math.isfinite(total):
            raise NonFiniteError(
                f"epoch {epoch}: the loss on the held-out text is {total}; no checkpoint of these weights is "
                "made. A lower learning rate may help"
            )
        return total / tokens if tokens else None

    def _batches(self, wanted: Iterable[Array], ctx: Context) -> AsyncGenerator[Shards]:
        """Batches by the indices of their windows, each read from the text while the one before is used."""
        # Of the epoch, not of a job of spheres, which could be asked for again: a slow text is waited for.
        limit_s = ctx.remaining_s
        return ahead(lambda indices: ctx.offload_within(limit_s, self._cut, indices), wanted)

    def _cut(self, _token: JobToken, indices: Array) -> Shards:
        return cut_batch(self._windows, indices, self._train.shards)

    def _save_is_due(self) -> bool:
        every, every_s = self._train.save_every, self._train.save_every_s
        by_steps = every > 0 and self._progress.step % every == 0
        return by_steps or (every_s > 0 and time.monotonic() - self._kept_at_s >= every_s)

    async def _keep(self, ctx: Context) -> None:
        """Have a checkpoint of where the run stands now written, without waiting for it.

        Raises:
            OutputError: the one before could not be written.
        """
        if self._archive is None or self._kept is self._progress:
            return
        size = self._settings.folder.metrics.size if self._settings.folder is not None else 0
        await self._ask_archive(Keep(replace(self._progress, metrics_bytes=size)), ctx)
        self._kept, self._kept_at_s = self._progress, time.monotonic()

    async def _flush(self, ctx: Context) -> Written:
        """Have a checkpoint of where the run stands now written, and wait for it.

        Raises:
            OutputError: it could not be written.
        """
        for _ in range(2):  # an archive that was lost had the copy with it; the weights are still here
            try:
                await self._keep(ctx)
                written: Written = await self._ask_archive(Flush(), ctx)
            except ActorDown as down:
                if not down.restarting:
                    raise
            else:
                if written.folder and written.step == self._progress.step:
                    return written
            self._kept = None
        raise OutputError("the last checkpoint was lost before it was written; those before it are whole")

    async def _ask_archive(self, request: Request[Any], ctx: Context) -> Any:
        if self._archive is None:
            raise AssertionError("a run without files has no archive")
        try:
            return await ctx.ask(self._archive, request, timeout_s=ctx.remaining_s)
        except AskFailed as failure:
            raise own_error(failure) or failure from failure

    def _record(self, record: Mapping[str, Any]) -> None:
        folder = self._settings.folder
        if folder is None:
            return
        try:
            folder.metrics.append(record)
        except OSError as error:
            raise OutputError(
                f"cannot write the metrics under {folder.path}: {error.strerror or error}. The checkpoints "
                "are as they were"
            ) from error

    def _add_usage(self, parts: Sequence[Any]) -> None:
        for part in parts:
            np.add.at(self._usage, part.usage[:, 0].astype(int), part.usage[:, 1:])

    def _tell_epoch(self, report: EpochReport, seconds: float, ctx: Context) -> None:
        spheres = tuple(
            SphereTime(f"sphere-{index}", busy_s, waiting_s, max(0.0, seconds - busy_s - waiting_s))
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


def _check_applied(step: int, troubles: Sequence[str]) -> None:
    for trouble in filter(None, troubles):
        raise NonFiniteError(
            f"step {step}: {trouble}; the weights were not changed. A lower learning rate or a smaller clip "
            "may help"
        )


def _first_not_finite(_token: JobToken, gradient: Array) -> int | None:
    finite = np.isfinite(gradient)
    return None if finite.all() else int(finite.argmin())


def _hash(_token: JobToken, weights: Array) -> str:
    return weights_sha256(weights)


def _ordered_sum(values: Array) -> float:
    """Plain left-to-right float64 addition: neither pairwise nor compensated, the same everywhere."""
    total = 0.0
    for value in values.tolist():
        total += value
    return total
