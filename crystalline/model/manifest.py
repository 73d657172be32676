"""The manifest of a checkpoint: the SHA-256 of every file in it, so that no changed bit goes unnoticed.

It is written in one way only, so that a change of any byte in it is noticed as well. Model folders from
elsewhere have none.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import ModelFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["MANIFEST", "read_json", "verify", "write_json", "write_manifest"]

MANIFEST: Final = "training/manifest.json"

_REMEDY: Final = "use the checkpoint before it, or train again"


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the manifest of these files of a folder.

    Raises:
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    write_json(folder / MANIFEST, {name: _sha256(folder / name) for name in sorted(names)})


def verify(folder: Path, names: Iterable[str], *, only: bool = True) -> None:
    """Compare files with the manifest.

    Args:
        folder: a checkpoint.
        names: the files to compare.
        only: whether the manifest must list these and no others.

    Raises:
        ModelFolderError: the manifest is missing, damaged or does not list them, or a file is not as it was
            written; it is named.
    """
    manifest, wanted = read_json(folder / MANIFEST), set(names)
    if not (manifest.keys() == wanted if only else manifest.keys() >= wanted):
        raise ModelFolderError(f"{folder / MANIFEST} does not list the files of a checkpoint: {_REMEDY}")
    for name in sorted(wanted):
        file = folder / name
        if _sha256_or_none(file) != manifest[name]:
            raise ModelFolderError(f"{file} is missing or damaged, it is not what was saved: {_REMEDY}")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object in the one way in which `read_json` accepts it.

    Raises:
        OSError: it cannot be written.
    """
    path.write_text(_json(content), encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` has written.

    Raises:
        ModelFolderError: there is no such file, or it is not byte by byte as it was written.
    """
    try:
        if not path.is_file():  # a pipe would keep us waiting
            raise ModelFolderError(f"there is no file {path}; {_REMEDY}")
        content = path.read_bytes()
        found = json.loads(content)
        whole = isinstance(found, dict) and content == _json(found).encode()
    except OSError as error:
        raise ModelFolderError(f"cannot read {path}: {error.strerror or error}; {_REMEDY}") from None
    except (ValueError, RecursionError):
        raise ModelFolderError(f"{path} is damaged, it is not JSON: {_REMEDY}") from None
    if not whole:
        raise ModelFolderError(f"{path} is damaged, it is not what was saved: {_REMEDY}")
    return dict(found)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sha256_or_none(file: Path) -> str | None:
    try:
        return _sha256(file) if file.is_file() else None
    except OSError:
        return None


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
