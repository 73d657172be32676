"""Every wait is a record (law 2), and one heap of deadlines ends it (law 5).

A `Wait` names who waits, for whom, why, since when, until when, and what will end it. It cannot be built
without a finite deadline and a witness. The open waits of all actors form the wait-for graph.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors.errors import EndlessWait, Expired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors.jobs import TimedJob
    from actors.tracing import Tracer

__all__ = ["OUTSIDE", "Deadlines", "Origin", "Timed", "Wait", "WaitTable", "Witness", "clock_of", "find_path"]

COMPACT_AT: Final = 64


class Witness(enum.Enum):
    """What is certain to end a wait, besides its deadline."""

    MONITOR = "the end of the target is monitored"
    JOB_SLOT = "the job reports from its thread"
    RECEIVER = "the receiver makes room or ends"
    TIMER = "only the timer: the target is foreign to the runtime"


def clock_of(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """Return what tells the time of a loop, without the method around it where that adds nothing."""
    return time.monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time


class Timed(Protocol):
    """Something with a deadline."""

    @property
    def open(self) -> bool:
        """False once it no longer matters."""

    def on_deadline(self) -> None:
        """Called once when the deadline has come and `open` is still true."""


class Deadlines:
    """One timer and one heap for all deadlines of a system.

    Most waits end long before their time, so they get into the heap only if they are still there when the
    timer fires; until then they are only listed, which costs nothing to undo. The timer is set to the
    earliest deadline that it heard of, so it may fire for one that is closed already; it never fires late.

    Attributes:
        ids: of waits, and of everything else that is numbered in a system.
        waits: all open waits by number, the oldest first.
        armed_s: when the timer fires, infinity when it is not set.
        explain: makes the notes of the error in which a wait ends whose time is over; never raises.
    """

    __slots__ = ("_heap", "_limit", "_loop", "_taken_in", "_timer", "armed_s", "explain", "ids", "waits")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timed]] = []
        self._limit = COMPACT_AT
        self.ids = itertools.count(1)  # equal deadlines fire in the order in which they were set
        self._timer: asyncio.TimerHandle | None = None
        self.waits: dict[int, Wait] = {}
        self._taken_in = 0  # the waits up to this number are in the heap
        self.armed_s = math.inf
        self.explain: Callable[[Wait], list[str]] | None = None

    def __len__(self) -> int:
        """Deadlines that may still fire."""
        young = [wait for wait in self.waits.values() if wait.wait_id > self._taken_in]
        return sum(timed.open for timed in (*young, *(entry[2] for entry in self._heap)))

    def add(self, when_s: float, timed: Timed) -> None:
        """Call `timed.on_deadline()` when the loop's clock reaches `when_s`, if it is still open then."""
        heapq.heappush(self._heap, (when_s, next(self.ids), timed))
        if when_s < self.armed_s:
            self.arm(when_s)

    def close(self) -> None:
        """Drop all deadlines and the timer."""
        self._heap.clear()
        self._taken_in = next(self.ids)
        self.arm(math.inf)

    def arm(self, when_s: float) -> None:
        """Set the timer, to come no later than `when_s`."""
        if self._timer is not None:
            self._timer.cancel()
        self.armed_s = when_s
        self._timer = None if when_s == math.inf else self._loop.call_at(when_s, self._sweep)

    def _sweep(self) -> None:
        self._take_in_young()
        due: list[Timed] = []
        now_s = self._loop.time()
        while self._heap and (self._heap[0][0] <= now_s or not self._heap[0][2].open):
            due.append(heapq.heappop(self._heap)[2])
        self.arm(self._heap[0][0] if self._heap else math.inf)
        for timed in due:  # after arming: what these set themselves must find the timer in order
            if timed.open:
                self._fire(timed)

    def _take_in_young(self) -> None:
        """Move the waits that have lasted until now into the heap; it stays within twice the open ones."""
        for wait_id in reversed(self.waits):
            if wait_id <= self._taken_in:
                break
            wait = self.waits[wait_id]
            heapq.heappush(self._heap, (wait.deadline_s, wait_id, wait))
        self._taken_in = next(self.ids)
        if len(self._heap) > self._limit:
            self._heap = [entry for entry in self._heap if entry[2].open]
            heapq.heapify(self._heap)
            self._limit = 2 * len(self._heap) + COMPACT_AT

    def expire(self, wait: Wait) -> None:
        """End a wait whose time is over; its error says who waited for whom just then."""
        if wait.future.done() or self.explain is None:
            wait.on_deadline()
            return
        notes = self.explain(wait)  # before anything is cancelled
        wait.on_deadline()
        if (error := wait.future.exception()) is not None:
            for note in notes:
                error.add_note(note)

    def _fire(self, timed: Timed) -> None:
        try:
            if isinstance(timed, Wait):
                self.expire(timed)
            else:
                timed.on_deadline()
        except Exception as error:  # noqa: BLE001 - one that fails must not take the others' deadlines along
            self._loop.call_exception_handler({"message": "a deadline failed", "exception": error})


