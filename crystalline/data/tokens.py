"""From corpus to token ids, kept on disk so that the second run on the same text starts at once."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers

from crystalline.data.pieces import pieces
from crystalline.data.tokenizer import END_OF_TEXT, tokenizer_from_json, train_tokenizer
from crystalline.errors import ModelFolderError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from crystalline.data.corpus import Corpus

__all__ = ["PreparedTokens", "default_cache_dir", "encode_documents", "prepare_tokens"]

# Counts up whenever the same corpus would give other tokens, or the files another layout.
_FORMAT = 1

# The library's records take some 60 times the memory of their text until a batch is done with. So a batch is
# about 1 MiB of text: enough for sixteen cores, each of which encodes a piece.
_PIECES_AT_ONCE = 16

_DTYPES = {"uint16": np.uint16, "uint32": np.uint32}


@dataclass(frozen=True, slots=True, eq=False)
class PreparedTokens:
    """A corpus as token ids.

    Attributes:
        tokenizer: what the ids mean.
        tokens: all ids in corpus order, one axis, uint16 or uint32, read-only. The end-of-text token
            stands before each document.
        cached: whether the ids were found on disk, and are memory-mapped from there.
    """

    tokenizer: Tokenizer
    tokens: NDArray[np.unsignedinteger[Any]]
    cached: bool


def default_cache_dir() -> Path | None:
    """Where token files live: `$CRYSTALLINE_CACHE`, else `crystalline` in `$XDG_CACHE_HOME` or `~/.cache`.

    Returns:
        None where none of these is known, as in a container whose user has no home.
    """
    if own := os.environ.get("CRYSTALLINE_CACHE"):
        return Path(own)
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared, "crystalline")
    try:
        return Path.home() / ".cache" / "crystalline"
    except RuntimeError:
        return None


def prepare_tokens(corpus: Corpus, vocab_size: int, cache_dir: Path | None) -> PreparedTokens:
    """Train the tokenizer on a corpus and encode it, or find both in the cache.

    A cache entry that is incomplete or damaged is made anew; a folder that cannot be written is no
    obstacle, the next run only starts from the text again.

    Args:
        corpus: the text.
        vocab_size: most entries of the tokenizer, see `train_tokenizer`.
        cache_dir: folder of cache entries, made if need be; None neither reads nor writes any.

    Raises:
        SettingError: `vocab_size` is out of range.
    """
    entry = None if cache_dir is None else cache_dir / _cache_key(corpus, vocab_size)
    if entry is not None and (found := _load(entry)) is not None:
        return found
    tokenizer = train_tokenizer(corpus, vocab_size)
    tokens = encode_documents(tokenizer, corpus.documents)
    tokens.flags.writeable = False
    if entry is not None:
        with suppress(OSError):
            _store(entry, tokenizer.to_str(), tokens)
    return PreparedTokens(tokenizer, tokens, cached=False)


def encode_documents(tokenizer: Tokenizer, documents: Sequence[str]) -> NDArray[np.unsignedinteger[Any]]:
    """The ids of all documents in one array (n,), the end-of-text token before each document.

    Returns:
        uint16 if the vocabulary allows, else uint32.
    """
    dtype = _DTYPES["uint16" if tokenizer.get_vocab_size() <= 1 << 16 else "uint32"]
    boundary: NDArray[np.unsignedinteger[Any]] = np.array([tokenizer.token_to_id(END_OF_TEXT)], dtype)
    runs: list[NDArray[np.unsignedinteger[Any]]] = []
    numbered = (numbered for text in documents for numbered in enumerate(pieces(text)))
    while batch := list(itertools.islice(numbered, _PIECES_AT_ONCE)):
        encodings = tokenizer.encode_batch_fast([piece for _, piece in batch], add_special_tokens=False)
        for (number, _), encoding in zip(batch, encodings, strict=True):
            if number == 0:
                runs.append(boundary)
            runs.append(np.array(encoding.ids, dtype))
    return np.concatenate(runs)


def _cache_key(corpus: Corpus, vocab_size: int) -> str:
    # Another version of the library may merge or split otherwise.
    content = f"{_FORMAT} {tokenizers.__version__} {vocab_size} {corpus.fingerprint}"
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def _checksum(tokenizer_json: str, tokens: NDArray[np.unsignedinteger[Any]]) -> str:
    digest = hashlib.sha256(f"{tokens.dtype.name} {tokenizer_json}".encode())
    digest.update(tokens.data)
    return digest.hexdigest()


def _load(entry: Path) -> PreparedTokens | None:
    """The cache entry, None unless every byte of it is as it was written."""
    try:
        record = json.loads(entry.with_suffix(".json").read_bytes())
        tokens = np.memmap(entry.with_suffix(".tokens"), _DTYPES[record["dtype"]], mode="r")
        if _checksum(record["tokenizer"], tokens) != record["sha256"]:
            return None
        return PreparedTokens(tokenizer_from_json(record["tokenizer"]), tokens, cached=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ModelFolderError):
        return None


def _store(entry: Path, tokenizer_json: str, tokens: NDArray[np.unsignedinteger[Any]]) -> None:
    record = {
        "dtype": tokens.dtype.name,
        "sha256": _checksum(tokenizer_json, tokens),
        "tokenizer": tokenizer_json,
    }
    entry.parent.mkdir(parents=True, exist_ok=True)
    _replace(entry.with_suffix(".tokens"), tokens.tobytes())
    _replace(entry.with_suffix(".json"), json.dumps(record).encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part of it."""
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
