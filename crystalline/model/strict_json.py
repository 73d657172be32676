"""JSON objects from files that nobody vouches for: small, plain, finite, or one clear error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from crystalline.errors import ModelFolderError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["REMEDY", "parse_object", "read_bytes", "read_object", "shown"]

REMEDY: Final = "save or fetch the model again, or open another one"
"""What to do about a damaged model."""

_SHOWN_MAX = 80  # characters
# An entry of two bytes becomes a Python object of fifty: so many are ten megabytes. No settings of a model,
# and no header of a file of weights, come near.
_ENTRIES_MAX = 100_000


def read_object(path: Path, bytes_max: int) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: an ordinary file.
        bytes_max: the largest file to read.

    Raises:
        ModelFolderError: it cannot be read, is larger than that, or is not one JSON object of finite numbers.
    """
    return parse_object(read_bytes(path, bytes_max), str(path))


def read_bytes(path: Path, bytes_max: int) -> bytes:
    """The content of a file.

    Raises:
        ModelFolderError: it is no ordinary file, cannot be read, or is larger than `bytes_max`.
    """
    if not path.is_file():  # a pipe would keep us waiting
        raise ModelFolderError(f"{path} is not a file: {REMEDY}")
    try:
        with path.open("rb") as stream:
            content = stream.read(bytes_max + 1)
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from None
    if len(content) > bytes_max:
        raise ModelFolderError(f"{path} is larger than {bytes_max} bytes, too large for what it is: {REMEDY}")
    return content


def parse_object(content: bytes, where: str) -> dict[str, Any]:
    """The JSON object in some bytes.

    Raises:
        ModelFolderError: they are not one JSON object of finite numbers, or hold absurdly many of them; it
            names `where`.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > _ENTRIES_MAX:
        raise ModelFolderError(f"{where} has more than {_ENTRIES_MAX} entries, too many to be read: {REMEDY}")
    try:
        found = json.loads(content.decode(), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ModelFolderError(f"{where} is not UTF-8 text ({shown(error)}): {REMEDY}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{where} is not JSON ({shown(error)}): {REMEDY}") from None
    if not isinstance(found, dict):
        raise ModelFolderError(f"{where} must hold one JSON object, got {type(found).__name__}: {REMEDY}")
    return found


def shown(value: object) -> str:
    """A value from a file as text, short and plain enough for a message."""
    text = str(value) if isinstance(value, Exception) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
