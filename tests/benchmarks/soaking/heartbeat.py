"""When the machine itself stood still: a process of its own that does nothing but look at the clock.

A virtual machine may be paused, and a laptop closed. What is late then is late by no fault of the runtime.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

__all__ = ["Heartbeat", "overlap_s"]

Span = tuple[float, float]

_WATCH: Final = """
import json, sys, threading, time
asked, spans, last = threading.Event(), [], time.monotonic()
threading.Thread(target=lambda: (sys.stdin.read(), asked.set()), daemon=True).start()
while not asked.wait(0.05):
    now = time.monotonic()
    if now - last > 0.5:
        spans.append((last, now))
    last = now
print(json.dumps(spans))
"""


class Heartbeat:
    """Runs from its making to `stop`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stop(self) -> list[Span]:
        """End it, and return when it was not run for more than half a second, by the monotonic clock."""
        told, _ = self._process.communicate(timeout=60.0)
        return [(begun_s, ended_s) for begun_s, ended_s in json.loads(told)]


def overlap_s(spans: list[Span], begun_s: float, ended_s: float) -> float:
    """How much of a time lies in any of the spans.

    >>> overlap_s([(1.0, 2.0), (5.0, 9.0)], 1.5, 6.0)
    1.5
    """
    return sum(max(0.0, min(last, ended_s) - max(first, begun_s)) for first, last in spans)
