"""Threads that do one piece of work together, each its part, and the caller among them."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Crew"]


class Crew:
    """Calls `part(rank)` in every thread at once: rank 0 is the caller, the others are daemons.

    Args:
        threads: how many, with the caller; at least 1.

    Attributes:
        threads: as given.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._work: list[SimpleQueue[Callable[[int], None] | None]] = [
            SimpleQueue() for _ in range(threads - 1)
        ]
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        for rank, work in enumerate(self._work, start=1):
            thread = threading.Thread(
                target=_serve, args=(rank, work, self._ended), name=f"crystalline-crew-{rank}", daemon=True
            )
            thread.start()

    def run(self, part: Callable[[int], None]) -> None:
        """Return when every thread has done its part.

        A part must end when others fail: what they wait for must fail, too.

        Raises:
            BaseException: what the caller's part raised, or else another thread's.
        """
        for work in self._work:
            work.put(part)
        error: BaseException | None = None
        try:
            part(0)
        finally:
            for _ in self._work:
                error = self._ended.get() or error
        if error is not None:
            raise error

    def close(self) -> None:
        """End the threads after the work they have; a second call does nothing."""
        for work in self._work:
            work.put(None)
        self._work = []


def _serve(
    rank: int, work: SimpleQueue[Callable[[int], None] | None], ended: SimpleQueue[BaseException | None]
) -> None:
    while (part := work.get()) is not None:
        try:
            part(rank)
        except BaseException as error:  # noqa: BLE001  (raised again by whoever runs the crew)
            ended.put(error)
        else:
            ended.put(None)
        del part  # what it holds must not wait for the next one
