"""A tokenizer from the text of a tokenizer.json that nobody vouches for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from crystalline.errors import ModelFolderError
from crystalline.model.strict_json import REMEDY, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["begin_id_of", "check_ids", "parse_tokenizer", "refused_by_the_library", "without_padding"]

_SAMPLE = "a"  # any text will do


def parse_tokenizer(text: str, where: str) -> Tokenizer:
    """The tokenizer that a text describes.

    Raises:
        ModelFolderError: it describes none; `where` is named.
    """
    with refused_by_the_library(where):
        return Tokenizer.from_str(text)


@contextlib.contextmanager
def refused_by_the_library(where: str) -> Iterator[None]:
    """Turn what the tokenizers library raises into one of our errors.

    Raises:
        ModelFolderError: the library raised anything; `where` is named.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  what it cannot use is a bare Exception, or a panic
        raise ModelFolderError(f"{where} is not a tokenizer ({shown(str(error))}): {REMEDY}") from None


def check_ids(tokenizer: Tokenizer, vocab_size: int, where: str) -> None:
    """Return when a model with so many ids knows all of a tokenizer's. The model may have more.

    Raises:
        ModelFolderError: the tokenizer has more entries, or higher ids.
    """
    entries = tokenizer.get_vocab_size()
    highest = max(tokenizer.get_vocab().values(), default=0)
    if max(entries, highest + 1) > vocab_size:
        raise ModelFolderError(
            f"{where}: the tokenizer has {entries} entries but the model {vocab_size} (the highest id is "
            f"{highest}): use the tokenizer.json that was saved with the model"
        )


def without_padding(text: str, tokenizer: Tokenizer) -> str:
    """The text of a tokenizer that neither pads nor cuts: the one it was made of where it does not already.

    A length to pad to may be any number, and would be taken as memory with the first text.
    """
    if tokenizer.padding is None and tokenizer.truncation is None:
        return text
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return str(tokenizer.to_str())


def begin_id_of(tokenizer: Tokenizer, where: str) -> int | None:
    """The token that a tokenizer's own last step puts before every text; None: it puts none there.

    Raises:
        ModelFolderError: it puts several there.
    """
    with refused_by_the_library(where):
        plain = tokenizer.encode(_SAMPLE, add_special_tokens=False).ids
        whole = tokenizer.encode(_SAMPLE).ids
    for before in range(len(whole) - len(plain) + 1):
        if whole[before : before + len(plain)] == plain:
            break
    else:
        before = 0
    if before > 1:
        raise ModelFolderError(f"{where} puts {before} tokens before every text, which is not supported")
    return whole[0] if before else None
