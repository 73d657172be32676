"""A model folder as the Hugging Face ecosystem reads it: sizes, weights and tokenizer.

Writing is plain, not atomic: whoever makes a checkpoint writes into a folder that has no name yet. Reading
trusts nothing: every damage ends in a `ModelFolderError` that names the file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from tokenizers import Tokenizer

from crystalline.errors import ModelFolderError
from crystalline.model.config import ModelConfig
from crystalline.model.manifest import MANIFEST, verify
from crystalline.model.parameters import Parameters
from crystalline.model.safetensors_weights import WEIGHTS, read_weights
from crystalline.model.strict_json import REMEDY, read_bytes, read_object, shown
from crystalline.model.tokenizer_text import parse_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "CONFIG",
    "CONFIG_BYTES_MAX",
    "MODEL_FILES",
    "TOKENIZER",
    "TOKENIZER_CONFIG",
    "load_config",
    "load_model",
    "load_tokenizer_json",
    "model_folder",
    "read_model",
    "save_model",
]

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
CONFIG_BYTES_MAX: Final = 1024 * 1024

MODEL_FILES: Final = frozenset({CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG})
"""What `save_model` writes."""

_TOKENIZER_BYTES_MAX = 128 * 1024 * 1024
_END_OF_TEXT = "<|endoftext|>"


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
    _write_json(folder / CONFIG, config.to_hf(eos_token_id=end))
    # Serialised in memory first, so that a full disk is an OSError like everywhere else.
    (folder / WEIGHTS).write_bytes(safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    (folder / TOKENIZER).write_text(tokenizer_json, encoding="utf-8")
    special = {} if end is None else {"bos_token": None, "eos_token": _END_OF_TEXT}
    _write_json(
        folder / TOKENIZER_CONFIG,
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": config.seq_len,
            "clean_up_tokenization_spaces": False,
            **special,
        },
    )


def model_folder(folder: Path) -> Path:
    """The folder that really holds the files of a model: in a run folder they are links to a checkpoint.

    Whoever reads several of them must do so in one place, because the links may be moved meanwhile. A folder
    whose links lead to files of other names, as in the cache of Hugging Face, is read through them.
    """
    config = (folder / CONFIG).resolve() if (folder / CONFIG).is_file() else folder / CONFIG
    return config.parent if config.name == CONFIG else folder


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
            another shape, of a type other than F32, F16 or BF16, or holds a value that is not finite.
    """
    config = load_config(folder)
    return config, read_weights(folder, config)


def load_tokenizer_json(folder: Path, *, bytes_max: int = _TOKENIZER_BYTES_MAX) -> str:
    """Read the tokenizer as text, for `tokenizers.Tokenizer.from_str`.

    Args:
        folder: a model folder.
        bytes_max: the largest file to read; never more than 128 MiB.

    Raises:
        ModelFolderError: the folder or the file is missing or too large, or the file is not a tokenizer.
    """
    path = _existing(folder, TOKENIZER)
    try:
        text = read_bytes(path, min(bytes_max, _TOKENIZER_BYTES_MAX)).decode()
    except UnicodeDecodeError as error:
        raise ModelFolderError(f"{path} is not UTF-8 text ({shown(error)}): {REMEDY}") from None
    parse_tokenizer(text, str(path))
    return text


def load_config(folder: Path) -> ModelConfig:
    """Read a model's sizes.

    Raises:
        ModelFolderError: the folder or its config.json is missing or damaged, or names another architecture.
    """
    path = _existing(folder, CONFIG)
    try:
        return ModelConfig.from_hf(read_object(path, CONFIG_BYTES_MAX))
    except ModelFolderError as error:
        if str(path) in str(error):
            raise
        raise ModelFolderError(f"{path}: {error}") from None


def _existing(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise ModelFolderError(f"there is no folder {folder}: train a model into it, or name another one")
    path = folder / name
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no {name}, so it is not a whole model folder: {REMEDY}")
    return path


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
