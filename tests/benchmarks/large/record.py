"""What has been measured so far, kept in a file after every part, so that an interrupted run goes on."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Record", "RecordError"]


class RecordError(Exception):
    """The file cannot be used; the message says what to do."""


class Record:
    """Results by the names of their parts.

    Args:
        identity: what the parts are measured on: the text and the sizes. Anything that JSON can say.
        path: the file; None keeps nothing. Its folder must be there.

    Attributes:
        parts: what has been measured, in the order in which it was.

    Raises:
        RecordError: the file holds something else, or parts of another text or other sizes.
    """

    def __init__(self, identity: dict[str, Any], path: Path | None) -> None:
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._path = path
        self.parts: dict[str, Any] = {}
        if path is not None and path.exists():
            self.parts = self._read(path)
        elif path is not None:
            self._write(path)  # a folder that cannot be written is found before hours of work

    def part(self, name: str, measure: Callable[[], Any]) -> Any:
        """The result of a part, measured unless it is known."""
        if name not in self.parts:
            self.parts[name] = measure()
            if self._path is not None:
                self._write(self._path)
        return self.parts[name]

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            kept = json.loads(path.read_bytes())
            identity, parts = kept["identity"], dict(kept["parts"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path} is no record of this benchmark: choose another file") from error
        if differing := sorted(
            key for key in {*identity, *self._identity} if identity.get(key) != self._identity.get(key)
        ):
            raise RecordError(
                f"{path} is of another {', '.join(differing)}: choose another file, or remove it"
            )
        return parts

    def _write(self, path: Path) -> None:
        """Replace the file as a whole.

        Raises:
            RecordError: it cannot be written.
        """
        try:
            with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".new-", delete=False) as file:
                json.dump({"identity": self._identity, "parts": self.parts}, file)
            Path(file.name).replace(path)
        except OSError as error:
            raise RecordError(f"{path} cannot be written ({error.strerror}): choose another file") from error
