"""Standard output, with a name in its errors."""

from __future__ import annotations

import typer

__all__ = ["put_out"]


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
