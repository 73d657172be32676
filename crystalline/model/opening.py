"""Opens a model, wherever it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from crystalline.model.files import load_model, load_tokenizer_json, model_folder
from crystalline.model.loaded import LoadedModel, TextSettings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_model"]

_END_OF_TEXT = "<|endoftext|>"


def open_model(path: Path) -> LoadedModel:
    """Read a whole model.

    Args:
        path: a model folder, or a run folder.

    Raises:
        ModelFolderError: something is missing, damaged or not supported; the text names the file.
    """
    folder = model_folder(path)
    config, flat = load_model(folder)
    tokenizer_json = load_tokenizer_json(folder)
    end = Tokenizer.from_str(tokenizer_json).token_to_id(_END_OF_TEXT)
    text = TextSettings() if end is None else TextSettings(end_ids=(end,), end_token=_END_OF_TEXT)
    return LoadedModel(config=config, flat=flat, tokenizer_json=tokenizer_json, text=text)
