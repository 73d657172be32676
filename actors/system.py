"""The actor system: the top of the tree, and the door for code outside it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

import anyio

from actors import ending, starting
from actors.cell import Cell
from actors.context import ASK_TIMEOUT_S, HANDLER_TIMEOUT_S
from actors.delivery import Delivery
from actors.errors import EndlessWait, InsideTree, SpawnOutsideParent, SystemClosed
from actors.exits import leave_behind, stacks_of
from actors.host import INSIDE, UNWIND_TURNS, Host
from actors.jobs import DaemonExecutor
from actors.mailbox import BYTES_MAX, CAPACITY, Mailbox, Overflow
from actors.notes import of_refusal, with_notes
from actors.receiver import Receiver
from actors.tracing import open_tracer
from actors.waits import OUTSIDE, Deadlines, Wait, WaitTable, Witness, clock_of
from actors.watchdog import BLOCKED_AFTER_S, Blockage, Watchdog, is_watched

if TYPE_CHECKING:
    from types import TracebackType

    from actors.actor import Actor
    from actors.jobs import JobExecutor
    from actors.lifecycle import Lifecycle
    from actors.messages import ActorRef, Request
    from actors.supervision import Supervision
    from actors.tracing import TraceLike, Tracer

__all__ = ["SHUTDOWN_S", "ActorSystem", "ShutdownReport", "TreeNode"]

LOGGER: Final = logging.getLogger("actors")

SHUTDOWN_S = 10.0
# How long a shutdown waits for jobs that have been told that nobody waits for them any more.
JOB_GRACE_S = 0.5
# So many survivors a report shows when it is printed.
SHOWN_MAX: Final = 20

A = TypeVar("A", bound="Actor")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ShutdownReport:
    """How a shutdown went.

    Attributes:
        duration_s: how long it took.
        survivors: what could not be ended, by name, with the stack it was seen at: tasks of handlers that
            swallow their cancellation, and threads of jobs.
        dead_letters: messages nobody handled, by reason, over the life of the system.
        blockages: the latest times in which the event loop was blocked, 16 at most.
    """

    duration_s: float
    survivors: dict[str, str]
    dead_letters: dict[str, int]
    blockages: tuple[Blockage, ...] = ()

    def __str__(self) -> str:
        """Who survived, each with the stack, up to a number that can still be read."""
        shown = list(self.survivors.items())[:SHOWN_MAX]
        stacks = "".join(f"\n{name}:\n{stack.rstrip()}" for name, stack in shown)
        more = len(self.survivors) - len(shown)
        rest = f"\nand {more} more" if more else ""
        return f"shut down after {self.duration_s:.3f} s, left behind: {len(self.survivors)}{stacks}{rest}"


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One actor in a picture of the tree.

    Attributes:
        path: its address.
        actor: name of its class.
        incarnation: which life of it.
        phase: starting, live, restarting or stopping.
        state: the lifecycle, as in `running(3)`.
        queued: messages in its mailbox.
        children: in order of their start.
    """

    path: str
    actor: str
    incarnation: int
    phase: str
    state: str
    queued: int
    children: tuple[TreeNode, ...]


