"""Standard output and files: errors with a name, nothing half-written."""

from __future__ import annotations

import os
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Final

import typer

from crystalline.errors import OutputError

__all__ = ["harmless", "new_file", "put_out", "put_out_of_model", "write_whole"]

_TURNS: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they change the direction


def put_out(text: str, *, end: str = "\n") -> None:
    """Write to standard output at once.

    Raises:
        OSError: it cannot be written; the file's name is "standard output".
    """
    try:
        typer.echo(text + end, nl=False)
    except OSError as error:
        error.filename = "standard output"  # the system knows only a number
        raise


def put_out_of_model(text: str) -> None:
    """Write what a model says, without the end of a line; on a terminal without commands for it.

    Raises:
        OSError: as `put_out`.
    """
    put_out(harmless(text) if sys.stdout.isatty() else text, end="")


def harmless(text: str) -> str:
    """Text that cannot move the cursor, change colours or turn lines around, whatever a model has said."""
    return "".join("?" if _is_command(each) else each for each in text)


def _is_command(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) == "Cc" or unicodedata.bidirectional(character) in _TURNS


def new_file(path: Path, *, force: bool) -> Path:
    """The path of a file that is to be written, checked before there is work to lose.

    Args:
        path: where.
        force: whether a file that is there may be replaced.

    Raises:
        OutputError: it is there, it is no file, or its folder is not.
    """
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is not a file: name another one")
    if path.exists() and not force:
        raise OutputError(f"{path} exists: name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise OutputError(f"there is no folder {path.parent}: make it, or name another one")
    return path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that readers see the old one or the new one, never a part of it.

    Raises:
        OutputError: it cannot be written. What was there is still there.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # Temporary files are for their owner alone; this one is like any other that a command makes.
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): name another file") from error
