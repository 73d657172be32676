"""Run folders: where they are, and what stands in them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import ModelFolderError, RunFolderError
from crystalline.model import ModelConfig
from crystalline.runs.metrics import Metrics, read_metrics
from crystalline.training.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Record", "Run", "find_runs", "open_run"]

_LATEST: Final = Path("latest")
_PROGRESS: Final = _LATEST / "training" / "progress.json"
_CONFIG: Final = _LATEST / "config.json"
_REMEDY: Final = "name another run"


@dataclass(frozen=True, slots=True)
class Record:
    """What the latest checkpoint says of its run. What it does not say is None, or an empty mapping.

    Attributes:
        step: steps taken in the run until it.
        epoch: the last one in which a step was taken.
        weights_sha256: of its weights.
        settings: of the training and of the model, by name.
        data: name of the text.
        data_fingerprint: hash of the text.
        saved: seconds since 1970 when it was written.
    """

    step: int | None
    epoch: int | None
    weights_sha256: str | None
    settings: Mapping[str, object]
    data: str | None
    data_fingerprint: str | None
    saved: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder.

    Attributes:
        name: its path, as it was given.
        metrics: of its steps and epochs; empty when none were recorded.
        record: of the latest checkpoint; None before the first.
    """

    name: str
    metrics: Metrics
    record: Record | None


def find_runs(folder: Path) -> list[Path]:
    """The run folders at and below a folder, in the order of their names.

    Links to folders and names that begin with a dot are not followed, nor is a run folder searched for
    others.

    Raises:
        RunFolderError: there is no such folder.
    """
    if not folder.is_dir():
        raise RunFolderError(f"there is no folder {folder}: name the one that holds your runs")
    return sorted(_below(folder))


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, _ in os.walk(folder):
        if _is_run(Path(place)):
            yield Path(place)
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]


def _is_run(folder: Path) -> bool:
    return (folder / METRICS).exists() or (folder / _PROGRESS).exists()


def open_run(folder: Path) -> Run:
    """Read what a run folder says of its run; weights are not touched.

    Args:
        folder: that was --out of `crystalline train`.

    Raises:
        RunFolderError: it is no run folder, or its metrics or its progress are damaged.
        ModelFolderError: the sizes of its model are.
    """
    if not folder.is_dir():
        reason = "is a file" if folder.is_file() else "does not exist"
        raise RunFolderError(f"{folder} {reason}: name a folder that was --out of `crystalline train`")
    if not _is_run(folder):
        raise RunFolderError(f"{folder} holds no training run, neither {METRICS} nor {_PROGRESS}: {_REMEDY}")
    metrics = read_metrics(folder / METRICS) if (folder / METRICS).exists() else Metrics()
    return Run(str(folder), metrics, _record(folder) if (folder / _PROGRESS).exists() else None)


def _record(folder: Path) -> Record:
    progress = _read_object(folder / _PROGRESS)
    settings = progress.get("settings")
    return Record(
        step=_whole(progress, "step"),
        epoch=_whole(progress, "epoch"),
        weights_sha256=_text(progress, "weights_sha256"),
        settings={**_sizes(folder / _CONFIG), **(settings if isinstance(settings, dict) else {})},
        data=_text(progress, "data"),
        data_fingerprint=_text(progress, "data_fingerprint"),
        saved=(folder / _PROGRESS).stat().st_mtime,
    )


def _text(content: Mapping[str, Any], name: str) -> str | None:
    value = content.get(name)
    return value if isinstance(value, str) else None


def _whole(content: Mapping[str, Any], name: str) -> int | None:
    value = content.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sizes(path: Path) -> Mapping[str, object]:
    """The sizes of the model by our names; {} where there is no model."""
    if not path.exists():
        return {}
    try:
        return asdict(ModelConfig.from_hf(_read_object(path)))
    except ModelFolderError as error:
        raise ModelFolderError(f"{path}: {error}") from None


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror or error}): {_REMEDY}") from error
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{path} is not JSON ({error}): {_REMEDY}") from None
    if not isinstance(content, dict):
        raise RunFolderError(f"{path} holds no JSON object: {_REMEDY}")
    return content
