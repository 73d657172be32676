"""A thread that notices when the event loop is blocked.

A handler that computes for long or makes a blocking call holds the loop, and with it every other actor and
every deadline. Nothing inside the loop can notice. So a thread beside it sends the loop a ping now and then,
and reports, once, when no answer comes: which actor is at work, and at which line. It interrupts nothing.

    Pulse       decides when to ping and when to report; pure
    Watchdog    the thread around it
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import math
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actors.jobs import place_of

if TYPE_CHECKING:
    from actors.host import Host

__all__ = ["BLOCKED_AFTER_S", "Blockage", "Pulse", "Step", "Watchdog", "is_watched"]

LOGGER: Final = logging.getLogger("actors")

BLOCKED_AFTER_S: Final = 1.0
# So many pings are sent within that time: an idle loop is woken twice a second, and no more is noticed.
PINGS: Final = 2
# A loop that is blocked again and again must not fill the memory.
BLOCKAGES_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Blockage:
    """A time in which the event loop did not answer.

    Attributes:
        actor: path of the actor that was at work when this was noticed, or which other code was.
        duration_s: for how long at least.
        stack: where the loop's thread stood then; empty when it was over before anybody could look, as after
            a call that keeps all threads from running.
    """

    actor: str
    duration_s: float
    stack: str


class Step(enum.Enum):
    """What to do now."""

    PING = "ask the loop for a sign of life"
    WAIT = "there is nothing to do"
    REPORT = "it has been blocked for too long, and nobody was told so far"


class Pulse:
    """Decides from the times of pings and answers when a loop counts as blocked. Pure, and not thread-safe.

    Args:
        limit_s: after how many seconds without an answer it is.

    Attributes:
        number: of the last ping.

    Raises:
        ValueError: `limit_s` is not a finite time above 0.
    """

    def __init__(self, limit_s: float) -> None:
        if not 0 < limit_s < math.inf:
            raise ValueError(f"blocked_after_s must be a finite time above 0, or None, got {limit_s}")
        self.limit_s = limit_s
        self.number = 0
        self._sent_s: float | None = None
        self._reported = False

    def look(self, now_s: float) -> Step:
        """Decide what is to be done at this time."""
        if self._sent_s is None:
            self.number += 1
            self._sent_s, self._reported = now_s, False
            return Step.PING
        if self._reported or now_s - self._sent_s < self.limit_s:
            return Step.WAIT
        self._reported = True
        return Step.REPORT

    def answer(self, number: int, now_s: float) -> float | None:
        """Hear an answer to a ping; the seconds it took if that was a blockage, reported or not."""
        if self._sent_s is None or number != self.number:
            return None
        waited_s, self._sent_s = now_s - self._sent_s, None
        return waited_s if waited_s >= self.limit_s else None

    def waited_s(self, now_s: float) -> float:
        """How long the answer to the last ping has been awaited; 0 if none is."""
        return 0.0 if self._sent_s is None else now_s - self._sent_s

    def forget(self) -> None:
        """The loop does not run: what was asked last will not be answered in time, and need not be."""
        self._sent_s = None


def is_watched(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop lives in real time. One in virtual time says so, with an attribute `virtual_time`."""
    return not getattr(loop, "virtual_time", False)


class Watchdog:
    """Watches the event loop of an actor system, from a daemon thread of its own.

    Args:
        host: whose loop and actors these are.
        name: of the thread.
        blocked_after_s: how long the loop may not answer. It is noticed after this time at the earliest, and
            half of it later at the latest.

    Attributes:
        count: blockages that are over.
        latest: the last of them, oldest first.

    Raises:
        ValueError: `blocked_after_s` is not a finite time above 0.
    """

    def __init__(self, host: Host, name: str, blocked_after_s: float) -> None:
        self.count = 0
        self.latest: deque[Blockage] = deque(maxlen=BLOCKAGES_MAX)
        self._host = host
        self._pulse = Pulse(blocked_after_s)
        self._seen = 0, "", "", ""  # by the report on the ping of this number
        self._lock = threading.Lock()  # around `_pulse` and `_seen`, never while logging
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        with contextlib.suppress(RuntimeError):  # no thread to be had: actors work without being watched
            self._thread.start()

    def stop(self) -> None:
        """Watch no more. The thread ends by itself; nobody waits for it."""
        self._stopped.set()

    def silent_s(self) -> float:
        """For how many seconds the loop has owed an answer. In any thread."""
        with self._lock:
            return self._pulse.waited_s(time.monotonic())

    def _watch(self) -> None:
        loop = self._host.loop
        with contextlib.suppress(RuntimeError):  # it was closed in between, without the system's shutdown
            while not self._stopped.wait(self._pulse.limit_s / PINGS) and not loop.is_closed():
                self._look()

    def _look(self) -> None:
        loop = self._host.loop
        with self._lock:
            if not loop.is_running():
                self._pulse.forget()
                return
            step, number = self._pulse.look(time.monotonic()), self._pulse.number
        if step is Step.PING:
            loop.call_soon_threadsafe(self._answer, number)
        elif step is Step.REPORT:
            self._report(number)

    def _report(self, number: int) -> None:
        frame = sys._current_frames().get(self._host.thread_id)  # noqa: SLF001 - the documented way to look at other threads
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        actor = self._at_work()
        place = f"; {place_of(frame)}" if frame is not None else ""
        with self._lock:
            self._seen = number, actor, stack, place
        LOGGER.warning(
            "%s blocks the event loop: no answer for %g s\n%s", actor, self._pulse.limit_s, stack.rstrip()
        )

    def _at_work(self) -> str:
        """Who runs in the loop now; called in the watchdog's thread."""
        task = asyncio.current_task(self._host.loop)
        if task is None:
            return "a callback"
        return self._host.tasks.get(task) or f"task {task.get_name()}"

    def _answer(self, number: int) -> None:
        """Called in the loop, as soon as it can."""
        with self._lock:
            waited_s = self._pulse.answer(number, time.monotonic())
            seen, actor, stack, place = self._seen
        if waited_s is None:
            return
        if seen != number:
            actor, stack, place = "unknown", "", ""
        self.count += 1
        self.latest.append(Blockage(actor, waited_s, stack))
        if self._host.tracer is not None:
            self._host.tracer.emit("blocked", actor, detail=f"no answer for {waited_s:.3f} s{place}")
        LOGGER.warning("the event loop answers again: %s had blocked it for %.3f s", actor, waited_s)
