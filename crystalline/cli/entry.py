"""The first code that runs, and the last: what a signal does while no command minds it, and the exit."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from crystalline.cli.lazy import APP, load

__all__ = ["INTERRUPTED_EARLY", "main"]

INTERRUPTED_EARLY = "interrupted before training began; nothing was saved"
"""What `crystalline train` says when a signal comes so early that there is nothing to stop in good order."""


def main() -> NoReturn:
    """Run the `crystalline` command on `sys.argv` and exit.

    Exit codes: 0 done; 1 training failed; 2 something the user handed in cannot be used; 130 after Ctrl-C
    (SIGINT), 143 after SIGTERM.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A model may write any character; one that the terminal lacks is no reason to stop.
            stream.reconfigure(errors="replace")
    code: int = load(APP)(sys.argv[1:])
    if code > 128:  # noqa: PLR2004  (a signal, as in every shell)
        # Work that was abandoned may still run in native threads, and these do not survive an orderly end
        # of the interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _leave(number: int, _frame: object) -> NoReturn:
    # Nothing is under way that must be put in order. Not an exception: it would be raised in the middle of
    # whatever library is being imported, and some lose it. Not a stream either: it may be in use right now.
    if sys.argv[1:2] == ["train"]:
        with suppress(OSError):
            os.write(2, f"{INTERRUPTED_EARLY}\n".encode())
    os._exit(128 + number)
