"""Changes to a folder that happen as a whole or not at all, also when the machine stops in their middle."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["beside", "files", "is_left", "lock", "point", "recover", "remove", "replace", "sweep", "sync"]


_FRESH: Final = re.compile(r"\..+\.new-[0-9a-f]{8}", re.DOTALL)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A fresh folder next to `path`; whatever is still in it at the end is deleted."""
    # Not `tempfile.mkdtemp`, whose folders only their owner can read: these become the model's.
    fresh = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    fresh.mkdir()
    try:
        yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def sweep(folder: Path, name: str | None = None) -> None:
    """Delete what `beside` has left in `folder` when a process was killed, unless somebody has claimed it.

    Args:
        folder: where to look.
        name: only what was made beside this name.
    """
    for left in _left(folder, "*" if name is None else glob.escape(name)):
        handle = lock(left)
        if handle is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)


def is_left(path: Path) -> bool:
    """Whether a path is what `beside` makes."""
    return _FRESH.fullmatch(path.name) is not None and path.is_dir() and not path.is_symlink()


def _left(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(f".{pattern}.new-????????") if is_left(path)]


def recover(path: Path) -> None:
    """Put the folder `path` back if the process was killed between the two moves of `replace`."""
    if os.path.lexists(path):
        return
    for left in _left(path.parent, glob.escape(path.name)):
        if (left / path.name).is_dir():
            (left / path.name).rename(path)
            return


def point(link: Path, target: str) -> None:
    """Make or replace a symbolic link in one step."""
    with beside(link) as fresh:
        (fresh / link.name).symlink_to(target)
        (fresh / link.name).replace(link)


def replace(path: Path, fresh: Path) -> None:
    """Put `fresh` in the place of the folder `path`, or leave that as it was."""
    with beside(path) as aside:
        path.rename(aside / path.name)
        try:
            fresh.rename(path)
        except OSError:
            (aside / path.name).rename(path)
            raise


def remove(folder: Path) -> None:
    """Delete a folder that must never be seen in part."""
    with beside(folder) as aside:
        folder.rename(aside / folder.name)


def lock(folder: Path) -> int | None:
    """Claim a folder until the process ends or the handle is closed; None when somebody else has it.

    The claim is on the folder itself (flock(2)), so it follows a rename and leaves nothing behind.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def files(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted."""
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
