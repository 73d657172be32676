"""Taking a picture from another thread, whether the event loop answers or not.

The loop is asked first. When it does not answer soon, the picture is taken from outside, while whatever holds
the loop may change what is looked at: then it is tried again. And it is said who holds the loop, and where.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from actors.jobs import place_of
from actors.living.picture import picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.host import Host
    from actors.system import ActorSystem

__all__ = ["LOOP_LIMIT_S", "TRIES", "Look", "who_holds"]

LOOP_LIMIT_S: Final = 0.25
# While it is looked at from outside, something may come or go; that is a matter of microseconds.
TRIES: Final = 50


class Look:
    """Takes pictures of one system, from any thread but that of its event loop.

    Args:
        system: entered.
        limit_s: how long the loop may take to answer.
    """

    def __init__(self, system: ActorSystem, limit_s: float = LOOP_LIMIT_S) -> None:
        self._system = system
        self._limit_s = limit_s
        self._silent_since_s: float | None = None  # when the first question was asked that has no answer

    def picture(self) -> dict[str, Any]:
        """The system as it is now.

        Raises:
            RuntimeError: it changes faster than it can be looked at, or it is not open any more.
        """
        asked_s = time.monotonic()
        answered = threading.Event()
        found: list[dict[str, Any]] = []

        def answer() -> None:
            self._silent_since_s = None
            if not answered.is_set():  # else nobody waits any more
                found.append(picture(self._system))
                answered.set()

        host = self._system.host
        host.loop.call_soon_threadsafe(answer)
        if answered.wait(self._limit_s) and found:
            return found[0]
        answered.set()
        if self._silent_since_s is None:
            self._silent_since_s = asked_s
        silent_s = max(time.monotonic() - self._silent_since_s, self._system.silent_s())
        actor, place = who_holds(host)
        taken = from_outside(lambda: picture(self._system))
        taken["loop"] = {"answers": False, "silent_s": round(silent_s, 3), "actor": actor, "place": place}
        return taken


def from_outside(take: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Look at what may change meanwhile, again until it did not.

    Raises:
        RuntimeError: it has changed every time.
    """
    for _ in range(TRIES - 1):
        try:
            return take()
        except (RuntimeError, KeyError, IndexError, AttributeError):  # what comes or goes while it is read
            continue
    return take()


def who_holds(host: Host) -> tuple[str, str]:
    """Which actor runs in the loop now, and at which line, as in `at demo.py:80 in compute`."""
    frame = sys._current_frames().get(host.thread_id)  # noqa: SLF001 - the documented way to look at other threads
    task = asyncio.current_task(host.loop)
    actor = "a callback" if task is None else host.tasks.get(task) or f"task {task.get_name()}"
    return actor, place_of(frame) if frame is not None else ""
