"""The folder of a run: its checkpoints, its metrics, and links that make it a model folder itself.

    OUT/
      checkpoints/step-00000120/    see `checkpoint`
      latest -> checkpoints/step-00000120
      config.json -> latest/config.json         likewise every other file of the model, so that
                                                OUT itself is a model folder
      metrics.jsonl                 see `metrics`

`latest` is one link, replaced in one step: a reader sees the old model or the new one, never a mixture. Only
one process at a time trains in a run folder.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from crystalline.errors import OutputError
from crystalline.model import MANIFEST
from crystalline.model.atomic import beside, is_left, lock, point, recover, remove, replace, sweep, sync
from crystalline.training.checkpoint import (
    CHECKPOINTS,
    LATEST,
    age,
    checkpoints_in,
    is_checkpoint_of,
    write_checkpoint,
)
from crystalline.training.metrics import METRICS, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors import JobToken
    from crystalline.training.checkpoint import Checkpoint, Snapshot
    from crystalline.training.config import TrainConfig

__all__ = ["RunFolder", "RunIdentity", "check_output", "run_folder_of"]

_LOCK_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What a run is, to be recorded in its checkpoints.

    Attributes:
        train: its settings.
        tokenizer_json: what the token ids mean.
        data_fingerprint: hash of the text.
        data: what the text is called.
        data_paths: the files and folders that it came from, absolute; None for text that came from none.
        vocab_size: most entries that the tokenizer was allowed.
        arithmetic: the libraries that compute, see `arithmetic`.
    """

    train: TrainConfig
    tokenizer_json: str
    data_fingerprint: str
    data: str = "text"
    data_paths: tuple[str, ...] | None = None
    vocab_size: int = 0
    arithmetic: str = ""

    def record(self) -> dict[str, object]:
        """As it stands in progress.json."""
        return {
            "settings": asdict(self.train),
            "vocab_size": self.vocab_size,
            "data": self.data,
            "data_paths": None if self.data_paths is None else list(self.data_paths),
            "data_fingerprint": self.data_fingerprint,
            "arithmetic": self.arithmetic,
        }


def run_folder_of(folder: Path) -> Path:
    """The run folder that a checkpoint lies in; any other folder is taken for a run folder itself."""
    resolved = folder.resolve()
    return resolved.parent.parent if resolved.parent.name == CHECKPOINTS else folder


