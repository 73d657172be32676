"""What users hold: a training run inside their own event loop."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

import anyio
import numpy as np

from actors import ActorError, ActorSystem, AskFailed, DaemonExecutor, Expired, JobToken, Receiver
from crystalline.blas_limit import one_blas_thread
from crystalline.errors import SettingError, TrainingError
from crystalline.model import weights_sha256
from crystalline.training.events import Event, TrainReport
from crystalline.training.failures import own_error
from crystalline.training.footprint import peak_rss_bytes
from crystalline.training.messages import EpochReport, Save, SaveReport, TrainEpoch
from crystalline.training.plan import steps_planned
from crystalline.training.prepare import Prepared, prepare
from crystalline.training.root import Root, RootSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from actors import ActorRef, Request
    from actors.tracing import TraceOptions
    from crystalline.data import Corpus
    from crystalline.model import ModelConfig
    from crystalline.training.config import TrainConfig
    from crystalline.training.footprint import Footprint

__all__ = ["SHUTDOWN_S", "Trainer"]

SHUTDOWN_S = 4.0
"""Seconds in which leaving the trainer ends whatever still runs."""

_SAVE_S = 600.0
_EVENTS = 4096


class Trainer:
    """One training run: `async with Trainer(model_config, train_config, corpus) as trainer: ...`.

    Entering prepares the text and starts Root and the spheres. `fit` or `events`, whichever comes first,
    starts the training; both may be used together. Leaving the block ends everything within `SHUTDOWN_S`,
    also when it is left by an error or by cancellation. While it is open, BLAS uses one thread in the whole
    process: the cores belong to the spheres.

    Args:
        model_config: sizes; `vocab_size` is the most entries that the tokenizer may have.
        train_config: settings.
        corpus: the text.
        out: run folder for checkpoints; None keeps no files.
        force: replace the run folder of an earlier run.
        trace: file for the actors' trace, or what it is to keep and where; None for no trace.
        resume: a checkpoint, or a run folder whose latest one is meant, to go on from. The result has the
            bits of a run that was never stopped. `out` may be the run folder that the checkpoint lies in:
            then newer checkpoints are removed, and the metrics are cut to it.

    Raises (on entering):
        InputError: corpus, settings or output folder cannot be used.
        OSError: the trace file cannot be written.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        train_config: TrainConfig,
        corpus: Corpus,
        *,
        out: Path | None = None,
        force: bool = False,
        trace: Path | TraceOptions | None = None,
        resume: Path | None = None,
    ) -> None:
        self._model = model_config
        self._train = train_config
        self._corpus: Corpus | None = corpus
        self._out = out
        self._force = force
        self._trace = trace
        self._resume = resume
        self._stack = AsyncExitStack()
        self._prepared: Prepared | None = None
        self._system: ActorSystem | None = None
        self._root: ActorRef[Root] | None = None
        self._receiver: Receiver | None = None
        self._fitting: asyncio.Task[TrainReport] | None = None
        self._epoch: asyncio.Task[EpochReport] | None = None
        self._stopping = False
        self._reports: list[EpochReport] = []
        self._begun_epochs = 0

    async def __aenter__(self) -> Self:
        if self._corpus is None:
            raise SettingError("this trainer was opened before: make a new one for another run")
        async with AsyncExitStack() as stack:
            stack.enter_context(one_blas_thread())
            self._prepared = await _in_thread(
                prepare,
                self._model,
                self._train,
                self._corpus,
                self._out,
                force=self._force,
                resume=self._resume,
            )
            self._corpus = None  # it may be large, and is not needed once it is tokens
            if self._prepared.folder is not None:
                stack.callback(self._prepared.folder.close)
            system = ActorSystem("crystalline", trace=self._trace, shutdown_s=SHUTDOWN_S)
            self._system = await stack.enter_async_context(system)
            self._receiver = system.receiver(capacity=_EVENTS)
            settings = RootSettings(
                self._train,
                self._prepared.windows,
                self._prepared.seat,
                self._prepared.folder,
                self._receiver.ref,
                self._prepared.progress,
            )
            self._root = await system.spawn(Root, settings, name="root")
            stack.push_async_callback(self._end_fitting)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):  # bounded: every part of the stack is
            await self._stack.aclose()

    @property
    def model_config(self) -> ModelConfig:
        """Sizes of the model, with the vocabulary that the text gave."""
        return self._open().config

    @property
    def unigram_loss(self) -> float | None:
        """Cross-entropy of held-out tokens under the frequencies of training tokens, nats: a yardstick."""
        return self._open().unigram_loss

    @property
    def resting(self) -> list[int]:
        """Spheres that get no shard because there are more of them than shards."""
        return self._open().seat.plan.resting(self._train.shards)

    @property
    def steps(self) -> int:
        """Optimizer steps planned."""
        return sum(self._steps_planned())

    @property
    def footprint(self) -> Footprint:
        """The memory that the buffers of the run take."""
        return self._open().footprint

    @property
    def begins_after(self) -> int:
        """Steps taken before this run began: 0, or those of the checkpoint that it goes on from."""
        return self._open().progress.step

    @property
    def system(self) -> ActorSystem:
        """The actors at work, for `tree()`, `waits()` and `statistics()`."""
        if self._system is None:
            raise SettingError("the trainer is not open: use `async with Trainer(...)`")
        return self._system

    def weights_sha256(self) -> str:
        """Hash of the weights as they are now."""
        return weights_sha256(self._open().seat.memory.current.weights)

    async def fit(self) -> TrainReport:
        """Train to the end and return the report; a second call returns the same one.

        Raises:
            NonFiniteError: a loss or gradient was not finite; weights and checkpoints are those before.
            OutputError: a checkpoint could not be written.
            TrainingError: an epoch failed, the text tells how; or the training was cancelled elsewhere.

        Cancelling it abandons the step under way; the last checkpoint stays.
        """
        return await _result(self._begin())

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens, from now to the end of training; starts it if need be.

        A reader that falls behind by thousands of events loses the oldest.

        Raises:
            CrystallineError: as `fit`, after the last event.
        """
        fitting = self._begin()
        receiver = self._receiver
        if receiver is not None:
            async for event in receiver:
                yield event
        await _result(fitting)

    async def stop(self) -> None:
        """End the training early: the step under way is abandoned and a checkpoint is saved.

        `fit` then returns a report with `interrupted`. Returns at once; harmless when nothing runs.
        """
        self._stopping = True
        if self._epoch is not None:
            self._epoch.cancel()

    def _open(self) -> Prepared:
        if self._prepared is None:
            raise SettingError("the trainer is not open: use `async with Trainer(...)`")
        return self._prepared

    def _steps_planned(self) -> list[int]:
        per_epoch = -(-len(self._open().windows.train) // self._train.batch_size)
        return steps_planned(per_epoch, self._train.epochs, self._train.steps)

    def _begin(self) -> asyncio.Task[TrainReport]:
        self._open()
        if self._fitting is None:
            self._fitting = asyncio.create_task(self._fit(), name="crystalline-fit")
            # A callback and no `finally`: a task that is cancelled before its first step runs none of itself.
            self._fitting.add_done_callback(lambda _: self._close_events())
        return self._fitting

    async def _fit(self) -> TrainReport:
        begun_s = time.perf_counter()
        self._begun_epochs = self._open().progress.epoch
        for epoch in self._epochs_left():
            if self._stopping:
                break
            self._begun_epochs = epoch
            report = await self._train_epoch(epoch)
            if report is not None:
                self._reports.append(report)
        saved: SaveReport = await self._ask(Save(), _SAVE_S, "the last checkpoint")
        return self._report(saved, time.perf_counter() - begun_s)

    def _epochs_left(self) -> range:
        begun = self._open().progress
        return range(max(1, begun.epoch + begun.validated), len(self._steps_planned()) + 1)

    def _close_events(self) -> None:
        if self._receiver is not None:
            self._receiver.close()

    async def _train_epoch(self, epoch: int) -> EpochReport | None:
        """Train one epoch; None when `stop` ended it."""
        timeout_s = self._train.epoch_timeout_s
        ask = self._ask(TrainEpoch(epoch, timeout_s), timeout_s, f"epoch {epoch}")
        self._epoch = asyncio.create_task(ask, name=f"crystalline-epoch-{epoch}")
        try:
            return await self._epoch
        except asyncio.CancelledError:
            if self._stopping and not _being_cancelled():
                return None
            raise
        finally:
            self._epoch.cancel()
            self._epoch = None

    async def _ask(self, request: Request[Any], timeout_s: float, what: str) -> Any:
        """Ask Root for `what`; an error of ours that happened there is raised as itself.

        Raises:
            CrystallineError: what Root failed with.
        """
        if self._root is None:
            raise SettingError("the trainer is not open: use `async with Trainer(...)`")
        try:
            return await self.system.ask(self._root, request, timeout_s=timeout_s)
        except AskFailed as failure:
            raise own_error(failure) or TrainingError(f"{what} failed: {failure}") from failure
        except Expired as error:
            raise TrainingError(f"{what} was not done within {timeout_s:g} s: allow it more time") from error
        except ActorError as error:
            raise TrainingError(f"{what} was not done: {error}") from error

    async def _end_fitting(self) -> None:
        """Leave no task behind: what `fit` has under way is cancelled, its error was somebody else's."""
        tasks = [task for task in (self._fitting, self._epoch) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_S)

    def _report(self, saved: SaveReport, wall_s: float) -> TrainReport:
        prepared, last = self._open(), self._reports[-1] if self._reports else None
        seconds = saved.seconds
        busy, waiting = (saved.usage / (seconds or 1.0)).T
        return TrainReport(
            epochs=self._begun_epochs,
            steps=saved.step,
            tokens=saved.tokens,
            train_loss=last.train_loss if last else None,
            val_loss=last.val_loss if last else None,
            unigram_loss=prepared.unigram_loss,
            tokens_per_s=saved.tokens / seconds if seconds else 0.0,
            wall_s=wall_s,
            spheres=self._train.spheres,
            shards=self._train.shards,
            parameters=prepared.config.parameter_count(),
            model=str(self._out) if self._out is not None else None,
            weights_sha256=saved.weights_sha256,
            sphere_busy=busy.tolist(),
            sphere_waiting=waiting.tolist(),
            sphere_idle=np.maximum(0.0, 1.0 - busy - waiting).tolist(),
            peak_rss_bytes=peak_rss_bytes(),
            planned_bytes=prepared.footprint.total,
            resting=len(self.resting),
            skipped=saved.skipped,
            spikes=saved.spikes,
            interrupted=saved.step < self.steps or not saved.validated,
        )


async def _result(fitting: asyncio.Task[TrainReport]) -> TrainReport:
    """The report. A training that others have cancelled is an error here, and no cancellation.

    Raises:
        CrystallineError: as `Trainer.fit`.
    """
    try:
        return await fitting
    except asyncio.CancelledError:
        if _being_cancelled():
            raise
        raise TrainingError("the training was cancelled before its end: make a new trainer") from None


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _in_thread(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run `fn(token, ...)` in a daemon thread. Cancelling leaves the thread behind; it holds up no exit."""
    executor = DaemonExecutor(1, name="crystalline-prepare")
    token = JobToken(float("inf"))
    try:
        return await asyncio.wrap_future(executor.submit(fn, token, *args, **kwargs))
    finally:
        token.cancel()
        executor.shutdown(wait=False)
