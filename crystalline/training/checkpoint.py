"""One checkpoint: a model folder with the state of its training, complete or absent, and checked when read.

    step-00000120/
      config.json  model.safetensors  tokenizer.json  tokenizer_config.json
      training/    progress.json  optimizer.safetensors  manifest.json

The manifest has the SHA-256 of every other file; see `crystalline.model.manifest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import safetensors.numpy

from crystalline.errors import ModelFolderError
from crystalline.model import (
    MANIFEST,
    MODEL_FILES,
    ModelConfig,
    load_config,
    load_tokenizer_json,
    read_json,
    read_model,
    save_model,
    verify,
    weights_sha256,
    write_json,
    write_manifest,
)
from crystalline.model.atomic import beside, files, remove, sync
from crystalline.optim import AdamWBuffers
from crystalline.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from actors import JobToken

__all__ = [
    "CHECKPOINTS",
    "LATEST",
    "Checkpoint",
    "Snapshot",
    "age",
    "checkpoints_in",
    "is_checkpoint_of",
    "load_checkpoint",
    "load_record",
    "write_checkpoint",
]

CHECKPOINTS: Final = "checkpoints"
"""The folder of a run that holds its checkpoints."""

LATEST: Final = "latest"
"""The link in a run folder to its newest checkpoint."""

_TRAINING: Final = "training"
_PROGRESS: Final = "training/progress.json"
_OPTIMIZER: Final = "training/optimizer.safetensors"
_FILES: Final = frozenset({*MODEL_FILES, _PROGRESS, _OPTIMIZER})
_NAME: Final = re.compile(r"step-(\d{8,})(-epoch)?")
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
        (fresh / _TRAINING).mkdir()
        moments = {
            "first_moment": snapshot.buffers.first_moment,
            "second_moment": snapshot.buffers.second_moment,
        }
        (fresh / _OPTIMIZER).write_bytes(safetensors.numpy.save(moments))
        progress = {**snapshot.progress.to_json(), "weights_sha256": snapshot.weights_sha256, **record}
        write_json(fresh / _PROGRESS, progress)
        token.check()
        write_manifest(fresh, _FILES)
        for file in files(fresh):
            sync(file)
        sync(fresh / _TRAINING)
        sync(fresh)
        token.check()
        if folder.exists():  # left by a save that failed before it could be linked to
            remove(folder)
        fresh.rename(folder)
    sync(folder.parent)


def checkpoints_in(run: Path) -> list[Path]:
    """The checkpoints of a run folder, the newest first; none in a folder that is no run's."""
    return sorted((run / CHECKPOINTS).glob("step-*"), key=age, reverse=True)


def age(folder: Path) -> tuple[int, str]:
    """What grows with the steps in a checkpoint, by its name."""
    return len(folder.name.removesuffix("-epoch")), folder.name


def is_checkpoint_of(folder: Path, run: Path) -> bool:
    """Whether a folder is one of the checkpoints of a run folder, and bears a name of ours."""
    lies_there = folder.resolve().parent == (run / CHECKPOINTS).resolve()
    return lies_there and _NAME.fullmatch(folder.resolve().name) is not None


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint, after every file in it was compared with the manifest.

    Args:
        folder: a checkpoint, or a run folder: then its newest one, or if that is damaged the one before it.

    Raises:
        ModelFolderError: a file is missing or not as it was written; it is named.
    """
    damages = _gone(folder)
    for candidate in checkpoints_in(folder) or [folder.resolve()]:
        try:
            return _load(candidate, tuple(damages))
        except ModelFolderError as error:
            damages.append(str(error))
    raise ModelFolderError("; ".join(damages))


def _gone(run: Path) -> list[str]:
    """Say so when the checkpoint that was saved last is not there at all."""
    latest = run / LATEST
    if latest.is_symlink() and not latest.exists():
        return [f"{run / latest.readlink()} is missing: {_REMEDY}"]
    return []


def load_record(folder: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """Read what the newest checkpoint says about its run, without its weights.

    Returns:
        The sizes of the model, and the whole of progress.json, of the newest checkpoint that is whole.

    Raises:
        ModelFolderError: there is no checkpoint that can be read.
    """
    damages: list[str] = []
    candidates = checkpoints_in(folder)
    if not candidates and not (folder / MANIFEST).exists():
        raise ModelFolderError(f"there is no checkpoint in {folder}: name the --out of a run that saved one")
    for candidate in candidates or [folder]:
        try:
            verify(candidate, _FILES)
            return load_config(candidate), read_json(candidate / _PROGRESS)
        except ModelFolderError as error:
            damages.append(str(error))
    raise ModelFolderError("; ".join(damages))


def _load(folder: Path, damages: tuple[str, ...]) -> Checkpoint:
    verify(folder, _FILES)
    config, weights = read_model(folder)
    record = read_json(folder / _PROGRESS)
    try:
        moments = safetensors.numpy.load_file(folder / _OPTIMIZER)
        buffers = AdamWBuffers(weights, moments["first_moment"], moments["second_moment"])
        progress = Progress.from_json(record)
    except (KeyError, TypeError, ValueError, OSError, safetensors.SafetensorError) as error:
        raise ModelFolderError(f"{folder} holds no whole training state ({error}): {_REMEDY}") from None
    if wrong := _contradiction(folder, buffers, progress, record):
        raise ModelFolderError(f"{folder} {wrong}: {_REMEDY}")
    return Checkpoint(folder, config, buffers, progress, load_tokenizer_json(folder), record, damages)


def _contradiction(folder: Path, buffers: AdamWBuffers, progress: Progress, record: Mapping[str, Any]) -> str:
    """What a checkpoint whose files are all as they were written cannot be; empty when all is well."""
    weights, _, second_moment = buffers
    if any(buffer.shape != weights.shape or buffer.dtype != weights.dtype for buffer in buffers):
        return "has moments of another model"
    if not all(np.isfinite(buffer).all() for buffer in buffers) or second_moment.min(initial=0.0) < 0:
        return "has moments that no training makes"
    if record.get("weights_sha256") != weights_sha256(weights):
        return "has other weights than it says"
    named = _NAME.fullmatch(folder.name)
    if named is not None and int(named[1]) != progress.step:
        return f"holds step {progress.step}"
    return ""
