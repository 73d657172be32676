"""Models that say one thing for ever, so that a test knows every word of a conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from crystalline.model import ModelConfig, Parameters, layout_of, save_model
from tests.helpers.texts import words
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

_TOKENIZER = small_tokenizer(words(4000), 300)


def parrot(folder: Path, word: str = "a", *, seq_len: int = 4096, template: str | None = None) -> Path:
    """A model folder whose likeliest next token is always the one for `word`, by 16 in the logits.

    Args:
        folder: made if need be.
        word: a token of the tokenizer, such as one letter.
        seq_len: of the model.
        template: its chat template; None for none.
    """
    config = ModelConfig(
        vocab_size=_TOKENIZER.get_vocab_size(), dim=16, layers=1, heads=2, ffn_dim=16, seq_len=seq_len
    )
    parameters = Parameters(config, np.zeros(layout_of(config).size, np.float32))
    parameters.norm[:] = 1
    parameters.embedding[:] = 1
    parameters.embedding[_TOKENIZER.token_to_id(word)] = 2
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder, config, parameters.flat, _TOKENIZER.to_str())
    if template is not None:
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    return folder


def length_of(text: str) -> int:
    """Tokens of a text for a parrot, in which special tokens count as such."""
    return len(_TOKENIZER.encode(text).ids)