class Origin:
    """On whose behalf something is sent or waited for.

    Attributes:
        name: path of the actor, or a name for code outside the tree.
        incarnation: of that actor, 0 outside.
        cause_id: the message that it is handling, 0 for none.
    """

    __slots__ = ("cause_id", "incarnation", "name")

    def __init__(self, name: str, incarnation: int = 0, cause_id: int = 0) -> None:
        self.name = name
        self.incarnation = incarnation
        self.cause_id = cause_id

    @property
    def state(self) -> str:
        """Where the lifecycle of that actor stands, for the trace; empty if that is not known here."""
        return ""


OUTSIDE: Final = Origin("outside")


class Wait:
    """Somebody waits for something, not longer than until `deadline_s`.

    Attributes:
        wait_id: its number; older waits have smaller ones.
        origin: who waits, in which life, and while handling which message.
        target: path of the actor, or name of the job or foreign thing, that is waited for.
        reason: what for, in words.
        since_s: when it began, on the loop's clock.
        deadline_s: when it ends at the latest.
        witness: what will end it.
        future: completes when it has ended.

    Raises:
        EndlessWait: the deadline is not finite, or there is no witness: such a wait could last for ever.
    """

    __slots__ = ("deadline_s", "future", "origin", "reason", "since_s", "target", "wait_id", "witness")

    def __init__(
        self,
        wait_id: int,
        origin: Origin,
        target: str,
        reason: str,
        since_s: float,
        deadline_s: float,
        witness: Witness,
        future: asyncio.Future[Any],
    ) -> None:
        if not -math.inf < deadline_s < math.inf:
            raise EndlessWait(f"{origin.name} cannot wait for {target} without end: deadline {deadline_s}")
        if not isinstance(witness, Witness):
            raise EndlessWait(f"{origin.name} cannot wait for {target}: nothing is known to end it")
        self.wait_id = wait_id
        self.origin = origin
        self.target = target
        self.reason = reason
        self.since_s = since_s
        self.deadline_s = deadline_s
        self.witness = witness
        self.future = future

    @property
    def waiter(self) -> str:
        """Path of the actor that waits, or a name for code outside the tree."""
        return self.origin.name

    @property
    def open(self) -> bool:
        """Whether it still lasts."""
        return not self.future.done()

    @property
    def answered(self) -> bool:
        """Whether it has ended by the answer to an ask."""
        return False

    def on_deadline(self) -> None:
        """End it in `Expired`."""
        # Not since when: a time on the loop's clock says little to whoever reads the error.
        given = f"{self.deadline_s - self.since_s:.3g} s"
        self.fail(Expired(f"{self.waiter} waited for {self.target} ({self.reason}) and was given {given}"))

    def succeed(self, value: Any) -> bool:
        """End it with a value; False when it had ended before."""
        if self.future.done():
            return False
        self.future.set_result(value)
        return True

    def fail(self, error: BaseException) -> bool:
        """End it with an error; False when it had ended before."""
        if self.future.done():
            return False
        if isinstance(error, StopIteration):  # which a future cannot hold
            error = RuntimeError(f"StopIteration was raised: {error}")
        self.future.set_exception(error)
        # The waiter may have been cancelled in the meantime and never look.
        self.future.exception()
        return True

    def __str__(self) -> str:
        """Who waits for whom, why, and since when."""
        return f"{self.waiter} waited for {self.target} ({self.reason}) since {self.since_s:.3f}"


