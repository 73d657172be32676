"""Text from token ids while they come: whole characters, without special tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

__all__ = ["Decoder"]

_REPLACEMENT = "\ufffd"  # what the tokenizer puts where bytes are no character, or not one yet

_HELD_MAX, _UNFINISHED_MAX = 64, 3  # ids that are held back, and bytes of an unfinished character

_CONTEXT_TOKENS = 16  # of a prompt; a few are enough, since a character has four bytes at most


class Decoder:
    """Text from ids, one id after another.

    All pieces together are what the ids add to the text of the prompt, without what is no character, or not
    yet one, at the very end, unless it is dozens of ids long. A character of several tokens comes with the
    token that completes it.

    Ids are decoded behind those whose text came last, since some tokenizers write the space before a word
    into the word, and leave out that of the first word of a text. Where the tokenizer takes back a character
    because of bytes behind it that are none, as one with byte fallback does, what came stays as it is.

    Args:
        tokenizer: that of the model.
        prompt: ids before the first one; their text does not come out.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._before: list[int] = []  # what is held is decoded behind these, whose text has come out
        self._before_text = ""
        self._held: list[int] = []
        self._out = 0  # how many characters of what is held have come out
        for token in prompt[-_CONTEXT_TOKENS:]:
            self.step(token)

    def step(self, token: int) -> str:
        """The text that an id completes; "" if it completes no character."""
        self._held.append(token)
        text = self._held_text()
        whole = text.rstrip(_REPLACEMENT)
        unfinished, held = len(text) - len(whole), len(self._held)
        if held >= 2 * _HELD_MAX or (held >= _HELD_MAX and unfinished > _UNFINISHED_MAX):
            whole = text  # so many are not the beginning of a character, and each step decodes all of them
        piece = whole[self._out :]
        self._out += len(piece)
        if text and text == whole:
            self._before, self._held, self._out = self._held, [], 0
            self._before_text = self._tokenizer.decode(self._before)
        elif not text and len(self._held) >= _HELD_MAX:
            self._held = []  # special tokens: the text is still what came before them
        return piece

    def _held_text(self) -> str:
        text: str = self._tokenizer.decode(self._before + self._held)
        if text.startswith(self._before_text):
            return text[len(self._before_text) :]
        alone: str = self._tokenizer.decode(self._held)
        return alone
