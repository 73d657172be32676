"""A job that does not return, for tests of what others do meanwhile."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.jobs import JobToken

__all__ = ["STUCK_S", "StuckJob", "stuck_threads"]

# A test that forgets to release its job must not hold a thread for ever.
STUCK_S: Final = 30.0

# Of the whole process: they would be waited for in vain, also by the tests that follow.
_stuck: Final[set[threading.Thread]] = set()


def stuck_threads() -> frozenset[threading.Thread]:
    """The threads inside a `StuckJob` that was not released."""
    return frozenset(_stuck)


class StuckJob:
    """A job that does not return before it is released, whatever its token says.

    `await ctx.offload(stuck)` waits until the handler's deadline; in virtual time that is at once. After
    `STUCK_S` seconds of real time it returns by itself.

    Attributes:
        entered: how many threads have come in.
        threads: they, in order.
        left: set once one has left again.
    """

    def __init__(self) -> None:
        self.entered = 0
        self.left = threading.Event()
        self.threads: list[threading.Thread] = []
        self._released = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, _token: JobToken | None = None, result: str = "late") -> str:
        """Block until `release`."""
        with self._lock:
            self.entered += 1
            self.threads.append(threading.current_thread())
            if not self._released.is_set():
                _stuck.add(threading.current_thread())
        self._released.wait(timeout=STUCK_S)
        self.left.set()
        return result

    def release(self) -> None:
        """Let its threads go on; from now on they are at work."""
        with self._lock:
            self._released.set()
            _stuck.difference_update(self.threads)
