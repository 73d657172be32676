"""Standard output and files: errors with a name, nothing half-written."""

from __future__ import annotations

import os
import sys
import tempfile
import unicodedata
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from crystalline.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["harmless", "new_file", "put_out", "put_out_of_model", "replacing", "write_whole"]

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
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Make a file so that readers see the old one or the new one, never a part of it.

    Returns:
        An empty file beside it, to write to. It takes the name when the block ends well, and is removed when
        it is left by an error.

    Raises:
        OutputError: it cannot be written. What was there is still there.
    """
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        part = Path(name)
        try:
            yield part
            _take_place(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        if part is not None and error.filename not in {None, str(part)}:
            raise  # it is about something else, such as what is read
        raise OutputError(f"{path} cannot be written ({error.strerror}): name another file") from error


def _take_place(part: Path, path: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    # Temporary files are for their owner alone; this one is like any other that a command makes.
    mask = os.umask(0)
    os.umask(mask)
    part.chmod(0o666 & ~mask)
    part.replace(path)
