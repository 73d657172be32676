"""A trained model goes on with a text, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crystalline.data import END_OF_TEXT, tokenizer_from_json
from crystalline.errors import ModelFolderError, SettingError
from crystalline.inference.decoding import decode
from crystalline.inference.sampling import SamplingOptions, sample
from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    load_model,
    load_tokenizer_json,
    model_folder,
    next_logits,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["TextModel", "continuation", "decode", "stream"]


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A model together with the tokenizer it was trained with.

    Attributes:
        config: its sizes.
        parameters: its weights.
        tokenizer: text to ids in [0, config.vocab_size) and back.

    Raises:
        ModelFolderError: tokenizer and model differ in the size of their vocabularies.
    """

    config: ModelConfig
    parameters: Parameters
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        entries = self.tokenizer.get_vocab_size()
        if entries != self.config.vocab_size:
            raise ModelFolderError(
                f"the tokenizer has {entries} entries but the model {self.config.vocab_size}: "
                "use the tokenizer.json that was saved with the model"
            )

    @classmethod
    def load(cls, folder: Path) -> TextModel:
        """Read the model that was saved in a folder.

        Raises:
            ModelFolderError: the folder or a file in it is missing or damaged, or they do not fit together.
        """
        folder = model_folder(folder)
        config, flat = load_model(folder)
        return cls(config, Parameters(config, flat), tokenizer_from_json(load_tokenizer_json(folder)))


def stream(
    model: TextModel, prompt: str, *, tokens: int, options: SamplingOptions, seed: int
) -> Iterator[str]:
    """Continue a prompt with text: `decode` of `continuation`, which see for arguments and errors.

    Returns:
        Pieces of text, none of them empty.
    """
    return decode(model.tokenizer, continuation(model, prompt, tokens=tokens, options=options, seed=seed))


def continuation(
    model: TextModel, prompt: str, *, tokens: int, options: SamplingOptions, seed: int
) -> Iterator[int]:
    """Continue a prompt with token ids.

    Ends after `tokens` tokens, or before the end-of-text token. The model sees the last `seq_len` tokens
    of prompt and continuation. An empty prompt starts a new document.

    Args:
        model: what to ask.
        prompt: the text to continue; not repeated in the output.
        tokens: the most tokens to generate, >= 1.
        options: how they are drawn.
        seed: of the draws, >= 0. Same model, prompt, options and seed: same ids.

    Returns:
        The ids, each as soon as it is drawn.

    Raises:
        SettingError: `tokens` or `seed` is out of range, the prompt is no valid text, or it is empty and
            the tokenizer has no end-of-text token to start from. Raised at once, not at the first id.
        InputError: the model gives logits that are not finite. Raised by the iterator.
    """
    if tokens < 1:
        raise SettingError(f"tokens is {tokens}: choose a positive number")
    if seed < 0:
        raise SettingError(f"seed is {seed}: choose a number >= 0")
    context = _prompt_ids(model.tokenizer, prompt)
    return _continue(model, context, tokens, options, np.random.default_rng(seed))


def _prompt_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise SettingError(
            f"the prompt is not valid text at character {error.start}: pass it as UTF-8"
        ) from error
    if ids := list(tokenizer.encode(prompt).ids):
        return ids
    start = tokenizer.token_to_id(END_OF_TEXT)
    if start is None:
        raise SettingError("the prompt is empty and this model has no end-of-text token: give it a prompt")
    return [start]


def _continue(
    model: TextModel, context: list[int], tokens: int, options: SamplingOptions, rng: np.random.Generator
) -> Iterator[int]:
    """The ids that follow a context. Each one is computed from the whole context anew."""
    end = model.tokenizer.token_to_id(END_OF_TEXT)
    seq_len = model.config.seq_len
    # No longer than this run will need: the scores of attention grow with the square of it.
    workspace = Workspace(model.config, 1, min(seq_len, len(context) + tokens), training=False)
    for _ in range(tokens):
        context = context[-seq_len:]
        logits = next_logits(model.parameters, np.array([context], np.int32), workspace)  # (1, V)
        token = sample(logits[0], options, rng)
        if token == end:
            return
        yield token
        context.append(token)
