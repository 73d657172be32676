"""Virtual time under the names that the tests use; and a wait for real threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from actors.simulation import Deadlock
from actors.testing import StuckJob as Stuck
from actors.testing import run_virtual, settle
from actors.testing import virtual_time as virtual

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadlock", "Stuck", "run_virtual", "settle", "virtual", "wait_for_threads"]

POLL_S = 0.001


def wait_for_threads(condition: Callable[[], bool]) -> None:
    """Return when threads have brought about what they are about to, in real time; at most 10 s."""
    until_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until_s, "the threads did not do it"
        threading.Event().wait(POLL_S)