class WaitTable:
    """All open waits of a system.

    Attributes:
        ids: as of `Deadlines`.
        jobs: what is known of the jobs that are waited for, by the number of the wait.
    """

    __slots__ = ("_by_waiter", "_clock", "_deadlines", "_loop", "_tracer", "ids", "jobs")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, tracer: Tracer | None = None
    ) -> None:
        self._loop = loop
        self._clock = clock_of(loop)
        self._deadlines = deadlines
        self._tracer = tracer
        self.ids = deadlines.ids
        self.jobs: dict[int, TimedJob[Any]] = {}
        self._by_waiter: dict[str, dict[int, Wait]] = {}

    def __iter__(self) -> Iterator[Wait]:
        """Open waits, oldest first."""
        return iter(list(self._deadlines.waits.values()))

    def open(self, origin: Origin, target: str, reason: str, deadline_s: float, witness: Witness) -> Wait:
        """Begin a wait; its deadline is armed. The caller must `close` it.

        Raises:
            EndlessWait: as `Wait`.
        """
        future, now_s = self._loop.create_future(), self._clock()
        wait = Wait(next(self.ids), origin, target, reason, now_s, deadline_s, witness, future)
        self.add(wait)
        self.trace(wait)
        return wait

    def trace(self, wait: Wait) -> None:
        """Record that a wait has begun."""
        if self._tracer is not None:
            origin = wait.origin
            self._tracer.emit(
                "wait",
                origin.name,
                origin.incarnation,
                0,
                origin.cause_id,
                wait.target,
                wait.reason,
                state=origin.state,
                wait_id=wait.wait_id,
                limit_s=wait.deadline_s - wait.since_s,
            )

    def add(self, wait: Wait) -> None:
        """Enter a wait, untraced, and arm its deadline. The caller must `close` it."""
        deadlines, origin = self._deadlines, wait.origin
        deadlines.waits[wait.wait_id] = wait
        if origin.incarnation:
            try:
                self._by_waiter[origin.name][wait.wait_id] = wait
            except KeyError:
                self._by_waiter[origin.name] = {wait.wait_id: wait}
        if wait.deadline_s < deadlines.armed_s:
            deadlines.arm(wait.deadline_s)

    def close(self, wait: Wait) -> None:
        """Forget a wait, however it ended."""
        if self._deadlines.waits.pop(wait.wait_id, None) is None:
            return
        origin = wait.origin
        if origin.incarnation:
            del self._by_waiter[origin.name][wait.wait_id]
        if self._tracer is not None and not wait.answered:  # of an answer, the trace has it already
            self._tracer.emit(
                "wait_end",
                origin.name,
                origin.incarnation,
                0,
                origin.cause_id,
                wait.target,
                _outcome(wait),
                state=origin.state,
                wait_id=wait.wait_id,
            )
        if not wait.future.done():
            wait.future.cancel()

    def expire(self, wait: Wait) -> None:
        """End a wait whose time is over."""
        self._deadlines.expire(wait)

    def numbered(self, wait_id: int) -> Wait | None:
        """The open wait of this number."""
        return self._deadlines.waits.get(wait_id)

    def forget(self, waiter: str) -> None:
        """Hear that an actor will have no waits any more."""
        if not self._by_waiter.get(waiter, True):
            del self._by_waiter[waiter]

    def idle(self, waiter: str) -> bool:
        """Whether an actor waits for nobody."""
        return not self._by_waiter.get(waiter)

    def of(self, waiter: str) -> list[Wait]:
        """The open waits of one actor, oldest first."""
        return list(self._by_waiter.get(waiter, {}).values())

    def path(self, start: str, goal: str) -> list[Wait] | None:
        """The chain of waits that leads from `start` to `goal`, None when there is none."""
        return find_path(start, goal, self)

    def chain(self, waiter: str) -> list[Wait]:
        """Follow the oldest open wait from `waiter` to whoever waits for nobody: the answer to "why"."""
        chain: list[Wait] = []
        while (waits := self.of(waiter)) and waits[0] not in chain:
            chain.append(waits[0])
            waiter = waits[0].target
        return chain


def _outcome(wait: Wait) -> str:
    future = wait.future
    if not future.done() or future.cancelled():
        return "given up"
    error = future.exception()
    return "answered" if error is None else type(error).__name__


def find_path(start: str, goal: str, waits: WaitTable | Iterable[Wait]) -> list[Wait] | None:
    """Return a chain of waits from `start` to `goal` in the wait-for graph, None when there is none."""
    edges: dict[str, list[Wait]] = {}
    if not isinstance(waits, WaitTable):
        for wait in waits:
            edges.setdefault(wait.waiter, []).append(wait)
    stack: list[tuple[str, list[Wait]]] = [(start, [])]
    seen = {start}
    while stack:
        at, taken = stack.pop()
        if at == goal:
            return taken
        for wait in waits.of(at) if isinstance(waits, WaitTable) else edges.get(at, ()):
            if wait.target not in seen:
                seen.add(wait.target)
                stack.append((wait.target, [*taken, wait]))
    return None
