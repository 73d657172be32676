"""A trained model goes on with a text, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tokenizers.decoders import DecodeStream

from crystalline.errors import SettingError
from crystalline.inference.sampling import SamplingOptions, sample
from crystalline.model import Workspace, next_logits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer

    from crystalline.inference.text_model import TextModel

__all__ = ["continuation", "decode", "stream"]

_REPLACEMENT = "\ufffd"  # what the decoder puts where bytes are no character, or not one yet


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

    Ends after `tokens` tokens, or before a token that ends a text. The model sees the last `seq_len` tokens
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
    context = model.encode(prompt)
    return _continue(model, context, tokens, options, np.random.default_rng(seed))


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """Text from ids while they come.

    Returns:
        Pieces of the text, none of them empty. A character of several tokens comes when it is whole; one
        that is unfinished at the end is left out.
    """
    decoder = DecodeStream(skip_special_tokens=True)
    seen: list[int] = []
    written = 0
    for token in ids:
        seen.append(token)
        if piece := decoder.step(tokenizer, token):
            written += len(piece)
            yield piece
    # The decoder holds a token back if its last character is unfinished, even if its first ones are not.
    if rest := tokenizer.decode(seen)[written:].rstrip(_REPLACEMENT):
        yield rest


def _continue(
    model: TextModel, context: list[int], tokens: int, options: SamplingOptions, rng: np.random.Generator
) -> Iterator[int]:
    """The ids that follow a context. Each one is computed from the whole context anew."""
    ends = frozenset(model.text.end_ids)
    seq_len = model.config.seq_len
    # No longer than this run will need: the scores of attention grow with the square of it.
    workspace = Workspace(model.config, 1, min(seq_len, len(context) + tokens), training=False)
    for _ in range(tokens):
        context = context[-seq_len:]
        logits = next_logits(model.parameters, np.array([context], np.int32), workspace)  # (1, V)
        token = sample(logits[0], options, rng)
        if token in ends:
            return
        yield token
        context.append(token)
