"""`crystalline` on a terminal of its own, typed at and read as by a person."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.helpers.command import CRYSTALLINE, environment

if TYPE_CHECKING:
    from pathlib import Path

_LIMIT_S = 30.0


class Terminal:
    """A process whose standard streams are one terminal.

    Attributes:
        shown: all that it has written, as far as it was waited for.
        process: it.
    """

    def __init__(self, *words: str | Path, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self._waited_to = 0
        self.process = subprocess.Popen(
            [CRYSTALLINE, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # Its own session, so that Ctrl-C on this terminal is a signal to it and to nobody else.
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509  (no thread is running that could hold a lock)
            env=environment() | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"} | variables,
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def type(self, text: str) -> None:
        """Press keys; "\\x03" is Ctrl-C, "\\x04" Ctrl-D, "\\r" Enter."""
        os.write(self._ours, text.encode())

    def press_until(self, keys: str, text: str) -> None:
        """Press keys, and as a person does, again when nothing happens within a second.

        readline overlooks a signal that comes between its prompt, or its echo, and its next look for keys.
        """
        for _ in range(int(_LIMIT_S)):
            self.type(keys)
            with suppress(AssertionError):
                self.wait_for(text, within_s=1.0)
                return
        self.wait_for(text)

    def wait_for(self, text: str, *, within_s: float = _LIMIT_S) -> str:
        """What has been written up to a text, which must come after what was waited for before."""
        limit_s = time.monotonic() + within_s
        while (at := self.shown.find(text, self._waited_to)) < 0:
            ready, _, _ = select.select([self._ours], [], [], max(limit_s - time.monotonic(), 0))
            assert ready, f"waited for {text!r}, got {self.shown[self._waited_to :][-500:]!r}"
            part = self._read()
            assert part, f"it ended before {text!r}: {self.shown[self._waited_to :][-500:]!r}"
            self.shown += part
        before = self.shown[self._waited_to : at]
        self._waited_to = at + len(text)
        return before

    def end(self) -> int:
        """Read to its end; its exit code."""
        while part := self._read():
            self.shown += part
        return self.process.wait(_LIMIT_S)

    def _read(self) -> str:
        try:
            return os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # how a terminal says that its other side is closed
            return ""


def _take_terminal() -> None:
    """Make the terminal the controlling one of the new session: opening it does that."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
