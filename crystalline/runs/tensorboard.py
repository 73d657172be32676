"""What a training tells, as event files for TensorBoard.

The records are written by tensorboardX, an optional extra; nothing that can do without imports this module.
Its `SummaryWriter` is not used: behind it a thread writes, and when that fails, on a full disk for example,
the training would wait for ever for room in its queue. Its `RecordWriter` writes where it is called.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tensorboardX import RecordWriter
from tensorboardX.proto.event_pb2 import Event as Record
from tensorboardX.proto.event_pb2 import SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from crystalline.errors import OutputError
from crystalline.training.events import EpochDone, StepDone

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from crystalline.training.events import Event

__all__ = ["TensorBoardLog"]

LOGGER: Final = logging.getLogger("crystalline")

_FORMAT: Final = "brain.Event:2"
_FLUSH_EVERY_S: Final = 10.0  # TensorBoard looks every 30 seconds


class TensorBoardLog:
    """Scalars of a run, for `tensorboard --logdir`: `step/...` for every step, `epoch/...` after every epoch.

    Steps are TensorBoard's steps. Every log writes a file of its own into the folder. Whatever stands there
    of later steps than the one that the run begins at is purged: TensorBoard no longer shows it.

    Once made it never fails: when a record cannot be written, that is a warning in the log `crystalline`,
    and nothing more is written. A training does not end because of its picture.

    Args:
        folder: made when it is not there.
        from_step: steps taken before the run begins: 0, or those of the checkpoint that it goes on from.
        clock: seconds; decides when what was written reaches the disk, which is every 10 seconds, after
            every epoch, and at the end.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, from_step: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._next_flush_s = clock() + _FLUSH_EVERY_S
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: RecordWriter | None = _begun(folder / _file_name(), from_step)
        except OSError as error:
            raise OutputError(
                f"cannot write to {folder}: {error.strerror or error}; choose another folder for TensorBoard"
            ) from error

    def take(self, event: Event) -> None:
        """Write what an event of the training says; events without numbers are passed over."""
        match event:
            case StepDone():
                self._scalars(event.step, _step_scalars(event))
                if self._clock() >= self._next_flush_s:
                    self._flush()
            case EpochDone():
                self._scalars(event.step, _epoch_scalars(event))
                self._flush()

    def close(self) -> None:
        """Write what is left to the disk. A second call does nothing, nor does `take` from now on."""
        self._flush()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _scalars(self, step: int, scalars: Mapping[str, float | None]) -> None:
        values = [
            Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value is not None
        ]
        record = Record(wall_time=time.time(), step=step, summary=Summary(value=values))
        try:
            if self._writer is not None:
                self._writer.write(record.SerializeToString())
        except OSError as error:
            self._give_up(error)

    def _flush(self) -> None:
        self._next_flush_s = self._clock() + _FLUSH_EVERY_S
        try:
            if self._writer is not None:
                self._writer.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):  # what could not be written before cannot be now
                writer.close()
        LOGGER.warning("no more events for TensorBoard in %s: %s", self._folder, error.strerror or error)


def _begun(path: Path, from_step: int) -> RecordWriter:
    """A file that says which format it has, and from which step on what other files say is void."""
    # Absolute, since the library takes a path that begins with "s3:" or the like for one of a cloud.
    writer = RecordWriter(str(path.absolute()))
    begin = SessionLog(status=SessionLog.START)
    try:
        writer.write(Record(wall_time=time.time(), file_version=_FORMAT).SerializeToString())
        writer.write(Record(wall_time=time.time(), step=from_step + 1, session_log=begin).SerializeToString())
        writer.flush()
    except OSError:
        with suppress(OSError):
            writer.close()
        path.unlink(missing_ok=True)
        raise
    return writer


def _file_name() -> str:
    """Unique, and in the order in which files are made: TensorBoard reads those of a folder by name."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return f"events.out.tfevents.{seconds:010d}.{nanoseconds:09d}.{os.getpid()}.{socket.gethostname()}"


def _step_scalars(event: StepDone) -> dict[str, float | None]:
    return {
        "step/loss": None if event.skipped else event.loss,
        "step/grad_norm": None if event.skipped else event.grad_norm,
        "step/learning_rate": event.learning_rate,
        "step/tokens_per_s": event.tokens / event.seconds if event.seconds > 0 else None,
    }


def _epoch_scalars(event: EpochDone) -> dict[str, float | None]:
    return {
        "epoch/train_loss": event.train_loss,
        "epoch/val_loss": event.val_loss,
        "epoch/tokens_per_s": event.tokens / event.seconds if event.seconds > 0 else None,
    }
