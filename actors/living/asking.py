"""Asking another process for the picture of its system."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from actors.errors import ActorError, ProtocolError
from actors.living.picture import FORMAT
from actors.living.place import socket_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ANSWER_BYTES_MAX", "NotServed", "fetch_picture"]

ANSWER_BYTES_MAX: Final = 1 << 26
_PART_BYTES: Final = 1 << 16
_FORMAT_CHARS_MAX: Final = 40


class NotServed(ActorError, ConnectionError):
    """No process shows a picture under this path: it has ended, or never did."""


def fetch_picture(path: Path | str, *, ask: str = "picture", timeout_s: float = 5.0) -> dict[str, Any]:
    """Ask whoever serves `path`; see `serve_picture`.

    Args:
        path: as it was given there.
        ask: `picture` or `dump`.
        timeout_s: for everything together.

    Raises:
        NotServed: nobody does, or it has ended meanwhile.
        ProtocolError: the answer is no picture, or one of another version.
        TimeoutError: it did not answer in time.
    """
    until_s = time.monotonic() + timeout_s
    if not hasattr(socket, "AF_UNIX"):
        raise NotServed(f"nobody serves {path}: there are no Unix sockets here")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(socket_of(path)))
            connection.sendall(json.dumps({"ask": ask}).encode() + b"\n")
            line = _line(connection, until_s)
        except TimeoutError:
            raise TimeoutError(f"whoever serves {path} did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise NotServed(f"nobody serves {path}: {error.strerror or error}") from None
    found = _object(line, path)
    if ask == "picture" and found.get("format") != FORMAT:
        said = str(found.get("format"))[:_FORMAT_CHARS_MAX]
        raise ProtocolError(
            f"what serves {path} is of another version: its picture is {said!r}, not {FORMAT!r}"
        )
    return found


def _line(connection: socket.socket, until_s: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= ANSWER_BYTES_MAX:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(_PART_BYTES)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _object(line: bytes, path: Path | str) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        if not line:
            raise NotServed(f"whoever serves {path} ended, or takes no more questions now")
        raise ProtocolError(f"what serves {path} gave an answer that is cut off or too long")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError(f"what serves {path} answers with something else than JSON") from None
    if not isinstance(found, dict):
        raise ProtocolError(f"what serves {path} answers with something else than an object")
    if "error" in found:
        raise ProtocolError(f"what serves {path} says: {found['error']}")
    return found
