"""Measured processes: started one at a time, never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LIMIT_S", "ChildError", "answer_of"]

LIMIT_S: Final = 1800.0
"""Seconds that a process may take; torch.compile alone takes minutes on a slow machine."""

_BAD_INPUT: Final = 2
_LAST_LINES: Final = 12


class ChildError(Exception):
    """A measured process did not answer.

    Attributes:
        code: exit code for the benchmark: 2 when something handed in cannot be used or is not there, else 1.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def answer_of(
    command: Sequence[str],
    *,
    settings: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
    shows: bool = False,
) -> dict[str, Any]:
    """Run a process to its end; return the object in the last line of its standard output.

    It has a session of its own, so that Ctrl-C is ours to handle, and a pipe for standard input that ends
    with this process: `lifeline.end_with_parent` listens to it. Any error here ends it, KeyboardInterrupt
    included.

    Args:
        command: program and arguments.
        settings: environment variables beside our own.
        limit_s: seconds after which it is killed.
        shows: let its standard error through, with its progress; otherwise an error quotes the end of it.

    Raises:
        ChildError: it cannot be started, took too long, failed, or said nothing.
    """
    theirs, ours = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=None if shows else subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(settings or {})},
        )
        try:
            out, err = process.communicate(timeout=limit_s)
        finally:
            _end(process)
    except subprocess.TimeoutExpired:
        raise ChildError(f"{command[1]} was not done within {limit_s:g} s") from None
    except OSError as error:
        raise ChildError(f"{command[0]} cannot be started ({error.strerror})", _BAD_INPUT) from None
    finally:
        os.close(theirs)
        os.close(ours)
    return _parsed(command, process.returncode, out, err or "")


def _end(process: subprocess.Popen[str]) -> None:
    """Kill its whole group if it is still there; then the group's number is still its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _parsed(command: Sequence[str], code: int, out: str, err: str) -> dict[str, Any]:
    last = err.splitlines()[-_LAST_LINES:]
    if code == _BAD_INPUT and last:
        raise ChildError(last[-1].removeprefix("error: "), _BAD_INPUT)
    if code:
        raise ChildError(
            "\n  ".join([f"{command[1]} ended with code {code}", *last]), 2 if code == _BAD_INPUT else 1
        )
    try:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        raise ChildError(f"{command[1]} printed no JSON object") from None
    return found
