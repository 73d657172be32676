"""A text of any length, read and cut bit by bit: nothing needs to hold the whole of it."""

from __future__ import annotations

import codecs
import itertools
import re
from typing import TYPE_CHECKING, Final

from crystalline.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tokenizers import Tokenizer

__all__ = ["decoded", "encode_stream", "word_pieces"]

_PIECE_CHARACTERS: Final = 1 << 16
# Where almost every tokenizer ends a word. Whether this one does is asked of it at each place.
_PLACE: Final = re.compile(r"(?<=[^\W\d_])(?= [^\W\d_])")
_PLACES_TRIED: Final = 8
_NEIGHBOURHOOD: Final = 64  # characters on each side of a place that are looked at


def decoded(chunks: Iterable[bytes], name: str) -> Iterator[str]:
    """UTF-8 text from bytes as they come. A byte order mark in front is no part of it.

    Args:
        chunks: the bytes, cut anywhere.
        name: of the text, for errors.

    Raises:
        CorpusError: what has come is not UTF-8, or binary. What came before has been handed on.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    read = 0
    for chunk in itertools.chain(chunks, [None]):
        read += len(chunk or b"")
        try:
            text = decoder.decode(chunk or b"", final=chunk is None)
        except UnicodeDecodeError as error:
            at = read - len(error.object) + error.start
            raise CorpusError(
                f"{name} is not UTF-8 text (byte 0x{error.object[error.start]:02x} at offset {at}): convert "
                "it, for example with iconv -f latin1 -t utf-8"
            ) from error
        if "\0" in text:
            raise CorpusError(f"{name} is binary, not text: name a UTF-8 text file")
        if text:
            yield text


def word_pieces(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[str]:
    """Join pieces of text and cut them anew, where the tokens of the pieces are those of the whole text.

    A cut lies between a letter and a space before another one, if the tokenizer's words are the same with
    it and without it. One that has no words, or puts something before every text, gets the whole at once.

    Yields:
        A little over 65,536 characters each, the last one less; nothing for an empty text.
    """
    whole = tokenizer.pre_tokenizer is None or _joins_words(tokenizer)
    held = ""
    for text in texts:
        held += text
        while not whole and (cut := _cut(tokenizer, held)):
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def encode_stream(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[int]]:
    """The ids of a text that comes in pieces, no special tokens added: those of the whole text, in order."""
    for piece in word_pieces(tokenizer, texts):
        yield list(tokenizer.encode(piece, add_special_tokens=False).ids)


def _joins_words(tokenizer: Tokenizer) -> bool:
    """Whether some entry is looked for in the text before words are."""
    added = tokenizer.get_added_tokens_decoder().values()
    return any(_PLACE.search(token.content) for token in added)


def _cut(tokenizer: Tokenizer, text: str) -> int:
    """The first good place after so many characters; 0 if there is none yet."""
    places = _PLACE.finditer(text, _PIECE_CHARACTERS, max(len(text) - _NEIGHBOURHOOD, 0))
    for place in itertools.islice(places, _PLACES_TRIED):
        at = place.start()
        left, right = text[at - _NEIGHBOURHOOD : at], text[at : at + _NEIGHBOURHOOD]
        if _words(tokenizer, left) + _words(tokenizer, right) == _words(tokenizer, left + right):
            return at
    return 0


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
