"""Whether somebody writes to a file now: whoever does holds a lock on it, which ends with the process."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, BinaryIO

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["claim", "is_claimed"]


def claim(file: BinaryIO) -> None:
    """Say that this process writes to it, as long as it is open. Where there are no locks nothing is said."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_claimed(path: Path) -> bool:
    """Whether somebody on this machine writes to a file now; no when that cannot be known."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False
