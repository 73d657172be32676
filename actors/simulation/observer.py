"""Tables that remember what was in them, put in the place of a host's own: the oracles read them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from actors.delivery import Ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.cell import Cell
    from actors.waits import Wait

__all__ = ["AskLedger", "CellLedger"]


class CellLedger(dict[str, "Cell"]):
    """The living actors, and all there ever were.

    Attributes:
        ever: each that was entered, with the capacity that its mailbox had then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[tuple[Cell, int]] = []

    def __setitem__(self, key: str, cell: Cell) -> None:
        self.ever.append((cell, cell.mailbox.capacity))
        super().__setitem__(key, cell)


class AskLedger(dict[int, "Wait"]):
    """The open waits; and how each ask among them ended: `ended` holds its outcomes, which must be one.

    Args:
        clock: returns seconds.

    Attributes:
        begun: how often an ask was entered under each number.
        ended: number -> how it ended, each time it was taken out.
        ended_s: number -> when it was taken out last.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.ended_s: dict[int, float] = {}
        self.begun: Counter[int] = Counter()
        self.ended: dict[int, list[str]] = {}

    def __setitem__(self, key: int, wait: Wait) -> None:
        if isinstance(wait, Ask):
            self.begun[key] += 1
        super().__setitem__(key, wait)

    def pop(self, key: int, default: Any = None) -> Any:
        """Take a wait out, and note how it ended."""
        wait = self.get(key)
        if isinstance(wait, Ask):
            self.ended.setdefault(key, []).append(outcome(wait))
            self.ended_s[key] = self._clock()
        return super().pop(key, default)


def outcome(wait: Wait) -> str:
    """How a wait ended: `answered`, `given up`, or the name of an error."""
    if not wait.future.done() or wait.future.cancelled():
        return "given up"
    error = wait.future.exception()
    return "answered" if error is None else type(error).__name__
