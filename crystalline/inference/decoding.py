"""Text from token ids while they come: whole characters, without special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers.decoders import DecodeStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tokenizers import Tokenizer

__all__ = ["Decoder", "decode"]

_REPLACEMENT = "\ufffd"  # what the decoder puts where bytes are no character, or not one yet

# Some tokenizers write the space before a word into the word, and decode a text without its first one. What
# follows a prompt is no beginning, so it is decoded behind the last tokens of it. A few are enough: a
# character has four bytes at most.
_TAIL_TOKENS = 16


class Decoder:
    """Text from ids, one id after another.

    All pieces together are what decoding prompt and ids adds to the text of the prompt. A character of
    several tokens comes when it is whole.

    Args:
        tokenizer: that of the model.
        prompt: ids before the first one; their text does not come out.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids = list(prompt[-_TAIL_TOKENS:])
        self._written = sum(len(self._stream.step(tokenizer, token) or "") for token in self._ids)
        # The stream may hold back some of the prompt as well: a token whose last character is unfinished.
        self._skip = len(self._whole()) - self._written

    def step(self, token: int) -> str:
        """The text that an id completes; "" if it completes no character."""
        self._ids.append(token)
        piece: str | None = self._stream.step(self._tokenizer, token)
        if not piece:
            return ""
        self._written += len(piece)
        piece, self._skip = piece[self._skip :], 0
        return piece

    def finish(self) -> str:
        """What is left at the end. A character that is unfinished is left out."""
        # The stream holds a token back if its last character is unfinished, even if its first ones are not.
        return self._whole()[self._written + self._skip :]

    def _whole(self) -> str:
        text: str = self._tokenizer.decode(self._ids)
        return text.rstrip(_REPLACEMENT)


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    """Text from ids while they come.

    Returns:
        Pieces of the text, none of them empty. A character of several tokens comes when it is whole; one
        that is unfinished at the end is left out.
    """
    decoder = Decoder(tokenizer)
    for token in ids:
        if piece := decoder.step(token):
            yield piece
    if rest := decoder.finish():
        yield rest
