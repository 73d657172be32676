"""Checkpoints: folders that are complete or absent, and the run folder that holds them.

    OUT/
      checkpoints/step-00000120/    the model as the Hugging Face ecosystem reads it, and
        training/                   progress.json, optimizer.safetensors, manifest.json
      latest -> checkpoints/step-00000120
      config.json -> latest/config.json         likewise every other file of the model, so that
                                                OUT itself is a model folder

A checkpoint is written beside its final name, synced, and renamed. `latest` is one link, replaced in one
step: a reader sees the old model or the new one, never a mixture.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import safetensors.numpy

from crystalline.errors import ModelFolderError, OutputError
from crystalline.model import ModelConfig, load_model, load_tokenizer_json, save_model
from crystalline.optim import AdamWBuffers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors import JobToken
    from crystalline.training.config import TrainConfig

__all__ = ["KEPT", "Checkpoint", "Progress", "RunFolder", "Snapshot", "check_output", "load_checkpoint"]

KEPT: Final = 2
"""Checkpoints that stay: the newest, and the one before it in case it is damaged."""

_TRAINING, _MANIFEST, _PROGRESS = "training", "manifest.json", "progress.json"
_OPTIMIZER = "optimizer.safetensors"
_LATEST, _CHECKPOINTS = "latest", "checkpoints"
_LOCK_S = 0.1
_REMEDY = "use the checkpoint before it, or train again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: the last one in which a step was taken, 0 before the first.
        step: steps taken in the run.
        step_in_epoch: steps taken in that epoch.
    """

    epoch: int
    step: int
    step_in_epoch: int


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What a checkpoint is made from. Its arrays must not change until it is written."""

    config: ModelConfig
    buffers: AdamWBuffers
    progress: Progress
    weights_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        config: sizes of the model.
        buffers: weights and moments, float32.
        progress: how far the run had come.
        tokenizer_json: what the token ids mean.
        record: the whole of progress.json: settings, fingerprint of the text, hash of the weights.
        passed_over: what was wrong with newer checkpoints of the run, one text each.
    """

    config: ModelConfig
    buffers: AdamWBuffers
    progress: Progress
    tokenizer_json: str
    record: dict[str, object]
    passed_over: tuple[str, ...] = ()


class RunFolder:
    """Where a run keeps its model.

    Args:
        path: OUT. Nothing is written there before the first checkpoint is complete.
        force: replace a folder that an earlier run has left.
        tokenizer_json: goes into every checkpoint.
        train: settings to record.
        data_fingerprint: hash of the text, to record.
        resumed: the checkpoint in this very folder that the run goes on from; None for a new run.

    Raises:
        OutputError: `path` exists (and `force` is not given, or it is no run folder), or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        force: bool,
        tokenizer_json: str,
        train: TrainConfig,
        data_fingerprint: str,
        resumed: Progress | None = None,
    ) -> None:
        self.path = path
        self._replaces = resumed is None and check_output(path, force=force)
        self._tokenizer_json = tokenizer_json
        self._record = {"settings": asdict(train), "data_fingerprint": data_fingerprint}
        self._newest = "" if resumed is None else _name(resumed)
        self._lock = threading.Lock()

    def save(self, token: JobToken, snapshot: Snapshot) -> Path:
        """Write a checkpoint, make it the latest, and drop those that are too old; return its folder.

        Raises:
            OutputError: it cannot be written; what was there before is as it was, or the new one is whole.
            JobAbandoned: nobody waits any more; likewise.
        """
        try:
            with self._writing(token):
                return self._save(token, snapshot)
        except OSError as error:
            raise OutputError(
                f"cannot write the checkpoint of step {snapshot.progress.step} under {self.path}: "
                f"{error.strerror or error}. What was saved there before is as it was"
            ) from error

    @contextmanager
    def _writing(self, token: JobToken) -> Iterator[None]:
        """One at a time: a save that was given up may still be at it in its thread."""
        while not self._lock.acquire(timeout=_LOCK_S):
            token.check()
        try:
            token.check()
            yield
        finally:
            self._lock.release()

    def _save(self, token: JobToken, snapshot: Snapshot) -> Path:
        name = _name(snapshot.progress)
        folder = self.path / _CHECKPOINTS / name
        if not self._newest:
            self._begin(token, snapshot, name)
        elif self._newest != name:
            self._write(token, snapshot, folder)
            _point(self.path / _LATEST, f"{_CHECKPOINTS}/{name}")
            self._newest = name
            _sync(self.path)
            self._prune(name)
        return folder

    def _begin(self, token: JobToken, snapshot: Snapshot, name: str) -> None:
        """The first checkpoint: the whole run folder is made beside its name, then takes the place."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(self.path) as fresh:
            (fresh / _CHECKPOINTS).mkdir()
            checkpoint = fresh / _CHECKPOINTS / name
            self._write(token, snapshot, checkpoint)
            _point(fresh / _LATEST, f"{_CHECKPOINTS}/{name}")
            for file in checkpoint.iterdir():
                _point(fresh / file.name, f"{_LATEST}/{file.name}")
            _sync(fresh)
            if self._replaces:
                _replace(self.path, fresh)
            else:
                fresh.rename(self.path)
        self._newest = name
        _sync(self.path.parent)

    def _write(self, token: JobToken, snapshot: Snapshot, folder: Path) -> None:
        with _beside(folder) as fresh:
            save_model(fresh, snapshot.config, snapshot.buffers.weights, self._tokenizer_json)
            token.check()
            training = fresh / _TRAINING
            training.mkdir()
            moments = {
                "first_moment": snapshot.buffers.first_moment,
                "second_moment": snapshot.buffers.second_moment,
            }
            (training / _OPTIMIZER).write_bytes(safetensors.numpy.save(moments))
            record = {
                **asdict(snapshot.progress),
                "weights_sha256": snapshot.weights_sha256,
                **self._record,
            }
            (training / _PROGRESS).write_text(_json(record), encoding="utf-8")
            token.check()
            manifest: dict[str, object] = {
                file.relative_to(fresh).as_posix(): _sha256(file) for file in _files(fresh)
            }
            (training / _MANIFEST).write_text(_json(manifest), encoding="utf-8")
            for file in _files(fresh):
                _sync(file)
            _sync(training)
            _sync(fresh)
            token.check()
            if folder.exists():  # left by a save that failed before it could link to it
                _remove(folder)
            fresh.rename(folder)
        _sync(folder.parent)

    def _prune(self, newest: str) -> None:
        names = sorted(folder.name for folder in (self.path / _CHECKPOINTS).glob("step-*"))
        older = [name for name in names if name < newest]
        for name in older[: -(KEPT - 1)]:
            _remove(self.path / _CHECKPOINTS / name)


