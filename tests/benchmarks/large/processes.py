"""Processes that are measured: one at a time, their progress shown, never left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LIMIT_S", "ProcessError", "answer_of", "memory_mib"]

LIMIT_S: Final = 24 * 3600.0
"""Seconds that a process may take."""

_BAD_INPUT: Final = 2
_KILLED_S: Final = 30.0
_STATUS: Final = Path("/proc/self/status")
_KEYS: Final = {"now": "VmRSS", "peak": "VmHWM"}


class ProcessError(Exception):
    """A process ended without an answer. What it had to say it has written to standard error.

    Attributes:
        code: exit code of the benchmark: 2 when something handed in cannot be used, else 1.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def answer_of(
    command: Sequence[str], *, settings: Mapping[str, str] | None = None, limit_s: float = LIMIT_S
) -> dict[str, Any]:
    """Run a process to its end; return the object in the last line of its standard output.

    It has a session of its own, so that Ctrl-C is ours to handle, and a pipe for standard input in which
    nothing is written and which ends with this process. Any error here kills it, KeyboardInterrupt included.

    Args:
        command: program and arguments.
        settings: environment variables beside our own.
        limit_s: seconds after which it is killed.

    Raises:
        ProcessError: it cannot be started, took too long, failed, or said nothing.
    """
    theirs, ours = os.pipe()
    try:
        with subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **(settings or {})},
        ) as process:
            try:
                out, _ = process.communicate(timeout=limit_s)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait(_KILLED_S)
    except subprocess.TimeoutExpired:
        raise ProcessError(f"{command[1]} was not done within {limit_s:g} s") from None
    except OSError as error:
        raise ProcessError(f"{command[0]} cannot be started ({error.strerror})", _BAD_INPUT) from None
    finally:
        os.close(theirs)
        os.close(ours)
    if code := process.returncode:
        raise ProcessError(f"{Path(command[1]).name} ended with code {code}", 2 if code == _BAD_INPUT else 1)
    try:
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
    except (IndexError, ValueError):
        raise ProcessError(f"{command[1]} printed no JSON object") from None
    return found


def memory_mib() -> dict[str, int] | None:
    """Resident memory of this process now and at its peak; None where the system does not tell.

    From the status of the process: `getrusage` would also count what its parent had before it was started.
    """
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    kib = {name: re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE) for name, key in _KEYS.items()}
    return {name: int(found[1]) // 1024 for name, found in kib.items() if found is not None}
