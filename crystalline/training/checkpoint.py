"""One checkpoint: a model folder with the state of its training, complete or absent, and checked when read.

    step-00000120/
      config.json  model.safetensors  tokenizer.json  tokenizer_config.json
      training/    progress.json  optimizer.safetensors  manifest.json

The manifest has the SHA-256 of every other file. It is written in one way only, so that a change of any byte
in it is noticed as well.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import safetensors.numpy

from crystalline.errors import ModelFolderError
from crystalline.model import ModelConfig, load_config, load_model, load_tokenizer_json, save_model
from crystalline.optim import AdamWBuffers
from crystalline.training.atomic import beside, files, remove, sync
from crystalline.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from actors import JobToken

__all__ = [
    "CHECKPOINTS",
    "Checkpoint",
    "Snapshot",
    "checkpoints_in",
    "load_checkpoint",
    "load_record",
    "write_checkpoint",
]

CHECKPOINTS: Final = "checkpoints"
"""The folder of a run that holds its checkpoints."""

_TRAINING, _MANIFEST, _PROGRESS = "training", "manifest.json", "progress.json"
_OPTIMIZER = "optimizer.safetensors"
_REMEDY = "use the checkpoint before it, or train again"


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
        folder: where it is.
        config: sizes of the model.
        buffers: weights and moments, float32.
        progress: how far the run had come.
        tokenizer_json: what the token ids mean.
        record: the whole of progress.json: settings, fingerprint of the text, hash of the weights.
        passed_over: what was wrong with newer checkpoints of the run, one text each.
    """

    folder: Path
    config: ModelConfig
    buffers: AdamWBuffers
    progress: Progress
    tokenizer_json: str
    record: dict[str, Any]
    passed_over: tuple[str, ...] = ()


def write_checkpoint(
    token: JobToken, snapshot: Snapshot, folder: Path, tokenizer_json: str, record: Mapping[str, Any]
) -> None:
    """Write a checkpoint beside its name, sync it, and give it its name.

    Args:
        token: of the job.
        snapshot: what to write.
        folder: its name; what stands there has never been linked to, and is replaced.
        tokenizer_json: what the token ids mean.
        record: what else to say about the run.

    Raises:
        OSError: the disk is full, or the like; `folder` is not there.
        JobAbandoned: nobody waits any more; likewise.
    """
    with beside(folder) as fresh:
        save_model(fresh, snapshot.config, snapshot.buffers.weights, tokenizer_json)
        token.check()
        training = fresh / _TRAINING
        training.mkdir()
        moments = {
            "first_moment": snapshot.buffers.first_moment,
            "second_moment": snapshot.buffers.second_moment,
        }
        (training / _OPTIMIZER).write_bytes(safetensors.numpy.save(moments))
        progress = {**snapshot.progress.to_json(), "weights_sha256": snapshot.weights_sha256, **record}
        (training / _PROGRESS).write_text(_json(progress), encoding="utf-8")
        token.check()
        manifest = {file.relative_to(fresh).as_posix(): _sha256(file) for file in files(fresh)}
        (training / _MANIFEST).write_text(_json(manifest), encoding="utf-8")
        for file in files(fresh):
            sync(file)
        sync(training)
        sync(fresh)
        token.check()
        if folder.exists():  # left by a save that failed before it could be linked to
            remove(folder)
        fresh.rename(folder)
    sync(folder.parent)


def checkpoints_in(run: Path) -> list[Path]:
    """The checkpoints of a run folder, the newest first; none in a folder that is no run's."""
    return sorted((run / CHECKPOINTS).glob("step-*"), reverse=True)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, after every file in it was compared with the manifest.

    Args:
        folder: a checkpoint, or a run folder: then its newest one, or if that is damaged the one before it.

    Raises:
        ModelFolderError: a file is missing or not as it was written; it is named.
    """
    damages: list[str] = []
    for candidate in checkpoints_in(folder) or [folder]:
        try:
            return _load(candidate, tuple(damages))
        except ModelFolderError as error:
            damages.append(str(error))
    raise ModelFolderError("; ".join(damages))


def load_record(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Read what the newest checkpoint says about its run, without its weights; nothing is verified.

    Returns:
        The sizes of the model, and the whole of progress.json.

    Raises:
        ModelFolderError: there is no checkpoint that can be read.
    """
    damages: list[str] = []
    for candidate in checkpoints_in(folder) or [folder]:
        try:
            return load_config(candidate), _read_json(candidate / _TRAINING / _PROGRESS)
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
    record = _read_json(folder / _TRAINING / _PROGRESS)
    try:
        moments = safetensors.numpy.load_file(folder / _TRAINING / _OPTIMIZER)
        buffers = AdamWBuffers(weights, moments["first_moment"], moments["second_moment"])
        progress = Progress.from_json(record)
    except (KeyError, ValueError, OSError, safetensors.SafetensorError) as error:
        raise ModelFolderError(f"{folder} holds no whole training state ({error}): {_REMEDY}") from None
    for buffer in buffers:
        if buffer.shape != weights.shape or buffer.dtype != weights.dtype:
            raise ModelFolderError(f"{folder} has moments of another model: {_REMEDY}")
    return Checkpoint(folder, config, buffers, progress, load_tokenizer_json(folder), record, damages)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_or_none(file: Path) -> str | None:
    try:
        return _sha256(file)
    except OSError:
        return None


def _read_json(path: Path) -> dict[str, Any]:
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


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
