"""A command that takes a while: a bar on standard error, and a clean end when a signal comes."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INTERRUPTED", "Bar", "bar", "ending_cleanly"]

INTERRUPTED: Final = "interrupted; nothing was written"

_CLEAN_LINE: Final = "\r\x1b[2K\x1b[?25h"  # erased, and the cursor shown, which the display has hidden
_LINE_EVERY_S: Final = 5.0
_BAR_WIDTH: Final = 20
_OTHERS_WIDTH: Final = 52  # bar, percentage, a speed, the time left


class Bar(Protocol):
    """Shows how far a command is."""

    def __call__(self, part: float | None, detail: str = "") -> None:
        """Hear how far it is.

        Args:
            part: of the work that is done; None where nobody knows.
            detail: what is to be said besides, such as a speed.
        """


@contextmanager
def bar(text: str) -> Iterator[Bar]:
    """Show how far something is: a bar on a terminal, elsewhere a line every few seconds.

    Args:
        text: what is being done.
    """
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _Lines(console, text)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(_BAR_WIDTH),
        TaskProgressColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        room = max(console.width - _OTHERS_WIDTH, 10)
        shown = text if len(text) <= room else f"{text[: room - 1]}…"  # else there is no room for the numbers
        task = progress.add_task(shown, total=None, detail="")

        def show(part: float | None, detail: str = "") -> None:
            progress.update(task, total=None if part is None else 1.0, completed=part or 0.0, detail=detail)

        yield show


class _Lines:
    def __init__(self, console: Console, text: str) -> None:
        self._console, self._text = console, text
        self._next_line_s = monotonic() + _LINE_EVERY_S

    def __call__(self, part: float | None, detail: str = "") -> None:
        if monotonic() < self._next_line_s:
            return
        self._next_line_s = monotonic() + _LINE_EVERY_S
        done = "" if part is None else f"{part:.0%}"
        words = "  ".join(word for word in (self._text, done, detail) if word)
        self._console.print(words, markup=False, soft_wrap=True)


@contextmanager
def ending_cleanly(text: str = INTERRUPTED) -> Iterator[None]:
    """Let a signal end the process at once: nothing may be under way that must be put in order.

    Args:
        text: what is said then, on standard error.
    """

    def leave(number: int, _frame: object) -> NoReturn:
        clean = _CLEAN_LINE if os.isatty(2) else ""
        os.write(2, f"{clean}{text}\n".encode())
        os._exit(128 + number)

    before = {each: signal.signal(each, leave) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
