"""metrics.jsonl: what every step and every epoch came to, one JSON object a line.

A checkpoint remembers how long the file was. A run that goes on from it cuts the file there, so no step is
missing and none stands there twice, however the run before ended.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["METRICS", "Metrics"]

METRICS: Final = "metrics.jsonl"

LOGGER: Final = logging.getLogger("crystalline")


class Metrics:
    """Lines on their way to a file. While there is no file they are kept in memory.

    A line is in the hands of the operating system when `append` returns; `sync` sees it to the disk. Any
    thread may call any method.

    Args:
        kept: lines that an earlier part of the run has left.

    Attributes:
        size: bytes of all lines so far.
    """

    def __init__(self, kept: bytes = b"") -> None:
        self._kept = bytearray(kept)
        self._handle: int | None = None
        self._lock = threading.Lock()
        self.size = len(kept)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line.

        Raises:
            OSError: the disk is full, or the like; part of the line may be there.
        """
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            if self._handle is None:
                self._kept += line
            else:
                _write(self._handle, line)
            self.size += len(line)

    @contextmanager
    def settle(self, path: Path) -> Iterator[None]:
        """From now on write to a new file, beginning with what was kept; undone when the block raises."""
        with self._lock:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
            try:
                _write(handle, self._kept)
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
        try:
            yield
        except BaseException:
            with self._lock:
                if self._handle == handle:  # or it was closed meanwhile, and the number may be another's
                    self._kept = bytearray(os.pread(handle, self.size, 0))
                    self._handle = None
                    os.close(handle)
            raise

    def sync(self) -> None:
        """Return when all lines so far are on the disk."""
        handle = self._handle
        if handle is not None:
            os.fsync(handle)

    def close(self) -> None:
        """Close the file, if there is one. What is appended now is kept in memory, and lost."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    @classmethod
    def resumed(cls, path: Path, size: int) -> Metrics:
        """Go on with a file, cut to `size` bytes; to whole lines, if it is shorter than that.

        Raises:
            OSError: it cannot be written.
        """
        metrics = cls(_whole_lines(path, size))
        with path.open("r+b") if path.exists() else path.open("w+b") as file:
            file.truncate(metrics.size)
        metrics._handle = os.open(path, os.O_RDWR | os.O_APPEND)
        return metrics

    @classmethod
    def copied(cls, path: Path, size: int) -> Metrics:
        """Begin with the first `size` bytes of another run's file, which stays as it is.

        Raises:
            OSError: it cannot be read.
        """
        return cls(_whole_lines(path, size))


def _whole_lines(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        content = b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < size:
        LOGGER.warning("%s has lost lines that the checkpoint knows of: a part of the curves is gone", path)
    return whole


def _write(handle: int, content: bytes | bytearray) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]
