"""A model folder as the Hugging Face ecosystem reads it: sizes, weights and tokenizer.

Writing is plain, not atomic: whoever makes a checkpoint writes into a folder that has no name yet. Reading
trusts nothing: every damage ends in a `ModelFolderError` that names the file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from tokenizers import Tokenizer

from crystalline.errors import ModelFolderError
from crystalline.model.config import ModelConfig
from crystalline.model.manifest import MANIFEST, verify
from crystalline.model.parameters import Parameters, layout_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "MODEL_FILES",
    "load_config",
    "load_model",
    "load_tokenizer_json",
    "model_folder",
    "read_model",
    "save_model",
]

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

MODEL_FILES: Final = frozenset({_CONFIG, _WEIGHTS, _TOKENIZER, _TOKENIZER_CONFIG})
"""What `save_model` writes."""

_END_OF_TEXT = "<|endoftext|>"
_REMEDY = "save the model again, or open another folder"


def save_model(folder: Path, config: ModelConfig, flat: npt.NDArray[np.float32], tokenizer_json: str) -> None:
    """Write the model's files into a folder that exists.

    Args:
        folder: an existing folder; files of the same names are overwritten.
        config: the model's sizes.
        flat: the weights in the layout of `config`, float32.
        tokenizer_json: the whole tokenizer, as `tokenizers.Tokenizer.to_str()` gives it.

    Raises:
        OSError: the folder cannot be written or the disk is full; some files may be there.
        ValueError: `flat` is not float32 or does not fit `config`.
    """
    if flat.dtype != np.float32:
        raise ValueError(f"weights are saved as float32, got {flat.dtype}")
    tensors = Parameters(config, flat).views
    end = Tokenizer.from_str(tokenizer_json).token_to_id(_END_OF_TEXT)
    _write_json(folder / _CONFIG, config.to_hf(eos_token_id=end))
    # Serialised in memory first, so that a full disk is an OSError like everywhere else.
    (folder / _WEIGHTS).write_bytes(safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    (folder / _TOKENIZER).write_text(tokenizer_json, encoding="utf-8")
    special = {} if end is None else {"bos_token": None, "eos_token": _END_OF_TEXT}
    _write_json(
        folder / _TOKENIZER_CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.seq_len,
            "clean_up_tokenization_spaces": False,
            **special,
        },
    )


def model_folder(folder: Path) -> Path:
    """The folder that really holds the files of a model: in a run folder they are links to a checkpoint.

    Whoever reads several of them must do so in one place, because the links may be moved meanwhile.
    """
    return (folder / _CONFIG).resolve().parent if (folder / _CONFIG).is_file() else folder


def load_model(folder: Path) -> tuple[ModelConfig, npt.NDArray[np.float32]]:
    """Read a model's sizes and weights, in a checkpoint after its files were compared with the manifest.

    Raises:
        ModelFolderError: as `read_model`, or a file is not as it was written.
    """
    folder = model_folder(folder)
    if (folder / MANIFEST).parent.exists():
        verify(folder, MODEL_FILES, only=False)
    return read_model(folder)


def read_model(folder: Path) -> tuple[ModelConfig, npt.NDArray[np.float32]]:
    """Read a model's sizes and weights; memory is taken only after all sizes have been checked.

    Raises:
        ModelFolderError: the folder or a file is missing or damaged, a tensor is missing, unexpected, of
            another shape or type than float32, or holds a value that is not finite.
    """
    config = load_config(folder)
    path = _existing(folder, _WEIGHTS)
    held, weights = path.stat().st_size, config.parameter_count()
    if held < weights:
        # A byte a weight is the least there is. This keeps an absurd config.json from taking memory.
        raise ModelFolderError(
            f"{path} holds {held} bytes, too few for the {weights} weights of {_CONFIG}: {_REMEDY}"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as tensors:
            _check_tensors(path, config, tensors)
            flat = np.empty(layout_of(config).size, dtype=np.float32)
            for name, view in Parameters(config, flat).views.items():
                view[...] = tensors.get_tensor(name)
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path} cannot be read as safetensors ({error}): {_REMEDY}") from None
    _check_finite(path, config, flat)
    return config, flat


def load_tokenizer_json(folder: Path) -> str:
    """Read the tokenizer as text, for `tokenizers.Tokenizer.from_str`.

    Raises:
        ModelFolderError: the folder or the file is missing, or the file is not a tokenizer.
    """
    path = _existing(folder, _TOKENIZER)
    text = _read_text(path)
    try:
        Tokenizer.from_str(text)
    except Exception as error:  # noqa: BLE001  the library raises bare Exception for any bad content
        raise ModelFolderError(f"{path} is not a tokenizer ({error}): {_REMEDY}") from None
    return text


def load_config(folder: Path) -> ModelConfig:
    """Read a model's sizes.

    Raises:
        ModelFolderError: the folder or its config.json is missing or damaged, or names another architecture.
    """
    path = _existing(folder, _CONFIG)
    try:
        content = json.loads(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not JSON ({error}): {_REMEDY}") from None
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} must hold one JSON object, got {type(content).__name__}: {_REMEDY}")
    try:
        return ModelConfig.from_hf(content)
    except ModelFolderError as error:
        raise ModelFolderError(f"{path}: {error}") from None


def _existing(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise ModelFolderError(f"there is no folder {folder}: train a model into it, or name another one")
    path = folder / name
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no {name}, so it is not a whole model folder: {_REMEDY}")
    return path


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFolderError(f"{path} cannot be read as UTF-8 text ({error}): {_REMEDY}") from None


def _check_tensors(path: Path, config: ModelConfig, tensors: Any) -> None:
    """Names, types and shapes, all read from the file's header."""
    expected, found = layout_of(config).entries, set(tensors.keys())
    _refuse_any(path, "lacks", sorted(expected.keys() - found))
    _refuse_any(path, "has unexpected", sorted(found - expected.keys()))
    for name, (_, shape) in expected.items():
        part = tensors.get_slice(name)
        if part.get_dtype() != "F32":
            raise ModelFolderError(
                f"{path}: tensor {name} is {part.get_dtype()}, which is not supported yet; save it as F32"
            )
        if tuple(part.get_shape()) != shape:
            raise ModelFolderError(
                f"{path}: tensor {name} has shape {tuple(part.get_shape())}, but {_CONFIG} asks for {shape}: "
                f"{_REMEDY}"
            )


def _refuse_any(path: Path, fault: str, names: list[str]) -> None:
    if names:
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelFolderError(f"{path} {fault} tensor {names[0]}{others}: {_REMEDY}")


def _check_finite(path: Path, config: ModelConfig, flat: npt.NDArray[np.float32]) -> None:
    for name, view in Parameters(config, flat).views.items():
        if not np.isfinite(view).all():
            raise ModelFolderError(f"{path}: tensor {name} holds a value that is not finite: {_REMEDY}")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
