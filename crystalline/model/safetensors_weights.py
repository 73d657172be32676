"""Weights of a Hugging Face folder, from one safetensors file or several, into one flat float32 buffer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from crystalline.errors import ModelFolderError
from crystalline.model.parameters import Parameters, layout_of, tensor_count
from crystalline.model.safetensors_header import LENGTH_BYTES, StoredTensor, header_length, stored_tensors
from crystalline.model.strict_json import REMEDY, read_object, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from crystalline.model.config import ModelConfig

__all__ = ["INDEX", "WEIGHTS", "read_weights", "room_for"]

WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"

_INDEX_BYTES_MAX = 8 * 1024 * 1024
_CHUNK = 1024 * 1024  # entries that are converted at a time
_CODES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# Tables of rotary frequencies, which older versions of transformers saved along, and are computed here.
_LEFT_ASIDE = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    tensor: StoredTensor


def read_weights(folder: Path, config: ModelConfig) -> npt.NDArray[np.float32]:
    """The weights that a folder holds for a model of these sizes.

    Memory is taken only when names, types, shapes and places of all tensors have been checked.

    Args:
        folder: with model.safetensors, or with an index and the files that it names.
        config: the model's sizes.

    Returns:
        (layout.size,), in the layout of `config`.

    Raises:
        ModelFolderError: a file is missing or damaged, a tensor is missing, unexpected, of a type other than
            F32, F16 or BF16, of another shape, or holds a value that is not finite.
    """
    try:
        return _read(folder, config)
    except OSError as error:  # such as a file that is removed meanwhile
        raise ModelFolderError(
            f"{error.filename or folder} cannot be read ({error.strerror or error}): {REMEDY}"
        ) from None


def _read(folder: Path, config: ModelConfig) -> npt.NDArray[np.float32]:
    paths = _weight_files(folder)
    held, weights = sum(path.stat().st_size for path in paths), config.parameter_count()
    if held < weights:
        # A byte a weight is the least there is. This keeps an absurd config.json from taking memory.
        raise ModelFolderError(
            f"{paths[0]} holds {held} bytes, too few for the {weights} weights of config.json: {REMEDY}"
        )
    places = _places(paths)
    where = str(paths[0]) if len(paths) == 1 else str(folder / INDEX)
    _check_tensors(where, config, places)
    flat = room_for(config, where)
    views = Parameters(config, flat).views
    for path in paths:
        names = [name for name in views if places[name].path == path]
        with path.open("rb") as stream:
            for name in names:
                _fill(views[name].reshape(-1), stream, places[name].tensor, f"{path}: tensor {name}")
    return flat


def room_for(config: ModelConfig, where: str) -> npt.NDArray[np.float32]:
    """An uninitialised flat buffer.

    Raises:
        ModelFolderError: there is not so much memory.
    """
    try:
        return np.empty(layout_of(config).size, dtype=np.float32)
    except MemoryError:
        raise ModelFolderError(
            f"{where} needs {4 * layout_of(config).size} bytes of memory, which are not there: "
            "open a smaller model"
        ) from None


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / WEIGHTS, folder / INDEX
    if single.is_file():
        return [single]
    if not index.is_file():
        raise ModelFolderError(f"{folder} has no {WEIGHTS}, so it is not a whole model folder: {REMEDY}")
    weight_map = read_object(index, _INDEX_BYTES_MAX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFolderError(f"{index} has no weight_map: {REMEDY}")
    names = set()
    for name in weight_map.values():
        # A plain name: nothing may lead out of the folder.
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise ModelFolderError(f"{index} names {shown(name)}, which is no file of this folder: {REMEDY}")
        names.add(name)
    for name in sorted(names):
        if not (folder / name).is_file():
            raise ModelFolderError(f"{index} names {name}, which is not there: fetch it, or open another one")
    return [folder / name for name in sorted(names)]


def _places(paths: Iterable[Path]) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for path in paths:
        try:
            file_bytes = path.stat().st_size
            with path.open("rb") as stream:
                length = header_length(stream.read(LENGTH_BYTES), file_bytes, str(path))
                tensors = stored_tensors(stream.read(length), file_bytes, str(path))
        except OSError as error:
            raise ModelFolderError(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from None
        for name, tensor in tensors.items():
            if name in found:
                raise ModelFolderError(
                    f"tensor {shown(name)} is in {found[name].path} and in {path}: {REMEDY}"
                )
            found[name] = _Place(path, tensor)
    return found


def _check_tensors(where: str, config: ModelConfig, places: Mapping[str, _Place]) -> None:
    if len(places) < tensor_count(config):
        # Counted first: the layout of absurdly many layers would itself take memory.
        raise ModelFolderError(
            f"{where} lacks tensors: it has {len(places)} of {tensor_count(config)}: {REMEDY}"
        )
    expected = layout_of(config).entries
    _refuse_any(where, "lacks", sorted(expected.keys() - places.keys()))
    extra = (name for name in places.keys() - expected.keys() if not _left_aside(name, config))
    _refuse_any(where, "has unexpected", sorted(extra))
    for name, (_, shape) in expected.items():
        path, tensor = places[name].path, places[name].tensor
        if tensor.shape != shape:
            raise ModelFolderError(
                f"{path}: tensor {name} has shape {tensor.shape}, but config.json asks for {shape}: {REMEDY}"
            )
        if tensor.dtype not in _CODES:
            raise ModelFolderError(
                f"{path}: tensor {name} is {shown(tensor.dtype)}, which is not supported; "
                "save it as F32, F16 or BF16"
            )


def _left_aside(name: str, config: ModelConfig) -> bool:
    """Whether a tensor may be there that is not read: a copy of what is tied, or of what is computed."""
    return (config.tied and name == "lm_head.weight") or _LEFT_ASIDE.fullmatch(name) is not None


def _refuse_any(where: str, fault: str, names: list[str]) -> None:
    if names:
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        name = names[0] if names[0].isprintable() else shown(names[0])
        raise ModelFolderError(f"{where} {fault} tensor {name}{others}: {REMEDY}")


def _fill(out: npt.NDArray[np.float32], stream: BinaryIO, tensor: StoredTensor, what: str) -> None:
    """Convert a stored tensor into `out`, (entries,), piece by piece."""
    code = np.dtype(_CODES[tensor.dtype])
    stream.seek(tensor.begin)
    for start in range(0, len(out), _CHUNK):
        part = out[start : start + _CHUNK]
        raw = stream.read(part.size * code.itemsize)
        if len(raw) != part.size * code.itemsize:
            raise ModelFolderError(f"{what} ends too early, the file became shorter: {REMEDY}")
        stored = np.frombuffer(raw, dtype=code)
        with np.errstate(invalid="ignore"):  # a signalling NaN is found below
            if tensor.dtype == "BF16":
                part[...] = (stored.astype(np.uint32) << 16).view(np.float32)
            else:
                part[...] = stored
        if not np.isfinite(part).all():
            raise ModelFolderError(f"{what} holds a value that is not finite: {REMEDY}")
