"""The text to learn from: named files, whole folders, a string, or what every Python carries."""

from __future__ import annotations

import codecs
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
        skipped: files of a folder that were passed over because they are not UTF-8 text.
        paths: the files and folders that it was read from, absolute; none for text that Python itself
            carries, None for text that came from elsewhere.
        fingerprint: SHA-256 (hex) of the documents and their boundaries; the name does not count.
        size_bytes: length of all documents in UTF-8.

    Raises:
        CorpusError: there is no document, one is blank, or one cannot be written as UTF-8.
    """

    name: str
    documents: tuple[str, ...] = field(repr=False)
    skipped: tuple[str, ...] = field(default=(), repr=False, compare=False)
    paths: tuple[str, ...] | None = field(default=None, repr=False, compare=False)
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

        A folder is read to any depth in sorted order, one document a file. Hidden and blank files in it
        and files that are not UTF-8 text are passed over, and so are links to folders and folders of
        models and runs; a file named in `paths` must be text. A file that is met again, also through a
        link, counts once.

        Raises:
            CorpusError: no path at all; a path is missing, unreadable, empty, not UTF-8 text, or neither
                file nor folder; or a folder holds no text.
        """
        if not paths:
            raise CorpusError("no text files or folders given: name at least one")
        met: dict[Path, tuple[Path, str | None]] = {}
        for path in paths:
            for file, text in _texts_at(path):
                met.setdefault(file.resolve(), (file, text))
        documents = tuple(text for _, text in met.values() if text is not None)
        skipped = tuple(str(file) for file, text in met.values() if text is None)
        others = len({path.resolve() for path in paths}) - 1
        name = f"{paths[0]} and {others} more" if others else str(paths[0])
        return cls(name, documents, skipped, tuple(str(path.absolute()) for path in paths))

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
        return cls("the built-in text", builtin_documents(), paths=())


def _encode(document: str, name: str) -> bytes:
    try:
        return document.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{name} is not valid text at character {error.start}: remove lone surrogates"
        ) from error


def _texts_at(path: Path) -> list[tuple[Path, str | None]]:
    """The file at a path, or the files below it that are not blank; None for what is not UTF-8 text."""
    mode = _mode_of(path)
    if stat.S_ISDIR(mode):
        texts = [(file, _text_or_none(file)) for file in _files_below(path)]
        if not any(text and text.strip() for _, text in texts):
            raise CorpusError(f"{path} holds no text: name a folder with UTF-8 text files in it")
        return [(file, text) for file, text in texts if text is None or text.strip()]
    if not stat.S_ISREG(mode):
        raise CorpusError(f"{path} is neither a file nor a folder: name a text file or a folder")
    text = _decode(_read(path), path)
    if not text.strip():
        raise CorpusError(f"{path} is empty: name a file with text in it")
    return [(path, text)]


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


def _text_or_none(path: Path) -> str | None:
    content = _read(path)
    try:
        return _decode(content, path)
    except CorpusError:
        return None


def _decode(content: bytes, path: Path) -> str:
    """The text of a file. A byte order mark is no part of it."""
    if b"\0" in content:
        raise CorpusError(f"{path} is binary, not text: name a UTF-8 text file")
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        at = error.start + len(content) - len(error.object)
        raise CorpusError(
            f"{path} is not UTF-8 text (byte 0x{content[at]:02x} at offset {at}): convert it, for example "
            f"with iconv -f latin1 -t utf-8"
        ) from error


def _files_below(folder: Path) -> Iterator[Path]:
    """Regular files that are not hidden, sorted within each folder, sub-folders after files.

    Folders of models and runs are left out: what they hold in text is settings and vocabularies.
    """

    def refuse(error: OSError) -> None:
        raise CorpusError(
            f"{error.filename} cannot be read ({_reason(error)}): change its rights or leave it out"
        ) from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        seen = (name for name in folders if not name.startswith("."))
        folders[:] = sorted(name for name in seen if not _is_model(Path(parent, name)))
        for name in sorted(names):
            path = Path(parent, name)
            # A pipe or a device has no end, a dangling link no beginning.
            if not name.startswith(".") and path.is_file():
                yield path


def _is_model(folder: Path) -> bool:
    """Whether it is a model folder, or a run folder: links to checkpoints."""
    is_run = (folder / "latest").is_symlink() and (folder / "checkpoints").is_dir()
    return is_run or all((folder / name).exists() for name in ("model.safetensors", "config.json"))
