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
        self._at_work = False
        for rank, work in enumerate(self._work, start=1):
            thread = threading.Thread(
                target=_serve, args=(rank, work, self._ended), name=f"crystalline-crew-{rank}", daemon=True
            )
            thread.start()

    def run(self, part: Callable[[int], None]) -> None:
        """Return when every thread has done its part.

        A part must end when others fail: what they wait for must fail, too.

        Raises:
            BaseException: what the caller's part raised, or else another thread's; a `BrokenBarrierError`, by
                which a thread only says that another one has failed, if there is nothing else.
            RuntimeError: Ctrl-C came while an earlier piece of work was handed out or waited for: some of its
                threads may still be at it.
        """
        if self._at_work:
            raise RuntimeError("the work before this was interrupted and may go on: make another engine")
        self._at_work = True
        for work in self._work:
            work.put(part)
        errors: list[BaseException | None] = []
        try:
            part(0)
        except BaseException as error:  # noqa: BLE001  (raised below, when all have ended)
            errors.append(error)
        errors += [self._ended.get() for _ in self._work]
        self._at_work = False
        _raise_first(errors)

    def close(self) -> None:
        """End the threads after the work they have; a second call does nothing."""
        for work in self._work:
            work.put(None)
        self._work = []


def _raise_first(errors: list[BaseException | None]) -> None:
    raised = [error for error in errors if error is not None]
    raised.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
    if raised:
        try:
            raise raised[0]
        finally:
            errors.clear()  # an error holds the frames that it went through, and they held it
            raised.clear()


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
