"""Tables that remember what was in them, put in the place of a host's own: the oracles read them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from actors.delivery import Ask
    from actors.waits import Wait

__all__ = ["AskLedger", "Ledger"]

K = TypeVar("K")
V = TypeVar("V")


class Ledger(dict[K, V]):
    """A dict that remembers every value it ever held, in `ever`."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: list[V] = []

    def __setitem__(self, key: K, value: V) -> None:
        self.ever.append(value)
        super().__setitem__(key, value)


class AskLedger(dict[int, "Ask"]):
    """The open asks, with how each ended: `ended` holds the outcomes of each, which must be one.

    Attributes:
        begun: how often an ask was entered under each number.
        ended: number -> how it ended, each time it was taken out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: Counter[int] = Counter()
        self.ended: dict[int, list[str]] = {}

    def __setitem__(self, key: int, ask: Ask) -> None:
        self.begun[key] += 1
        super().__setitem__(key, ask)

    def __delitem__(self, key: int) -> None:
        self.ended.setdefault(key, []).append(outcome(self[key]))
        super().__delitem__(key)


def outcome(wait: Wait) -> str:
    """How a wait ended: `answered`, `given up`, or the name of an error."""
    if not wait.future.done() or wait.future.cancelled():
        return "given up"
    error = wait.future.exception()
    return "answered" if error is None else type(error).__name__