class ActorSystem:
    """A tree of actors in the running event loop: `async with ActorSystem("demo") as system: ...`.

    Args:
        name: for people, in traces and thread names.
        trace: None for no trace, a path for a trace file (with the ring in memory), True for the ring alone,
            `TraceOptions` for what to keep and where, a `Tracer` to be used.
        job_threads: how many offloaded jobs run at a time; default: the number of cores.
        shutdown_s: how long the end of the `async with` may take.
        executor: what runs the jobs instead of threads of its own; it is shut down with the system.
        blocked_after_s: after how many seconds without a sign of life the event loop counts as blocked, which
            a thread notices, logs and counts; None for no such thread. There is none in virtual time.

    Raises:
        OSError: the trace file cannot be written (on entering).
        ValueError: `blocked_after_s` is not a finite time above 0 (on entering).

    Leaving the block shuts the system down within `shutdown_s`, also when it is left by an exception or by
    cancellation, as a first Ctrl-C under `asyncio.run` leaves it. Cancelling it once more meanwhile, as a
    second Ctrl-C does, jumps to the last phase. What could not be ended is logged then.

    The tasks of actors are not in `asyncio.all_tasks()`: nobody else is to cancel them or to wait for them.
    The system handles no signals.
    """

    def __init__(
        self,
        name: str = "actors",
        *,
        trace: TraceLike = None,
        job_threads: int | None = None,
        shutdown_s: float = SHUTDOWN_S,
        executor: JobExecutor | None = None,
        blocked_after_s: float | None = BLOCKED_AFTER_S,
    ) -> None:
        self.name = name
        self._trace = trace
        self._job_threads = job_threads or os.cpu_count() or 1
        self._shutdown_s = shutdown_s
        self._executor = executor
        self._host: Host | None = None
        self._report: ShutdownReport | None = None
        self._reported = False
        self._blocked_after_s = blocked_after_s
        self._watchdog: Watchdog | None = None
        self._closing_since_s: float | None = None
        self._receivers = 0

    async def __aenter__(self) -> Self:
        if self._host is not None:
            raise SystemClosed(f"actor system {self.name!r} was opened before: make a new one")
        loop = asyncio.get_running_loop()
        tracer = open_tracer(clock_of(loop), trace=self._trace, real=is_watched(loop))
        deadlines = Deadlines(loop)
        delivery = Delivery(loop, WaitTable(loop, deadlines, tracer), tracer)
        executor = self._executor or DaemonExecutor(self._job_threads, name=f"{self.name}-job")
        self._host = Host(delivery, deadlines, executor)
        if self._blocked_after_s is not None and is_watched(loop):
            self._watchdog = Watchdog(self._host, f"{self.name}-watchdog", self._blocked_after_s)
            self._watchdog.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with anyio.CancelScope(shield=True):  # bounded: shutdown has a budget
                await self._shut_down(self._shutdown_s)
        except OSError as unwritten:
            if error is None:
                raise
            error.add_note(f"the trace could not be written: {unwritten}")
        finally:
            if self._report is not None and self._report.survivors and not self._reported:
                LOGGER.warning("actor system %r: %s", self.name, self._report)

    # What code outside the tree may do

    async def spawn(
        self,
        actor: type[A],
        *args: Any,
        name: str | None = None,
        supervision: Supervision | None = None,
        capacity: int = CAPACITY,
        overflow: Overflow = Overflow.WAIT,
        bytes_max: int = BYTES_MAX,
        handler_timeout_s: float = HANDLER_TIMEOUT_S,
        **kwargs: Any,
    ) -> ActorRef[A]:
        """Start a topmost actor; see `Context.spawn`.

        Raises:
            SystemClosed: the system is not open.
            SpawnOutsideParent: called from inside a handler, which has `ctx.spawn`.
        """
        host = self._open()
        self._check_outside(SpawnOutsideParent)
        spec, mailbox = starting.prepare(
            actor,
            args,
            kwargs,
            name=name,
            supervision=supervision,
            capacity=capacity,
            overflow=overflow,
            bytes_max=bytes_max,
            handler_timeout_s=handler_timeout_s,
        )
        deadline_s = host.loop.time() + handler_timeout_s
        return await starting.start(Cell(host, None, name, spec, mailbox), deadline_s)

    def tell(self, ref: ActorRef[Any], message: Any) -> None:
        """Send without an answer; see `Context.tell`.

        Raises:
            SystemClosed: the system is not open.
        """
        host = self._host
        if host is None or not host.delivery.open or get_ident() != host.thread_id:
            host = self._open()  # which says what is wrong
        host.delivery.tell(OUTSIDE, ref, message)

    @overload
    async def ask(self, ref: ActorRef[Any], message: Request[R], *, timeout_s: float = ...) -> R: ...

    @overload
    async def ask(self, ref: ActorRef[Any], message: Any, *, timeout_s: float = ...) -> Any: ...

    async def ask(self, ref: ActorRef[Any], message: Any, *, timeout_s: float = ASK_TIMEOUT_S) -> Any:
        """Ask from outside the tree and wait for the answer; see `Context.ask`.

        Raises:
            InsideTree: called from inside a handler, which has `ctx.ask`.
            EndlessWait: `timeout_s` is not finite.
        """
        host = self._host
        if host is None or not host.delivery.open or get_ident() != host.thread_id:
            host = self._open()  # which says what is wrong
        if INSIDE.get() is not None:
            self._check_outside()
        delivery = host.delivery
        ask = delivery.begin_ask(OUTSIDE, ref, message, delivery.clock() + timeout_s)
        try:
            packed = await ask.future
        finally:
            delivery.close(ask)
        return delivery.open_answer(ask, packed)

    async def wait_epoch(
        self, ref: ActorRef[Any], epoch: int, *, timeout_s: float = ASK_TIMEOUT_S
    ) -> Lifecycle:
        """Wait until `epoch` is over in an actor, and return its lifecycle; at once when it is over already.

        Raises:
            ActorDown: the actor is gone or in shutdown.
            Expired: the time is over.
            EndlessWait: `timeout_s` is not finite.
        """
        host = self._open()
        self._check_outside()
        _check_finite(timeout_s, ref)
        cell = host.cells.get(ref.path)
        if cell is None or cell.ref != ref:
            raise host.delivery.gone(ref)
        deadline_s = host.loop.time() + timeout_s
        wait = host.waits.open(OUTSIDE, ref.path, f"end of epoch {epoch}", deadline_s, Witness.MONITOR)
        try:
            cell.wait_for_epoch(epoch, wait)
            lifecycle: Lifecycle = await wait.future
        finally:
            host.waits.close(wait)
        return lifecycle

    async def stop(self, ref: ActorRef[Any], *, timeout_s: float = 5.0) -> None:
        """Stop an actor and all below it; return when it has ended, by force at the end of its time.

        Raises:
            EndlessWait: `timeout_s` is not finite.
        """
        host = self._open()
        self._check_outside()
        _check_finite(timeout_s, ref)
        cell = host.cells.get(ref.path)
        if cell is not None and cell.ref == ref:
            await ending.stop(cell, OUTSIDE, host.loop.time() + timeout_s)

    def receiver(self, *, capacity: int = CAPACITY, overflow: Overflow = Overflow.DROP_OLDEST) -> Receiver:
        """Return a mailbox for code outside the tree: actors tell its `ref`, the owner iterates over it."""
        self._receivers += 1
        # Without a leading slash, so that it can never be the path of an actor.
        return Receiver(self._open(), f"outside/{self._receivers}", Mailbox(capacity, overflow))

    # Looking at it

    def tree(self) -> tuple[TreeNode, ...]:
        """The topmost actors, with all below them."""
        return tuple(_node(cell) for cell in self._known().cells.values() if cell.parent is None)

    def waits(self) -> list[Wait]:
        """Every open wait, oldest first."""
        return list(self._known().waits)

    def why_waiting(self, ref: ActorRef[Any]) -> list[Wait]:
        """The chain of waits that begins at `ref`: for whom it waits, for whom that one waits, and so on."""
        return self._known().waits.chain(ref.path)

    def statistics(self) -> dict[str, Any]:
        """Counts: actors, messages, dead letters by reason, open waits and deadlines, jobs, blocked loops."""
        host = self._known()
        return {
            "actors": len(host.cells),
            "messages": host.delivery.messages,
            "dead_letters": dict(host.delivery.dead_letters),
            "open_asks": len(host.delivery.asks),
            "open_waits": len(list(host.waits)),
            "open_deadlines": len(host.deadlines),
            "tasks": len(host.tasks),
            "stray_tasks": len(host.strays),
            "jobs": host.executor.statistics(),
            "blockages": self._watchdog.count if self._watchdog is not None else 0,
        }

    @property
    def host(self) -> Host:
        """What is inside, for those parts of the runtime that look at it.

        Raises:
            SystemClosed: the system was never opened.
        """
        return self._known()

    def silent_s(self) -> float:
        """For how many seconds the event loop owes its watchdog an answer; 0 without one. In any thread."""
        return self._watchdog.silent_s() if self._watchdog is not None else 0.0

    @property
    def tracer(self) -> Tracer | None:
        """The trace; None when it is off."""
        return self._known().tracer

    # Its end

    async def shutdown(self, timeout_s: float = SHUTDOWN_S) -> ShutdownReport:
        """Stop everything within `timeout_s` seconds and report what would not (law 9).

        A second call while the first is under way, with less time, shortens it: 0 abandons all at once. A
        later call returns the same report. Cancelling it abandons all at once, too.

        Raises:
            EndlessWait: `timeout_s` is negative or not finite.
            InsideTree: called from inside a handler: an actor cannot wait for its own end.
            OSError: the trace could not be written; everything has ended all the same.
        """
        if not 0 <= timeout_s < math.inf:
            raise EndlessWait(f"a shutdown needs an end: timeout_s={timeout_s}")
        report = await self._shut_down(timeout_s)
        self._reported = True
        return report

    async def _shut_down(self, timeout_s: float) -> ShutdownReport:
        if self._report is not None:
            return self._report
        host = self._known()
        self._check_outside()
        now_s = host.loop.time()
        if self._closing_since_s is None:
            self._closing_since_s = now_s
        host.delivery.open = False
        tops = [cell for cell in host.cells.values() if cell.parent is None]
        # A timer of its own: a Ctrl-C that struck the heap of deadlines must not take the end away with it.
        end = host.loop.call_at(now_s + timeout_s, _abandon, tops, "shutdown, not in time")
        try:
            for cell in reversed(tops):
                ending.begin_stop(cell, now_s + timeout_s, "shutdown")
            for cell in reversed(tops):
                await ending.stop(cell, OUTSIDE, now_s + timeout_s)
            await self._let_jobs_leave(now_s + timeout_s)
        finally:
            end.cancel()
            try:
                _abandon(tops, "shutdown, cut short")  # some are left only when this was cancelled
                self._end_waits()
                await self._let_strays_unwind()
            finally:
                report = self._conclude(self._closing_since_s)
        return report

    async def _let_jobs_leave(self, deadline_s: float) -> None:
        """Give jobs whose tokens were just cancelled a moment of what is left to look at them."""
        host = self._known()
        grace_s = min(JOB_GRACE_S, deadline_s - host.loop.time())
        jobs = [asyncio.wrap_future(job) for job in host.executor.under_way()]
        if jobs and grace_s > 0:
            left, _ = await asyncio.wait(jobs, timeout=grace_s)
            for job in left:
                job.cancelled() or job.exception()  # seen, so that asyncio does not miss it
        for job in jobs:
            job.cancel()

    async def _let_strays_unwind(self) -> None:
        """Give tasks that were just cancelled, and waits just ended, the few turns that this takes."""
        host = self._known()
        for _ in range(UNWIND_TURNS):
            unwound = all(task.done() for task in host.strays) and not any(host.waits)
            if unwound or not host.loop.is_running():
                return
            await asyncio.sleep(0)

    def _end_waits(self) -> None:
        """End what code outside the tree still waits for; the trace is to see it go on."""
        for wait in self._known().waits:
            wait.fail(SystemClosed(f"{wait}: the actor system was shut down"))

    def _conclude(self, begun_s: float) -> ShutdownReport:
        """Close what the actors shared and make the report, once."""
        if self._report is not None:  # a second shutdown has come in between
            return self._report
        host = self._known()
        host.executor.shutdown(wait=False, cancel_futures=True)
        if self._watchdog is not None:
            self._watchdog.stop()
        survivors = stacks_of(host.strays) | host.executor.stacks()
        self._report = ShutdownReport(
            host.loop.time() - begun_s,
            survivors,
            dict(host.delivery.dead_letters),
            tuple(self._watchdog.latest) if self._watchdog is not None else (),
        )
        leave_behind(host.strays)
        for recipient in list(host.delivery.recipients.values()):
            if isinstance(recipient, Receiver):
                recipient.close()
        self._end_waits()
        host.deadlines.close()
        if host.tracer is not None:
            host.tracer.close()
        return self._report

    def _known(self) -> Host:
        if self._host is None:
            raise SystemClosed(f"actor system {self.name!r} is not open: use `async with ActorSystem(...)`")
        return self._host

    def _open(self) -> Host:
        host = self._host
        if host is None or not host.delivery.open:
            self._known()
            raise SystemClosed(f"actor system {self.name!r} is shutting down")
        host.check_thread()
        return host

    def _check_outside(self, refusal: type[InsideTree] = InsideTree) -> None:
        inside = INSIDE.get()
        if inside is not None and inside[0] is self._known():
            story = f"{inside[1]} is inside the tree and must use its context to wait, not the system"
            cell = inside[0].cells.get(inside[1])
            if cell is not None:
                cell.trace("refuse", detail=f"{refusal.__name__}: {story}")
            raise with_notes(refusal(story), of_refusal(inside[0].delivery, OUTSIDE, inside[1]))


def _check_finite(timeout_s: float, ref: ActorRef[Any]) -> None:
    if not math.isfinite(timeout_s):
        raise EndlessWait(f"cannot wait for {ref} without end: timeout_s={timeout_s}")


def _node(cell: Cell) -> TreeNode:
    return TreeNode(
        cell.ref.path,
        cell.spec.actor.__name__,
        cell.incarnation,
        cell.phase.value,
        str(cell.lifecycle),
        len(cell.mailbox),
        tuple(_node(child) for child in cell.children.values()),
    )


def _abandon(tops: list[Cell], reason: str) -> None:
    """End what is left of the tree at once, in reverse order of start."""
    for cell in reversed(tops):
        ending.begin_stop(cell, cell.host.loop.time(), reason)  # so that it is not started again
        ending.abandon(cell, reason)