def _name(progress: Progress) -> str:
    return f"step-{progress.step:08d}"


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, after every file in it was compared with the manifest.

    Args:
        folder: a checkpoint, or a run folder: then its newest one, or if that is damaged the one before it.

    Raises:
        ModelFolderError: a file is missing or not as it was written; it is named.
    """
    candidates = sorted((folder / _CHECKPOINTS).glob("step-*"), reverse=True) or [folder]
    damages: list[str] = []
    for candidate in candidates:
        try:
            return _load(candidate, tuple(damages))
        except ModelFolderError as error:
            damages.append(str(error))
    raise ModelFolderError("; ".join(damages))


def _load(folder: Path, damages: tuple[str, ...]) -> Checkpoint:
    manifest = _read_json(folder / _TRAINING / _MANIFEST)
    for name, sha256 in manifest.items():
        file = folder / name
        if _sha256_or_none(file) != sha256:
            raise ModelFolderError(f"{file} is missing or damaged, it is not what was saved: {_REMEDY}")
    config, weights = load_model(folder)
    moments = safetensors.numpy.load_file(folder / _TRAINING / _OPTIMIZER)
    record = _read_json(folder / _TRAINING / _PROGRESS)
    try:
        buffers = AdamWBuffers(weights, moments["first_moment"], moments["second_moment"])
        progress = Progress(**{name: int(str(record[name])) for name in ("epoch", "step", "step_in_epoch")})
    except (KeyError, ValueError) as error:
        raise ModelFolderError(f"{folder} holds no whole training state ({error}): {_REMEDY}") from None
    return Checkpoint(config, buffers, progress, load_tokenizer_json(folder), record, damages)


def check_output(path: Path, *, force: bool) -> bool:
    """Tell whether an earlier run is to be replaced.

    Raises:
        OutputError: the place cannot be used.
    """
    try:
        exists = os.path.lexists(path)
        if exists and not force:
            raise OutputError(f"{path} exists: choose another --out, or --force to replace it")
        if exists and not _replaceable(path):
            raise OutputError(
                f"{path} exists and holds what was not made by a training run, so --force does not delete "
                "it: choose another --out"
            )
        above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        with _beside(above / path.name):  # what is not there yet is made with the first checkpoint
            return exists
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write to {path}: {reason}; choose another --out") from error


def _replaceable(path: Path) -> bool:
    """Whether nothing but an earlier run is lost with `path`."""
    if path.is_symlink() or not path.is_dir():
        return False
    return all(_belongs_to_a_run(entry) for entry in path.iterdir())


def _belongs_to_a_run(entry: Path) -> bool:
    if entry.is_symlink():
        return entry.readlink().parts[0] == (_CHECKPOINTS if entry.name == _LATEST else _LATEST)
    return entry.name == _CHECKPOINTS and entry.is_dir() and all(map(_is_checkpoint, entry.iterdir()))


def _is_checkpoint(folder: Path) -> bool:
    return folder.name.startswith("step-") and (folder / _TRAINING / _MANIFEST).is_file()


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A fresh folder next to `path`; whatever is still in it at the end is deleted."""
    # Not `tempfile.mkdtemp`, whose folders only their owner can read: these become the model's.
    fresh = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    fresh.mkdir()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _point(link: Path, target: str) -> None:
    """Make or replace a symbolic link in one step."""
    with _beside(link) as fresh:
        (fresh / link.name).symlink_to(target)
        (fresh / link.name).replace(link)


def _replace(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of the folder `path`, or leave that as it was."""
    with _beside(path) as aside:
        path.rename(aside / path.name)
        try:
            fresh.rename(path)
        except OSError:
            (aside / path.name).rename(path)
            raise


def _remove(folder: Path) -> None:
    """Delete a folder that must never be seen in part."""
    with _beside(folder) as aside:
        folder.rename(aside / folder.name)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_or_none(file: Path) -> str | None:
    try:
        return _sha256(file)
    except OSError:
        return None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = path.read_bytes()
        found = json.loads(content)
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror or error}; {_REMEDY}") from None
    except (ValueError, RecursionError):
        raise ModelFolderError(f"{path} is damaged, it is not JSON: {_REMEDY}") from None
    # Written in one way only, so that in the manifest, which nothing else vouches for, every byte counts.
    if not isinstance(found, dict) or content != _json(found).encode():
        raise ModelFolderError(f"{path} is damaged, it is not what was saved: {_REMEDY}")
    return found


def _json(content: dict[str, object]) -> str:
    return json.dumps(content, indent=2) + "\n"
