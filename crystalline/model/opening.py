"""Opens a model, wherever it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystalline.errors import ModelFolderError
from crystalline.model.files import TOKENIZER, load_config, load_model, load_tokenizer_json, model_folder
from crystalline.model.gguf_file import is_gguf, open_gguf
from crystalline.model.loaded import LoadedModel
from crystalline.model.text_settings import folder_text_settings
from crystalline.model.tokenizer_text import check_ids, parse_tokenizer, without_padding

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_model"]

# A tokenizer takes twenty times its text as memory, so its text must be in proportion to the model. Those in
# use have about 150 bytes for an entry, merges and all.
_TOKENIZER_FREE_BYTES, _ENTRY_BYTES = 1024 * 1024, 1024


def open_model(path: Path) -> LoadedModel:
    """Read a whole model of the Llama family.

    Args:
        path: a model folder as Hugging Face or we write it, a run folder, or a GGUF file. The files of a
            checkpoint of ours are compared with its manifest.

    Raises:
        ModelFolderError: something is missing, damaged or not supported; the text names the file. Memory for
            the weights is taken only when the sizes of everything have been checked.
    """
    if path.is_file():
        if is_gguf(path):
            return open_gguf(path)
        raise ModelFolderError(f"{path} is neither a model folder nor a GGUF file: name one of these")
    if path.suffix == ".gguf" and not path.exists():
        raise ModelFolderError(f"there is no file {path}: name a GGUF file or a model folder")
    folder = model_folder(path)
    vocab_size = load_config(folder).vocab_size
    tokenizer_json = load_tokenizer_json(folder, bytes_max=_TOKENIZER_FREE_BYTES + _ENTRY_BYTES * vocab_size)
    where = str(folder / TOKENIZER)
    tokenizer = parse_tokenizer(tokenizer_json, where)
    check_ids(tokenizer, vocab_size, where)
    tokenizer_json = without_padding(tokenizer_json, tokenizer)
    config, flat = load_model(folder)
    text = folder_text_settings(folder, tokenizer, config.vocab_size)
    return LoadedModel(config=config, flat=flat, tokenizer_json=tokenizer_json, text=text)
