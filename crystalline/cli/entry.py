"""The first code that runs, and the last: what a signal does while no command minds it, and the exit."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn

from crystalline.cli.lazy import APP, load

__all__ = ["EXIT_INTERRUPTED", "main"]

EXIT_INTERRUPTED = 128 + signal.SIGINT
"""130, what a shell reports for a program that Ctrl-C ended."""


def main() -> NoReturn:
    """Run the `crystalline` command on `sys.argv` and exit.

    Exit codes: 0 done; 1 training failed; 2 something the user handed in cannot be used; 130 after Ctrl-C
    (SIGINT), 143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A model may write any character; one that the terminal lacks is no reason to stop.
            stream.reconfigure(errors="replace")
    try:
        code = load(APP)(sys.argv[1:])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code > 128:  # noqa: PLR2004  (a signal, as in every shell)
        _leave_at_once(code)
    sys.exit(code)


def _terminate(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _leave_at_once(code: int) -> NoReturn:
    # Work that was abandoned may still run in native threads, and these do not survive an orderly end of
    # the interpreter.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
