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
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import safetensors.numpy

from crystalline.errors import ModelFolderError, OutputError
from crystalline.model import ModelConfig, load_model, save_model
from crystalline.optim import AdamWBuffers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors import JobToken
    from crystalline.training.config import TrainConfig

__all__ = ["KEPT", "Checkpoint", "Progress", "RunFolder", "Snapshot", "load_checkpoint"]

KEPT: Final = 2
"""Checkpoints that stay: the newest, and the one before it in case it is damaged."""

_TRAINING, _MANIFEST, _PROGRESS = "training", "manifest.json", "progress.json"
_OPTIMIZER = "optimizer.safetensors"
_LATEST, _CHECKPOINTS = "latest", "checkpoints"


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
        record: the whole of progress.json: settings, fingerprint of the text, hash of the weights.
    """

    config: ModelConfig
    buffers: AdamWBuffers
    progress: Progress
    record: dict[str, object]


class RunFolder:
    """Where a run keeps its model.

    Args:
        path: OUT. Nothing is written there before the first checkpoint is complete.
        force: replace a folder that an earlier run has left.
        tokenizer_json: goes into every checkpoint.
        train: settings to record.
        data_fingerprint: hash of the text, to record.

    Raises:
        OutputError: `path` exists (and `force` is not given, or it is no run folder), or cannot be written.
    """

    def __init__(
        self, path: Path, *, force: bool, tokenizer_json: str, train: TrainConfig, data_fingerprint: str
    ) -> None:
        self.path = path
        self._replaces = _check_output(path, force=force)
        self._tokenizer_json = tokenizer_json
        self._record = {"settings": asdict(train), "data_fingerprint": data_fingerprint}
        self._begun = False

    def save(self, token: JobToken, snapshot: Snapshot) -> Path:
        """Write a checkpoint, make it the latest, and drop those that are too old; return its folder.

        Raises:
            OutputError: it cannot be written; what was there before is as it was.
            JobAbandoned: nobody waits any more; likewise.
        """
        try:
            return self._save(token, snapshot)
        except OSError as error:
            raise OutputError(
                f"cannot write the checkpoint of step {snapshot.progress.step} under {self.path}: "
                f"{error.strerror or error}. Earlier checkpoints are intact; make room, or choose another --out"
            ) from error

    def _save(self, token: JobToken, snapshot: Snapshot) -> Path:
        name = f"step-{snapshot.progress.step:08d}"
        if not self._begun:
            self._begin(token, snapshot, name)
        else:
            self._write(token, snapshot, self.path / _CHECKPOINTS / name)
            _point(self.path / _LATEST, f"{_CHECKPOINTS}/{name}")
            self._prune(name)
        return self.path / _CHECKPOINTS / name

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
            if self._replaces:
                with _beside(self.path) as old:
                    self.path.rename(old / "old")
                    fresh.rename(self.path)
            else:
                fresh.rename(self.path)
        _sync(self.path.parent)
        self._begun = True

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
            (training / _PROGRESS).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            token.check()
            manifest = {str(file.relative_to(fresh)): _sha256(file) for file in _files(fresh)}
            (training / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
            for file in _files(fresh):
                _sync(file)
            _sync(training)
            _sync(fresh)
            token.check()
            if folder.exists():  # left by a run that was stopped between its rename and its link
                shutil.rmtree(folder)
            fresh.rename(folder)
        _sync(folder.parent)

    def _prune(self, newest: str) -> None:
        names = sorted(folder.name for folder in (self.path / _CHECKPOINTS).glob("step-*"))
        older = [name for name in names if name < newest]
        for name in older[: -(KEPT - 1)]:
            shutil.rmtree(self.path / _CHECKPOINTS / name)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, after every file in it was compared with the manifest.

    Args:
        folder: a checkpoint, or a run folder, whose latest one is read.

    Raises:
        ModelFolderError: a file is missing or not as it was written; it is named.
    """
    manifest = _read_json(folder / _TRAINING / _MANIFEST)
    for name, sha256 in manifest.items():
        file = folder / name
        if not file.is_file() or _sha256(file) != sha256:
            raise ModelFolderError(f"{file} is missing or damaged: it is not what was saved")
    config, weights = load_model(folder)
    moments = safetensors.numpy.load_file(folder / _TRAINING / _OPTIMIZER)
    record = _read_json(folder / _TRAINING / _PROGRESS)
    try:
        buffers = AdamWBuffers(weights, moments["first_moment"], moments["second_moment"])
        progress = Progress(**{name: int(str(record[name])) for name in ("epoch", "step", "step_in_epoch")})
    except (KeyError, ValueError) as error:
        raise ModelFolderError(f"{folder} holds no whole training state: {error} is missing") from None
    return Checkpoint(config, buffers, progress, record)


def _check_output(path: Path, *, force: bool) -> bool:
    """Tell whether an earlier run is to be replaced.

    Raises:
        OutputError: the place cannot be used.
    """
    exists = path.exists() or path.is_symlink()
    if exists and not force:
        raise OutputError(f"{path} exists: choose another --out, or --force to replace it")
    empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    if exists and not empty and not (path / _LATEST).is_symlink():
        raise OutputError(f"{path} exists and was not made by a training run: --force does not delete it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(path):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write to {path}: {error.strerror or error}; choose another --out"
        ) from error
    return exists


class _beside:  # noqa: N801 - used like a function
    """A fresh folder next to `path`; whatever is still in it at the end is deleted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        made = tempfile.mkdtemp(prefix=f".{self._path.name}.new-", dir=self._path.parent)
        self._fresh = self._path.parent / made
        self._fresh.chmod(0o755)
        return self._fresh

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._fresh, ignore_errors=True)


def _point(link: Path, target: str) -> None:
    """Make or replace a symbolic link in one step."""
    fresh = link.with_name(f".{link.name}.new-{os.getpid()}")
    with suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(target)
    fresh.replace(link)


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_json(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise ModelFolderError(f"{path} is damaged: it is not JSON") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"{path} is damaged: it holds no object")
    return found
