"""The text to learn from: named files, whole folders, a string, or what every Python carries."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crystalline.data.builtin import builtin_documents
from crystalline.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents of text under a name. What can be built here can be tokenized.

    Attributes:
        name: what to call it in messages.
        documents: the texts, in a fixed order; at least one, none of them blank.
        fingerprint: SHA-256 (hex) of the documents and their boundaries; the name does not count.
        size_bytes: length of all documents in UTF-8.

    Raises:
        CorpusError: there is no document, one is blank, or one cannot be written as UTF-8.
    """

    name: str
    documents: tuple[str, ...]
    fingerprint: str = field(init=False)
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        if not self.documents or not all(document.strip() for document in self.documents):
            raise CorpusError(f"{self.name} is empty: give a text with something in it")
        digest, size = hashlib.sha256(), 0
        for document in self.documents:
            encoded = _encode(document, self.name)
            # The length goes first, so that moving a document's boundary changes the digest.
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
            size += len(encoded)
        object.__setattr__(self, "fingerprint", digest.hexdigest())
        object.__setattr__(self, "size_bytes", size)

    @classmethod
    def from_paths(cls, paths: Sequence[Path]) -> Corpus:
        """Read text files and folders, in the order given.

        A folder is read to any depth in sorted order, one document a file. Hidden, blank and binary
        files in it are passed over; a file named in `paths` must be text. Links to folders inside a
        folder are not followed.

        Raises:
            CorpusError: no path at all; a path is missing, unreadable, empty, binary, or neither file
                nor folder; or a folder holds no text.
        """
        if not paths:
            raise CorpusError("no text files or folders given: name at least one")
        documents = [document for path in paths for document in _documents_at(path)]
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        return cls(f"{paths[0]}{others}", tuple(documents))

    @classmethod
    def from_text(cls, text: str, name: str = "text") -> Corpus:
        """One document from a string.

        Raises:
            CorpusError: the text is blank or cannot be written as UTF-8.
        """
        return cls(name, (text,))

    @classmethod
    def builtin(cls) -> Corpus:
        """About 2 MB of English about Python, from this Python's own documentation.

        The same for every run of one Python version; other versions carry other text.

        Raises:
            CorpusError: this Python was installed without its documentation and sources.
        """
        return cls("the built-in text", builtin_documents())


def _encode(document: str, name: str) -> bytes:
    try:
        return document.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{name} is not valid text at character {error.start}: remove lone surrogates"
        ) from error


def _documents_at(path: Path) -> list[str]:
    mode = _mode_of(path)
    if stat.S_ISDIR(mode):
        texts = [_text_or_none(_read(file)) for file in _files_below(path)]
        documents = [text for text in texts if text is not None and text.strip()]
        if not documents:
            raise CorpusError(f"{path} holds no text: name a folder with UTF-8 text files in it")
        return documents
    if not stat.S_ISREG(mode):
        raise CorpusError(f"{path} is neither a file nor a folder: name a text file or a folder")
    text = _text_or_none(_read(path))
    if text is None:
        raise CorpusError(f"{path} is binary, not text: name a UTF-8 text file")
    if not text.strip():
        raise CorpusError(f"{path} is empty: name a file with text in it")
    return [text]


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        raise CorpusError(f"{path} does not exist: check the spelling") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path} cannot be read ({_reason(error)}): name another file or folder") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(
            f"{path} cannot be read ({_reason(error)}): change its rights or leave it out"
        ) from error


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def _text_or_none(content: bytes) -> str | None:
    """The text of a file, None if it is binary. A byte order mark is no part of the text."""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _files_below(folder: Path) -> Iterator[Path]:
    """Regular files that are not hidden, sorted within each folder, sub-folders after files."""

    def refuse(error: OSError) -> None:
        raise CorpusError(
            f"{error.filename} cannot be read ({_reason(error)}): change its rights or leave it out"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            # A pipe or a device has no end, a dangling link no beginning.
            if not name.startswith(".") and path.is_file():
                yield path
