"""What Ctrl-C does in a conversation: it stops an answer, and at the prompt it is an exception."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

__all__ = ["Interrupts"]


class Interrupts:
    """Takes SIGINT while it is entered.

    Attributes:
        stopped: whether it came since `clear`, outside of `reading`. When it comes once more, whatever is
            under way cannot be stopped in good order, and the process ends with exit code 130.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._reading = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def clear(self) -> None:
        """Forget that it came."""
        self.stopped = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Inside, SIGINT raises KeyboardInterrupt."""
        self._reading = True
        try:
            yield
        finally:
            self._reading = False

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._reading:
            raise KeyboardInterrupt
        if self.stopped:
            os.write(2, b"\n")
            os._exit(128 + number)
        self.stopped = True