class RunFolder:
    """Where a run keeps its model.

    Args:
        path: OUT. Nothing is written there before the first checkpoint is complete.
        identity: of the run.
        force: replace a folder that an earlier run has left.
        resumed: the checkpoint that the run goes on from; None for a new run. If it lies in `path`, newer
            ones than it are removed and the metrics are cut to it.

    Attributes:
        path: as given.
        metrics: of the run.

    Raises:
        OutputError: `path` exists (and `force` is not given, or it is no run folder), or another process
            trains in it, or it cannot be written.
    """

    def __init__(
        self, path: Path, identity: RunIdentity, *, force: bool = False, resumed: Checkpoint | None = None
    ) -> None:
        self.path = path
        self._identity = identity
        goes_on = resumed is not None and is_checkpoint_of(resumed.folder, path)
        self._replaces = not goes_on and check_output(path, force=force)
        self._saving = threading.Lock()
        self._newest, self._epoch_over = "", False
        self.metrics = Metrics()
        self._lock: int | None = None
        try:
            self._lock = _claim(path)
            sweep(path.parent, path.name)
            if resumed is not None:
                self._go_on(resumed, here=goes_on)
        except OSError as error:
            self.close()
            raise _unwritable(path, error) from error

    def _go_on(self, resumed: Checkpoint, *, here: bool) -> None:
        size = resumed.progress.metrics_bytes
        if not here:
            self.metrics = Metrics.copied(run_folder_of(resumed.folder) / METRICS, size)
            return
        self._newest, self._epoch_over = resumed.folder.name, resumed.progress.validated
        for folder in (self.path, self.path / CHECKPOINTS):
            sweep(folder)
        point(self.path / LATEST, f"{CHECKPOINTS}/{self._newest}")
        for newer in checkpoints_in(self.path):
            if age(newer) > age(resumed.folder):
                remove(newer)
        self.metrics = Metrics.resumed(self.path / METRICS, size)

    def save(self, token: JobToken, snapshot: Snapshot) -> Path:
        """Write a checkpoint, make it the latest, and drop those that are too old; return its folder.

        Raises:
            OutputError: it cannot be written; what was there before is as it was, or the new one is whole.
            JobAbandoned: nobody waits any more; likewise.
        """
        try:
            with self._writing(token):
                self.metrics.sync()  # a checkpoint vouches for the lines up to it
                return self._save(token, snapshot)
        except OSError as error:
            raise OutputError(
                f"cannot write the checkpoint of step {snapshot.progress.step} under {self.path}: "
                f"{error.strerror or error}. What was saved there before is as it was"
            ) from error

    def close(self) -> None:
        """Let others train in the folder. What is under way in a job that was left behind fails."""
        self.metrics.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def _writing(self, token: JobToken) -> Iterator[None]:
        """One at a time: a save that was given up may still be at it in its thread."""
        while not self._saving.acquire(timeout=_LOCK_S):
            token.check()
        try:
            token.check()
            yield
        finally:
            self._saving.release()

    def _save(self, token: JobToken, snapshot: Snapshot) -> Path:
        name, over = f"step-{snapshot.progress.step:08d}", snapshot.progress.validated
        if self._newest.startswith(name):
            if self._epoch_over or not over:
                return self.path / CHECKPOINTS / self._newest
            name += "-epoch"  # the same weights, but now the epoch is over: sorted behind the other
        if not self._newest:
            self._begin(token, snapshot, name)
        else:
            self._write(token, snapshot, self.path / CHECKPOINTS / name)
            point(self.path / LATEST, f"{CHECKPOINTS}/{name}")
            self._newest = name
            sync(self.path)
            self._prune()
        self._epoch_over = over
        return self.path / CHECKPOINTS / name

    def _begin(self, token: JobToken, snapshot: Snapshot, name: str) -> None:
        """The first checkpoint: the whole run folder is made beside its name, then takes the place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with beside(self.path) as fresh, _claimed(fresh) as claim, self.metrics.settle(fresh / METRICS):
            (fresh / CHECKPOINTS).mkdir()
            checkpoint = fresh / CHECKPOINTS / name
            self._write(token, snapshot, checkpoint)
            point(fresh / LATEST, f"{CHECKPOINTS}/{name}")
            for file in checkpoint.iterdir():
                point(fresh / file.name, f"{LATEST}/{file.name}")
            self.metrics.sync()
            sync(fresh)
            if self._replaces:
                replace(self.path, fresh)
            else:
                fresh.rename(self.path)
        if self._lock is not None:  # of the run that was replaced
            os.close(self._lock)
        self._lock, self._newest = claim, name
        sync(self.path.parent)

    def _write(self, token: JobToken, snapshot: Snapshot, folder: Path) -> None:
        write_checkpoint(token, snapshot, folder, self._identity.tokenizer_json, self._identity.record())

    def _prune(self) -> None:
        newest = age(self.path / CHECKPOINTS / self._newest)
        older = [folder for folder in checkpoints_in(self.path) if age(folder) < newest]
        for folder in older[self._identity.train.keep - 1 :]:
            remove(folder)


def check_output(path: Path, *, force: bool) -> bool:
    """Tell whether an earlier run is to be replaced.

    Raises:
        OutputError: the place cannot be used.
    """
    try:
        recover(path)
        exists = os.path.lexists(path)
        if exists and not force:
            raise OutputError(
                f"{path} exists: choose another --out, or --force to replace it, or --resume {path} to go on"
            )
        if exists and not _replaceable(path):
            raise OutputError(
                f"{path} exists and holds what was not made by a training run, so --force does not delete "
                "it: choose another --out"
            )
        above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        with beside(above / path.name):  # what is not there yet is made with the first checkpoint
            return exists
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> OutputError:
    reason = getattr(error, "strerror", None) or error
    return OutputError(f"cannot write to {path}: {reason}; choose another --out")


def _claim(path: Path) -> int | None:
    """Claim a run folder that is there.

    Raises:
        OutputError: another process trains in it.
    """
    if not path.is_dir():
        return None
    claimed = lock(path)
    if claimed is None:
        raise OutputError(f"another training writes to {path}: wait for its end, or choose another --out")
    return claimed


@contextmanager
def _claimed(fresh: Path) -> Iterator[int | None]:
    """Claim a folder before anybody can see it; given up only when the block raises."""
    claim = lock(fresh)
    try:
        yield claim
    except BaseException:
        if claim is not None:
            os.close(claim)
        raise


def _replaceable(path: Path) -> bool:
    """Whether nothing but an earlier run is lost with `path`."""
    if path.is_symlink() or not path.is_dir():
        return False
    return all(_belongs_to_a_run(entry) for entry in path.iterdir())


def _belongs_to_a_run(entry: Path) -> bool:
    if is_left(entry):
        return True
    if entry.is_symlink():
        return entry.readlink().parts[0] == (CHECKPOINTS if entry.name == LATEST else LATEST)
    if entry.name == METRICS:
        return entry.is_file()
    return entry.name == CHECKPOINTS and entry.is_dir() and all(map(_is_checkpoint, entry.iterdir()))


def _is_checkpoint(folder: Path) -> bool:
    return is_left(folder) or (folder.name.startswith("step-") and (folder / MANIFEST).is_file())
