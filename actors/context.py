"""What a handler may do."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast, overload

from actors import epochs, later, starting
from actors.errors import ActorDown, EndlessWait, JobsExhausted, UpwardAsk
from actors.exits import disown
from actors.host import HANDLER_TIMEOUT_S
from actors.jobs import TimedJob
from actors.lifecycle import Event, State
from actors.mailbox import BYTES_MAX, CAPACITY, Overflow
from actors.messages import SCHEMAS
from actors.notes import of_jobs, of_refusal, with_notes
from actors.waits import Wait, Witness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.epochs import Epoch
    from actors.jobs import JobToken
    from actors.messages import ActorRef, Request
    from actors.supervision import Supervision
    from actors.waits import Origin

__all__ = ["ASK_TIMEOUT_S", "HANDLER_TIMEOUT_S", "Context"]

ASK_TIMEOUT_S = 30.0

A = TypeVar("A", bound="Actor")
P = ParamSpec("P")
R = TypeVar("R")


class Context:
    """The runtime, as one incarnation of one actor sees it; handed to every handler and hook.

    Once the incarnation has ended every method raises `ActorDown`, so that a task that had to be left
    behind can do no harm.
    """

    __slots__ = ("_cell", "_incarnation", "_jobs")

    def __init__(self, cell: Cell, incarnation: int) -> None:
        self._cell = cell
        self._incarnation = incarnation

    @property
    def self_ref(self) -> ActorRef[Any]:
        """The actor's own address."""
        return self._cell.ref

    @property
    def parent(self) -> ActorRef[Any] | None:
        """The parent's address; None when the system is the parent."""
        return self._cell.parent.ref if self._cell.parent is not None else None

    @property
    def children(self) -> tuple[ActorRef[Any], ...]:
        """Addresses of the children that have not ended for good, in order of their start."""
        return tuple(child.ref for child in self.live().children.values())

    @property
    def incarnation(self) -> int:
        """Which life of the actor this is, from 1."""
        return self._incarnation

    @property
    def state(self) -> State:
        """The lifecycle state."""
        return self.live().lifecycle.state

    @property
    def current_epoch(self) -> int:
        """The last epoch that was begun, 0 before the first."""
        return self.live().lifecycle.epoch

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline of the handler that runs now."""
        return max(0.0, self._handler_deadline_s() - self.live().host.loop.time())

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
        """Start a child and return its address once its `on_start` has returned.

        Args:
            actor: the class.
            *args: for its constructor, handed over again at every restart.
            name: unique among the living siblings, without a slash; numbered after the class by default.
            supervision: when and how to restart it; by default it stays down.
            capacity: of its mailbox, in messages.
            overflow: what its full mailbox does.
            bytes_max: of the messages in its mailbox, arrays included; one alone may be larger.
            handler_timeout_s: deadline of handlers of tells, and of hooks. Asks bring their own.
            **kwargs: for its constructor. A parameter that has the name of one of these options can be
                handed over by position only.

        Raises:
            ActorDown: `on_start` raised; the text says what.
            Expired: `on_start` did not return before this handler's deadline.
            AmbiguousOption: an option is given that the constructor has a parameter for, too.
            UnboundedMailbox: the capacity is not a whole number above 0.
            EndlessWait: `handler_timeout_s` is not a finite time above 0.
            ValueError: the name is taken or has a slash.
        """
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
        deadline_s = self._deadline_s(HANDLER_TIMEOUT_S)
        return await self.live().spawn_child(name, spec, mailbox, deadline_s)

    def tell(self, ref: ActorRef[Any], message: Any) -> None:
        """Send without an answer, to anyone.

        Raises:
            MessageError: it cannot travel.
            MailboxFull: there is no room (unless the policy is `drop_oldest`).
        """
        self.live().host.delivery.tell(self._origin(), ref, message)

    def tell_later(self, delay_s: float, ref: ActorRef[Any], message: Any) -> None:
        """Send after `delay_s` seconds, if this incarnation still lives then; a full mailbox drops it.

        What is not sent because this incarnation has ended is a dead letter, too.

        Raises:
            MessageError: it cannot travel.
            MailboxFull: `LATER_MAX` messages of this actor wait for their time already.
            ValueError: the delay is negative or not finite.
        """
        cell = self.live()
        if not 0 <= delay_s < math.inf:
            raise ValueError(f"cannot tell {ref} after {delay_s} seconds")
        later.send_later(cell, delay_s, ref, cell.host.delivery.prepare(self._origin(), message))

    @overload
    async def ask(self, ref: ActorRef[Any], message: Request[R], *, timeout_s: float | None = None) -> R: ...

    @overload
    async def ask(self, ref: ActorRef[Any], message: Any, *, timeout_s: float | None = None) -> Any: ...

    async def ask(self, ref: ActorRef[Any], message: Any, *, timeout_s: float | None = None) -> Any:
        """Send to an actor below and wait for its answer.

        Args:
            ref: a child, or a child's child, and so on.
            message: what to ask.
            timeout_s: at the most; never more than what remains of this handler. Default `ASK_TIMEOUT_S`.

        Raises:
            AskFailed: the handler raised or returned nothing.
            ActorDown: the actor ended before it answered.
            Expired: the time is over.
            Refused: not admitted; `UpwardAsk` when `ref` is not below this actor.
            MessageError: the message cannot travel.
            EndlessWait: the time given is not finite.

        Cancelling it tells the actor to stop working on it.
        """
        cell = self.live()
        self._check_below(ref, message)
        delivery = cell.host.delivery
        ask = delivery.begin_ask(cell.origin, ref, message, self._deadline_s(timeout_s))
        try:
            packed = await ask.future
        finally:
            delivery.close(ask)
        return delivery.open_answer(ask, packed)

    async def ask_all(
        self, asks: Iterable[tuple[ActorRef[Any], Any]], *, timeout_s: float | None = None
    ) -> list[Any]:
        """Ask many at once; return for each, in order, its answer or the `AskError` in which it ended.

        Raises:
            UpwardAsk: one of them is not below this actor; nothing was sent.
            MessageError: a message cannot travel.
        """
        cell, asks = self.live(), list(asks)
        for ref, body in asks:
            self._check_below(ref, body)
        return await cell.host.delivery.ask_all(self._origin(), asks, self._deadline_s(timeout_s))

    async def offload(
        self, fn: Callable[Concatenate[JobToken, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run `fn(token, *args)` in a thread and return its result; the limit is this handler's deadline.

        Raises:
            Expired: the deadline passed; the thread is left behind with a cancelled token.
            JobsExhausted: too many threads are left behind already.
            Exception: whatever `fn` raises.

        Cancelling it cancels the token and leaves the thread behind. `fn` must write only to memory that
        nobody else uses until its result has been taken.
        """
        return await self._offload(None, fn, args, kwargs)

    async def offload_within(
        self, timeout_s: float, fn: Callable[Concatenate[JobToken, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As `offload`, with a limit of its own in seconds."""
        return await self._offload(timeout_s, fn, args, kwargs)

    async def _offload(self, timeout_s: float | None, fn: Callable[..., R], args: Any, kwargs: Any) -> R:
        cell = self.live()
        host, name = cell.host, getattr(fn, "__qualname__", repr(fn))
        deadline_s = self._handler_deadline_s() if timeout_s is None else self._deadline_s(timeout_s)
        token = host.executor.token(max(0.0, deadline_s - host.loop.time()))
        wait = cell.open_wait(f"job {name}", "its result", deadline_s, Witness.JOB_SLOT)
        limit_s = deadline_s - host.loop.time()
        cell.trace("job", type_=name, wait_id=wait.wait_id, limit_s=limit_s)
        timed = host.waits.jobs[wait.wait_id] = TimedJob(fn, token, cell.origin)
        job: Future[R] | None = None
        try:
            job = host.executor.submit(timed, *args, **kwargs)
            job.add_done_callback(lambda done: _report(host.loop, wait, done))
            result: R = await wait.future
        except JobsExhausted as error:
            raise with_notes(error, of_jobs(host.executor)) from None
        except RuntimeError as error:
            if job is None:
                raise with_notes(JobsExhausted(str(error)), of_jobs(host.executor)) from None
            raise
        finally:
            token.cancel()
            left_behind = job is not None and not job.done() and host.executor.abandon(job)
            del host.waits.jobs[wait.wait_id]
            host.waits.close(wait)
            if host.tracer is not None:
                detail = f"left behind {timed.last_seen()}" if left_behind else str(timed.times or "")
                cell.trace("job_end", type_=name, detail=detail, wait_id=wait.wait_id)
        return result

    async def wait(self, awaitable: Awaitable[R], *, timeout_s: float | None = None, reason: str) -> R:
        """Await something foreign to the runtime, as a recorded wait with an end.

        Raises:
            Expired: the time is over; the awaitable was cancelled.
        """
        try:
            cell = self.live()
            wait = cell.open_wait("foreign awaitable", reason, self._deadline_s(timeout_s), Witness.TIMER)
        except BaseException:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()  # nobody will ever await it
            raise
        inner = asyncio.ensure_future(_outcome(awaitable))
        disown(inner)
        try:
            await asyncio.wait({inner, wait.future}, return_when=asyncio.FIRST_COMPLETED)
            if not inner.done():
                wait.future.result()  # raises Expired, or ActorDown when the incarnation was given up
            result, error = inner.result()
            if error is not None:
                raise error
            return cast("R", result)
        finally:
            cell.host.give_up(inner, cell.ref.path)
            cell.host.waits.close(wait)

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have `on_down` called when an incarnation of `ref` ends; at once when there is none."""
        self.live().watch(ref)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Hear no more of the ends of `ref`; a `Down` that has arrived is still handled.

        Nothing happens when it is not watched. A parent hears of its children all the same.
        """
        self.live().unwatch(ref)

    async def stop(self, ref: ActorRef[Any], *, timeout_s: float = 5.0) -> None:
        """Stop an actor below, and return when it has ended, by force at the end of its time.

        Raises:
            UpwardAsk: it is not below this actor.
        """
        self._check_below(ref)
        target = self.live().host.cells.get(ref.path)
        if target is not None and target.ref == ref:
            await self.live().stop_below(target, self._deadline_s(timeout_s))

    def rest(self) -> None:
        """Move from epoch_done to idle.

        Raises:
            IllegalTransition: the actor is not in epoch_done.
        """
        self.live().move(Event.REST)

    def epoch(
        self, epoch: int, children: Iterable[ActorRef[Any]] | None = None, *, timeout_s: float
    ) -> AbstractAsyncContextManager[Epoch]:
        """Run one epoch with children: `async with ctx.epoch(n, ctx.children, timeout_s=60) as epoch: ...`.

        Entering begins epoch n here and in every child; leaving, each child has ended it or is down. When
        the body raises, the epoch has failed here and in the children. A child that is started again
        meanwhile takes part again, without what it had done before: `epoch.restarted` names those.

        Args:
            epoch: its number, larger than that of the last one.
            children: who takes part, all children by default.
            timeout_s: for everything together.

        Raises:
            UpwardAsk: one of the children is not a child of this actor; nothing was begun.
            IllegalTransition: an epoch runs already, or the number is not larger than the last.
            EpochFailed: a child could not begin, or did not finish in time.
        """
        refs = self.children if children is None else tuple(children)
        for ref in refs:
            self._check_below(ref)
            child = self._cell.host.cells.get(ref.path)
            if child is not None and child.parent is not self._cell:
                raise self._upward(
                    ref, f"{ref} is no child of {self._cell.ref}: its own parent runs its epochs"
                )
        return epochs.open_epoch(self, epoch, refs, self._deadline_s(timeout_s))

    def live(self) -> Cell:
        """The cell of this incarnation, for the runtime.

        Raises:
            ActorDown: the incarnation has ended.
            Refused: called in another thread than the event loop's.
        """
        cell = self._cell
        cell.host.check_thread()
        if cell.incarnation != self._incarnation or cell.ended or not cell.has_task:
            raise ActorDown(cell.ref.path, f"incarnation {self._incarnation} has ended")
        return cell

    def _origin(self) -> Origin:
        return self._cell.origin

    def _deadline_s(self, timeout_s: float | None) -> float:
        """The smaller of the given time, and what remains of the handler that runs now (law 5).

        Raises:
            EndlessWait: the given time is not finite.
        """
        own_s = ASK_TIMEOUT_S if timeout_s is None else timeout_s
        if not math.isfinite(own_s):
            raise EndlessWait(f"{self._cell.ref} cannot wait without end: timeout_s={own_s}")
        own_s += self._cell.host.delivery.clock()
        run = self._cell.run
        if run is not None and run.deadline_s < own_s:
            return run.deadline_s
        return own_s if run is not None else min(own_s, self._handler_deadline_s())

    def _handler_deadline_s(self) -> float:
        run = self._cell.run
        return run.deadline_s if run is not None else self._cell.host.loop.time() + HANDLER_TIMEOUT_S

    def _check_below(self, ref: ActorRef[Any], body: Any = None) -> None:
        target = self._cell.host.cells.get(ref.path)
        if target is not None and not target.is_below(self._cell):
            story = f"{self._cell.ref} cannot wait for {ref}, which is not below it: tell it instead"
            raise self._upward(ref, story, SCHEMAS[type(body)].tag if type(body) in SCHEMAS else "")

    def _upward(self, ref: ActorRef[Any], story: str, tag: str = "") -> UpwardAsk:
        self._cell.trace("refuse", type_=tag, detail=f"UpwardAsk: {story}")
        return with_notes(UpwardAsk(story), of_refusal(self._cell.host.delivery, self._origin(), ref.path))


async def _outcome(awaitable: Awaitable[R]) -> tuple[R | None, BaseException | None]:
    """Result or error. A task that raised SystemExit would end the event loop with all its actors."""
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
        return None, error


def _report(loop: asyncio.AbstractEventLoop, wait: Wait, job: Future[Any]) -> None:
    """Called in the job's thread: publish its end on the loop, where the wait decides who still cares."""
    if job.cancelled():
        return
    error = job.exception()
    try:
        if error is not None:
            loop.call_soon_threadsafe(wait.fail, error)
        else:
            loop.call_soon_threadsafe(wait.succeed, job.result())
    except RuntimeError:
        return  # the loop is closed: nobody is left to tell
