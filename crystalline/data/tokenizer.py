"""Byte-level BPE: text to token ids and back, without loss, for any text.

Byte pair encoding after Sennrich et al. 2016 ("Neural Machine Translation of Rare Words with Subword
Units") over bytes, as in GPT-2 (Radford et al. 2019). The work is done by the `tokenizers` library.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from crystalline.data.pieces import pieces
from crystalline.errors import ModelFolderError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystalline.data.corpus import Corpus

__all__ = ["END_OF_TEXT", "VOCAB_SIZE_MAX", "VOCAB_SIZE_MIN", "tokenizer_from_json", "train_tokenizer"]

END_OF_TEXT = "<|endoftext|>"
"""The one special token, id 0. Written out in a text, it marks a boundary between documents."""

VOCAB_SIZE_MIN = 257
"""The end-of-text token and each of the 256 bytes."""

VOCAB_SIZE_MAX = 1_000_000
"""Far above any use; a slip of the keyboard should not ask for a terabyte."""


def _unheard(_part: float) -> None: ...


def train_tokenizer(
    corpus: Corpus, vocab_size: int, *, heard: Callable[[float], None] = _unheard
) -> Tokenizer:
    """Learn the merges of byte pairs that shorten a corpus most.

    Args:
        corpus: the text to learn from.
        vocab_size: entries wanted, 257 to 1,000,000. A small corpus may give fewer: pairs seen once are
            not merged. `tokenizer.get_vocab_size()` is the true number.
        heard: is called with the part of the text that has been read, now and then; when it is 1, the merges
            are still to be learned.

    Returns:
        A tokenizer; the same corpus and size always give the same one.

    Raises:
        SettingError: `vocab_size` is out of range.
    """
    if not VOCAB_SIZE_MIN <= vocab_size <= VOCAB_SIZE_MAX:
        raise SettingError(
            f"vocab_size is {vocab_size}: choose {VOCAB_SIZE_MIN} (256 bytes and the end-of-text token) "
            f"to {VOCAB_SIZE_MAX}"
        )
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(ByteLevel.alphabet()),  # the library returns it in random order
    )
    tokenizer.train_from_iterator(_read(corpus, heard), trainer)
    return tokenizer


def _read(corpus: Corpus, heard: Callable[[float], None]) -> Iterator[str]:
    """The pieces of all documents; says how far they are."""
    read, size = 0, sum(map(len, corpus.documents))
    for piece in itertools.chain.from_iterable(map(pieces, corpus.documents)):
        yield piece
        read += len(piece)
        heard(read / size)


def tokenizer_from_json(text: str) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_str` wrote.

    Raises:
        ModelFolderError: the text is not a tokenizer.
    """
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        # The library raises bare Exception, and nothing narrower, for whatever it cannot parse.
        what = " ".join(str(error).split())
        raise ModelFolderError(f"tokenizer.json is damaged ({what}): restore it or train again") from error
