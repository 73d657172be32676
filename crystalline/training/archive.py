"""The archive: keeps a copy of weights and moments, and writes it to the disk while training goes on.

One actor, so one thing after the other: a copy that is to be kept waits in the mailbox until the one before
it has been written. Training is held up by the copy alone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from actors import Actor, ActorRef, Context, JobsExhausted, JobToken, message, on
from crystalline.errors import CrystallineError, OutputError
from crystalline.model import weights_sha256
from crystalline.optim import AdamWBuffers
from crystalline.training.checkpoint import Snapshot
from crystalline.training.events import Saved
from crystalline.training.messages import Flush, Keep, Kept, Written
from crystalline.training.progress import Progress

if TYPE_CHECKING:
    from crystalline.training.memory import RunMemory
    from crystalline.training.run_folder import RunFolder

__all__ = ["WRITE_S", "Archive"]

WRITE_S: Final = 600.0
"""Seconds that writing a checkpoint may take."""


@message("crystalline.write")
class _Write:
    """Told by the archive to itself: write what was kept."""

    progress: Progress


class Archive(Actor):
    """Writes checkpoints.

    Args:
        memory: of the run.
        folder: where checkpoints go.
        listener: whom to tell `Saved`.
    """

    def __init__(self, memory: RunMemory, folder: RunFolder, listener: ActorRef[Any]) -> None:
        self._memory = memory
        self._folder = folder
        self._listener = listener
        self._copy: AdamWBuffers | None = None
        self._written = Written("", 0, "")
        self._failure: CrystallineError | None = None

    async def on_start(self, ctx: Context) -> None:
        """Take the memory of the copy now, in a thread: what is fresh costs more to write to."""
        with suppress(JobsExhausted):  # this only saves time later
            self._copy = await ctx.offload(_fresh, self._memory.current)

    @on(Keep)
    async def keep(self, msg: Keep, ctx: Context) -> Kept:
        """Copy the current weights and moments, to write them next.

        Raises:
            OutputError: the checkpoint before could not be written.
        """
        self._raise_failure()
        # Taken away while a job writes to it: one that is left behind must not meet the next.
        copy, self._copy = self._copy, None
        current = self._memory.current
        if copy is None:  # one was left behind
            copy = await ctx.offload(_fresh, current)
        await ctx.offload(_copy, current, copy)
        self._copy = copy
        ctx.tell(ctx.self_ref, _Write(msg.progress))
        return Kept(msg.progress.step)

    @on(_Write)
    async def write(self, msg: _Write, ctx: Context) -> None:
        """Write what was kept, and tell the listener."""
        copy, self._copy = self._copy, None
        if copy is None:
            return
        # Until it is done: one that takes too long is cancelled, and whoever asks next must hear of it.
        self._failure = OutputError(f"the checkpoint of step {msg.progress.step} was not written in time")
        try:
            path, sha256 = await ctx.offload(_write, self._folder, self._memory, copy, msg.progress)
        except CrystallineError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, who asks next must hear of it
            self._failure = OutputError(f"cannot write the checkpoint of step {msg.progress.step}: {error!r}")
        else:
            self._failure = None
            self._written = Written(path, msg.progress.step, sha256)
            ctx.tell(self._listener, Saved(path, msg.progress.step, sha256))
        self._copy = copy

    @on(Flush)
    async def flush(self, _msg: Flush, _ctx: Context) -> Written:
        """Answer when what was kept has been written.

        Raises:
            OutputError: it could not be written.
        """
        self._raise_failure()
        return self._written

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure


def _fresh(_token: JobToken, current: AdamWBuffers) -> AdamWBuffers:
    return AdamWBuffers(*(array.copy() for array in current))


def _copy(_token: JobToken, current: AdamWBuffers, copy: AdamWBuffers) -> None:
    for source, target in zip(current, copy, strict=True):
        np.copyto(target, source)


def _write(
    token: JobToken, folder: RunFolder, memory: RunMemory, copy: AdamWBuffers, progress: Progress
) -> tuple[str, str]:
    sha256 = weights_sha256(copy.weights)
    snapshot = Snapshot(memory.config, copy, progress, sha256)
    return str(folder.save(token, snapshot)), sha256
