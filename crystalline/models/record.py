"""What is known of a stored model: where it came from, and the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from crystalline.errors import ModelFolderError
from crystalline.model import read_json, write_json
from crystalline.model.atomic import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["RECORD", "FileHash", "Record", "SourceKind", "damages", "hashed", "read_record", "write_record"]

RECORD: Final = "crystalline.json"
"""Name of the record's file, in the folder of its model."""

SourceKind = Literal["gguf", "run", "folder"]

_FORMAT: Final = 1
_BLOCK: Final = 1 << 22
_OWN_HASH: Final = "record_sha256"
_REMEDY: Final = "remove the model and import it again"


@dataclass(frozen=True, slots=True)
class FileHash:
    """A file as it was written.

    Attributes:
        size: in bytes.
        sha256: in hexadecimal.
    """

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is written down when a model is stored.

    Attributes:
        source: path that it was imported from, absolute.
        source_kind: what stood there.
        imported: when, in seconds since 1970.
        weights_sha256: of the weights as `weights_sha256` counts them: the same for the same weights,
            whatever format they came in.
        files: name -> how the file was written.
    """

    source: str
    source_kind: SourceKind
    imported: float
    weights_sha256: str
    files: Mapping[str, FileHash]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def hashed(path: Path, progress: Callable[[int], None] | None = None) -> FileHash:
    """Size and SHA-256 of a file.

    Args:
        path: of the file.
        progress: called with the number of bytes of each part that has been read.

    Raises:
        OSError: it cannot be read.
    """
    hasher, size = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        while part := stream.read(_BLOCK):
            hasher.update(part)
            size += len(part)
            if progress is not None:
                progress(len(part))
    return FileHash(size, hasher.hexdigest())


def write_record(folder: Path, record: Record) -> None:
    """Write the record of a model into its folder, and wait until it is on the disk.

    Raises:
        OSError: it cannot be written.
    """
    content = {
        "format": _FORMAT,
        "source": record.source,
        "source_kind": record.source_kind,
        "imported": record.imported,
        "weights_sha256": record.weights_sha256,
        "files": {
            name: {"bytes": file.size, "sha256": file.sha256} for name, file in sorted(record.files.items())
        },
    }
    write_json(folder / RECORD, content | {_OWN_HASH: _sha256(content)})
    sync(folder / RECORD)


def read_record(folder: Path) -> Record:
    """Read what `write_record` has written.

    Raises:
        ModelFolderError: it is missing, or a byte of it is not as it was written.
    """
    path = folder / RECORD
    try:
        content = read_json(path)
    except ModelFolderError:
        raise ModelFolderError(f"{path} is missing or damaged: {_REMEDY}") from None
    own_hash = content.pop(_OWN_HASH, None)
    if own_hash != _sha256(content):
        raise ModelFolderError(f"{path} is damaged, it is not what was written: {_REMEDY}")
    if content.get("format") != _FORMAT:
        raise ModelFolderError(f"{path} was written by a newer version of crystalline: use that one")
    try:
        return Record(
            source=str(content["source"]),
            source_kind=content["source_kind"],
            imported=float(content["imported"]),
            weights_sha256=str(content["weights_sha256"]),
            files={
                name: FileHash(int(file["bytes"]), str(file["sha256"]))
                for name, file in content["files"].items()
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError):  # written by somebody else, with a good hash
        raise ModelFolderError(f"{path} is not the record of a model: {_REMEDY}") from None


def damages(folder: Path, progress: Callable[[int], None] | None = None) -> list[str]:
    """Compare every file of a stored model with its record.

    Args:
        folder: of the model.
        progress: called with the number of bytes of each part that has been read.

    Returns:
        What is wrong, a sentence each that names the file; nothing if all is as it was written. Other files
        in the folder do no harm and are not mentioned.
    """
    try:
        record = read_record(folder)
    except ModelFolderError as error:
        return [str(error)]
    found = (_damage(folder / name, file, progress) for name, file in record.files.items())
    return [damage for damage in found if damage is not None]


def _damage(path: Path, expected: FileHash, progress: Callable[[int], None] | None) -> str | None:
    try:
        found = hashed(path, progress)
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})"
    if found.size != expected.size:
        return f"{path} is damaged: it has {found.size} bytes instead of {expected.size}"
    return None if found == expected else f"{path} is damaged: it is not what was written"


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
