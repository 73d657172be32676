"""A model written as a folder in Hugging Face layout, which transformers and others open."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import safetensors
import safetensors.numpy
from tokenizers import Tokenizer, processors

from crystalline.errors import OutputError
from crystalline.model.atomic import beside, sync
from crystalline.model.parameters import Parameters
from crystalline.model.special_ids import special_ids
from crystalline.model.tokenizer_text import begin_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystalline.model.loaded import LoadedModel
    from crystalline.model.special_ids import SpecialIds

__all__ = ["HF_FILES", "HfType", "write_hf", "write_hf_files"]

HfType = Literal["float32", "float16"]

_CONFIG, _GENERATION = "config.json", "generation_config.json"
_WEIGHTS = "model.safetensors"
_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"

HF_FILES: Final = (_CONFIG, _GENERATION, _TOKENIZER, _TOKENIZER_CONFIG, _WEIGHTS)
"""What `write_hf` writes, in the order of the names."""


def write_hf(folder: Path, model: LoadedModel, *, dtype: HfType = "float32") -> None:
    """Write a model as a folder that is there as a whole or not at all.

    Args:
        folder: where to; must not exist, the folder above it must.
        model: what to write.
        dtype: of the weights in the file. float16 rounds them to 11 bits.

    Raises:
        OutputError: there is something of this name, or a weight is too large for float16; nothing was
            written.
        OSError: it cannot be written, or the disk is full; nothing is left of it.
    """
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{folder} exists: choose another name, or delete it")
    with beside(folder) as fresh:
        whole = fresh / folder.name  # renamed from within: what `beside` made stays its to delete
        whole.mkdir()
        write_hf_files(whole, model, dtype=dtype)
        sync(whole)
        whole.rename(folder)
    sync(folder.parent)


def write_hf_files(folder: Path, model: LoadedModel, *, dtype: HfType = "float32") -> None:
    """Write the files of a model into a folder that exists, and wait until they are on the disk.

    Raises:
        OutputError: a weight is too large for float16.
        OSError: as `write_hf`; some files may be there.
    """
    ids = special_ids(model)
    config = model.config.to_hf(bos_token_id=ids.begin) | {
        "eos_token_id": _one_or_all(ids.ends),
        "torch_dtype": dtype,
    }
    generation = {"bos_token_id": ids.begin, "eos_token_id": _one_or_all(ids.ends)}
    _write_json(folder / _CONFIG, config)
    _write_json(folder / _GENERATION, generation)
    (folder / _TOKENIZER).write_text(_beginning(model, ids), encoding="utf-8")
    _write_json(folder / _TOKENIZER_CONFIG, _tokenizer_config(model, ids))
    _write_weights(folder / _WEIGHTS, model, dtype)
    for name in HF_FILES:
        sync(folder / name)


def _beginning(model: LoadedModel, ids: SpecialIds) -> str:
    """The tokenizer, which itself puts the token before a text that the model wants there.

    A GGUF file has that as a setting, but transformers goes by the tokenizer alone.
    """
    tokenizer = Tokenizer.from_str(model.tokenizer_json)
    if model.text.begin_id is None or begin_id_of(tokenizer, _TOKENIZER) == model.text.begin_id:
        return model.tokenizer_json
    token = str(ids.begin_token)
    begin = processors.TemplateProcessing(
        single=[token, "$A"],
        pair=[token, "$A", f"{token}:1", "$B:1"],
        special_tokens=[(token, model.text.begin_id)],
    )
    before = tokenizer.post_processor
    tokenizer.post_processor = begin if before is None else processors.Sequence([before, begin])
    return str(tokenizer.to_str())


def _tokenizer_config(model: LoadedModel, ids: SpecialIds) -> dict[str, Any]:
    template = model.text.chat_template
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.config.seq_len,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": model.text.begin_id is not None,
        "bos_token": ids.begin_token,
        "eos_token": ids.end_token,
        **({} if template is None else {"chat_template": template}),
    }


def _one_or_all(ends: tuple[int, ...]) -> int | list[int] | None:
    """Ids as Hugging Face writes them: none, a number, or a list."""
    return list(ends) if len(ends) > 1 else next(iter(ends), None)


def _write_weights(path: Path, model: LoadedModel, dtype: HfType) -> None:
    flat = model.flat if dtype == "float32" else _halves(model.flat)
    tensors = Parameters(model.config, flat).views
    try:
        safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        raise OSError(f"{path}: {error}") from error
    shutil.copymode(path.with_name(_CONFIG), path)  # the library lets only the owner read it


def _halves(flat: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float16]]:
    with np.errstate(over="ignore"):
        halves = flat.astype(np.float16)
    if not np.isfinite(halves).all():
        raise OutputError("a weight is too large for float16: write float32")
    return halves


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
