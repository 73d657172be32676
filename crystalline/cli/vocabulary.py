"""The entries of a tokenizer: which bytes each stands for, what kind it is, and how to show it."""

from __future__ import annotations

import json
import unicodedata
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import ModelFolderError, SettingError
from crystalline.inference import TextModel
from crystalline.model import load_tokenizer_json, model_folder
from crystalline.model.tokenizer_text import parse_tokenizer
from crystalline.models import reading_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

__all__ = ["Entries", "Kind", "open_tokenizer", "readable_as_special", "valid_text", "visible"]

_TOKENIZER_BYTES_MAX: Final = 1 << 28  # the largest known has 35 MB
_SHOWN: Final = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}
_INVISIBLE: Final = ("C", "Zl", "Zp", "Zs")  # Unicode categories


class Kind(StrEnum):
    """What an entry is."""

    BYTE = "byte"
    MERGE = "merge"
    SPECIAL = "special"


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model, or of a tokenizer.json by itself. It neither pads texts nor cuts them short.

    Args:
        path: a file whose name ends in .json, or a model by its path or name.

    Raises:
        ModelFolderError: there is none, or it is damaged.
    """
    if path.suffix == ".json":
        return _unlimited(_read(path), path)
    with reading_model(path) as place:
        if place.is_dir():  # without the weights, which take time
            return _unlimited(load_tokenizer_json(model_folder(place)), place)
        return TextModel.load(place).tokenizer


def _unlimited(text: str, path: Path) -> Tokenizer:
    tokenizer = parse_tokenizer(text, str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _read(path: Path) -> str:
    if not path.is_file():
        raise ModelFolderError(f"there is no file {path}: name a tokenizer.json or a model")
    if path.stat().st_size > _TOKENIZER_BYTES_MAX:
        raise ModelFolderError(f"{path} is larger than any tokenizer: name another file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFolderError(f"{path} is not UTF-8 text ({error}): name a tokenizer.json") from error


def readable_as_special(tokenizer: Tokenizer, *, special: bool) -> Tokenizer:
    """Set whether special tokens that are written out in a text are read as such, or as any other text."""
    tokenizer.encode_special_tokens = not special
    return tokenizer


def valid_text(text: str, what: str) -> str:
    """The text, if it can be written as UTF-8.

    Raises:
        SettingError: it holds a lone surrogate, as command lines with other bytes do.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingError(
            f"{what} is not valid text at character {error.start}: pass it as UTF-8"
        ) from error
    return text


class Entries:
    """The entries of a tokenizer.

    Args:
        tokenizer: whose.

    Attributes:
        size: one more than the largest id.
        count: how many there are.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_tokens_decoder()
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        self.count = len(vocabulary)
        self.size = 1 + max(vocabulary.values(), default=-1)
        self._of_bytes = _has(json.loads(tokenizer.to_str()).get("decoder"), "ByteLevel")

    def __iter__(self) -> Iterator[int]:
        """All ids in rising order."""
        return iter(sorted(self._tokenizer.get_vocab(with_added_tokens=True).values()))

    def content(self, token: int) -> bytes:
        """The bytes of text that an entry stands for; b"" for an id that has none.

        Entries of tokenizers that are not over bytes may stand for more at the beginning of a text, where
        they do without their space.
        """
        name = self._tokenizer.id_to_token(token)
        if name is None:
            return b""
        if token in self._added:
            return name.encode()
        if self._of_bytes:
            return b"".join(_bytes_of(each) for each in name)
        if (number := _byte_fallback(name)) is not None:
            return bytes([number])
        return name.replace("▁", " ").encode()

    def kind(self, token: int) -> Kind:
        """Whether an entry stands for one byte, is special (added by name), or has been put together."""
        if token in self._added:
            return Kind.SPECIAL
        name = self._tokenizer.id_to_token(token) or ""
        single = len(name) == 1 and self._of_bytes
        return Kind.BYTE if single or _byte_fallback(name) is not None else Kind.MERGE


def visible(content: bytes) -> str:
    r"""Bytes as text in which white space can be seen, and bytes that are no character: `␣`, `⏎`, `<E2>`.

    >>> visible("to be\n".encode() + bytes([0xE2, 0x98]))
    'to␣be⏎<E2><98>'
    """
    text = content.decode("utf-8", "surrogateescape")
    return "".join(_visible(each) for each in text)


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # what surrogateescape makes of a byte
        return f"<{ord(character) - 0xDC00:02X}>"
    if character in _SHOWN:
        return _SHOWN[character]
    if unicodedata.category(character).startswith(_INVISIBLE):
        return f"<U+{ord(character):04X}>"
    return character


def _has(decoder: Any, kind: str) -> bool:
    """Whether a decoder is of a kind, or has a part that is."""
    if not isinstance(decoder, dict):
        return False
    return decoder.get("type") == kind or any(_has(part, kind) for part in decoder.get("decoders", ()))


def _byte_fallback(name: str) -> int | None:
    """The byte of an entry such as `<0x0A>`."""
    if len(name) != len("<0x00>") or not (name.startswith("<0x") and name.endswith(">")):
        return None
    try:
        return int(name[3:5], 16)
    except ValueError:
        return None


def _bytes_of(character: str) -> bytes:
    number = _alphabet().get(character)
    return character.encode() if number is None else bytes([number])


@cache
def _alphabet() -> dict[str, int]:
    """The character that stands for each byte: itself where it prints, else one after the first 256.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", in the code.
    """
    printing = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(printing)]
    return {chr(byte): byte for byte in printing} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }
