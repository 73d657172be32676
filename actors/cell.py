"""One running actor: the only place that awaits a mailbox.

A cell outlives the incarnations of its actor: it keeps the address, the mailbox and the place in the tree,
and starts the next incarnation when its parent's supervision says so. It decides nothing itself that a
table or a pure function can decide: `lifecycle.advance`, `supervision.on_child_exit`. How an actor comes
into the tree is in `starting`, how an incarnation ends in `ending`.

Who calls whom, for one request:

    Delivery.begin_ask -> Mailbox.put          the request is admitted
    Cell._serve -> Mailbox.get -> Cell._begin  a handler runs, under a deadline
    Cell._returned -> Delivery.answer          whoever asked goes on
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from actors import ending, epochs, handling, siblings, snapshots, starting, watching
from actors.context import Context
from actors.delivery import Ask
from actors.ending import UNWIND_S
from actors.errors import ActorDown, ActorError, IllegalTransition, MessageError, Refused
from actors.exits import end_reason, pass_on
from actors.host import (
    INSIDE,
    Abandoned,
    Alarm,
    CellOrigin,
    ChildSpec,
    Host,
    Interrupted,
    Interruption,
    Phase,
    Run,
    Vigil,
)
from actors.lifecycle import Event, Lifecycle, State, advance
from actors.messages import ActorRef
from actors.notes import of_refusal, with_notes
from actors.reasons import describe, failure_of, text_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actors.actor import Actor
    from actors.delivery import Entry
    from actors.later import Later
    from actors.mailbox import Mailbox
    from actors.waits import Origin, Wait, Witness

__all__ = ["Cell"]

LOGGER: Final = logging.getLogger("actors")

# How much of what is left of a stop's budget a hook may take.
HOOK_SHARE: Final = 0.5
# After so many messages in a row an actor lets others run, even if no handler of its own ever suspends.
TURN_MESSAGES: Final = 64


class Cell:
    """An actor's place in the tree, over all its incarnations."""

    # Declared: there are more than a shared layout of attributes has room for, and every message reads some.
    __slots__ = (
        "_drain",
        "_failure",
        "_task",
        "_told",
        "_unasked",
        "_vigil",
        "asks",
        "children",
        "depth",
        "end_waits",
        "epoch_waits",
        "exits_s",
        "host",
        "incarnation",
        "keeper",
        "last_run",
        "later",
        "lifecycle",
        "mailbox",
        "name",
        "parent",
        "path",
        "phase",
        "recycled",
        "ref",
        "restart_alarm",
        "run",
        "scope",
        "siblings",
        "snapshot",
        "spec",
        "start_wait",
        "state",
        "stop_alarms",
        "stop_deadline_s",
        "takes_asks",
        "watched",
        "watchers",
    )

    def __init__(
        self,
        host: Host,
        parent: Cell | None,
        name: str | None,
        spec: ChildSpec,
        mailbox: Mailbox[Entry],
    ) -> None:
        host.uids += 1
        self.takes_asks = True
        self.host = host
        self.parent = parent
        self.spec = spec
        self.name = f"{spec.actor.__name__.lower()}-{host.uids}" if name is None else name
        self.ref: ActorRef[Any] = ActorRef(f"{parent.ref.path if parent else ''}/{self.name}", host.uids)
        self.path = self.ref.path
        self.depth: int = parent.depth + 1 if parent is not None else 1
        self.mailbox = mailbox
        self.asks: dict[int, Ask] = {}
        self.children: dict[str, Cell] = {}
        self.watchers: dict[str, tuple[watching.Watcher, int]] = {}
        self.phase = Phase.STARTING
        self.lifecycle = Lifecycle()
        self.state = str(self.lifecycle)
        self.scope: epochs.Scope | None = None
        self.incarnation = 0
        self.run: Run | None = None
        self._vigil = Vigil(self)
        self._unasked: Origin = CellOrigin(self)
        self.start_wait: Wait | None = None
        self.end_waits: list[Wait] = []
        self.epoch_waits = epochs.EpochWaits()
        self._task: asyncio.Task[None] | None = None
        self.exits_s: list[float] = []
        self._failure: BaseException | None = None
        self._drain = True
        self.stop_alarms: list[Alarm] = []
        self.stop_deadline_s = 0.0
        self.restart_alarm: Alarm | None = None
        self.watched: list[Cell] = []
        self.later: dict[int, Later] = {}
        self.siblings: siblings.Siblings | None = None
        self.recycled = ""
        self.keeper: snapshots.Keeper | None = None
        self.snapshot: Entry | None = None
        self._told = False
        self.last_run: Run | None = None  # in which this incarnation has failed, or was given up

    # What other parts of the runtime call

    @property
    def has_task(self) -> bool:
        """Whether an incarnation is alive."""
        return self._task is not None

    async def spawn_child(
        self, name: str | None, spec: ChildSpec, mailbox: Mailbox[Entry], deadline_s: float
    ) -> ActorRef[Any]:
        """Start a child; see `Context.spawn`."""
        return await starting.start(Cell(self.host, self, name, spec, mailbox), deadline_s)

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have this incarnation hear of the ends of `ref`."""
        watching.watch(self.host, self, ref)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Hear no more of the ends of `ref`."""
        watching.unwatch(self.host, self, ref)

    @property
    def hears(self) -> bool:
        """Whether it reads what it is told: in shutdown it has read its last message."""
        return self._task is not None and self.lifecycle.state is not State.SHUTDOWN

    async def stop_below(self, target: Cell, deadline_s: float) -> None:
        """Stop an actor below and wait for its end."""
        await ending.stop(target, self.origin, deadline_s)

    @property
    def origin(self) -> Origin:
        """On whose behalf this actor sends what it sends now."""
        return self.run or self._unasked

    @property
    def ended(self) -> bool:
        """Whether it has ended for good."""
        return self.phase is Phase.ENDED

    def start(self) -> None:
        """Start the next incarnation."""
        self.incarnation += 1
        self._unasked = CellOrigin(self)
        self.phase = Phase.STARTING
        self.lifecycle, self.scope = Lifecycle(), None
        self.state = str(self.lifecycle)
        self._failure = None
        self._drain = True
        self._told = False
        self.last_run = None
        self.restart_alarm = None
        self._task = self.host.start_task(self._live(), self, self._forget_task)
        if self.host.tracer is not None:
            actor = self.spec.actor
            given = self.host.tracer.arguments(self.spec.args, self.spec.kwargs)
            name = f"{actor.__module__}:{actor.__qualname__}"
            self.trace("start", type_=actor.__name__, detail=name, payload=given)

    def open_wait(self, target: str, reason: str, deadline_s: float, witness: Witness) -> Wait:
        """Begin a wait of this actor; the caller closes it in `host.waits`."""
        return self.host.waits.open(self.origin, target, reason, deadline_s, witness)

    def is_below(self, other: Cell) -> bool:
        """Whether `other` is an ancestor of this cell."""
        above = self.parent
        while above is not None and above is not other:
            above = above.parent
        return above is other

    def leave(self, ask_id: int, *, expired: bool = False) -> None:
        """Stop working on an ask that nobody waits for any more. One still queued is skipped later."""
        if self.run is not None and self.run.cause_id == ask_id:
            self.interrupt(Interruption.EXPIRED if expired else Interruption.LEFT)

    def interrupt(self, why: Interruption) -> None:
        """Cancel the handler that runs now, if any. It gets `UNWIND_S` to end, then the actor is given up."""
        run = self.run
        if run is None or run.interrupted is not None or self._task is None:
            return
        run.interrupted = why
        self._task.cancel()
        self.host.alarm(UNWIND_S, lambda: self._give_up(run))

    def _give_up(self, run: Run) -> None:
        if run.open and run.turns_left:  # the loop itself may have been late
            run.turns_left -= 1
            self.host.loop.call_soon(self._give_up, run)
        elif run.open:
            ending.abandon(self, f"a handler did not end within {UNWIND_S} s of being cancelled")

    def fail_soon(self, error: BaseException) -> None:
        """Fail with `error` once the handler that runs now has ended."""
        if self._failure is None:
            self._failure = error
            self.wake()

    def fail_from_child(self, reason: str) -> None:
        """Fail because a child is lost for good and its supervision says `escalate`."""
        if self.phase in {Phase.STARTING, Phase.LIVE} and self._failure is None:
            self.fail_soon(ActorError(reason))
            self.interrupt(Interruption.FAILED)

    def stop_draining(self) -> None:
        """Handle no more of what is queued: this part of a stop's budget is used up."""
        self._drain = False
        self.wake()
        if self.run is not None and self.run.cause_id:  # a hook has a limit of its own
            self.interrupt(Interruption.STOPPED)

    def release_task(self) -> asyncio.Task[None] | None:
        """Return the task of this incarnation, which is the cell's no more."""
        task, self._task = self._task, None
        if self.run is not None:
            self.last_run, self.run = self.run, None
        return task

    def wake(self) -> None:
        """Have the actor look up from its mailbox: something else has changed."""
        self.mailbox.put_urgent(ending.WAKE)

    def wait_for_end(self, wait: Wait) -> None:
        """Have `wait` end when this cell has ended for good."""
        if self.ended:
            wait.succeed(None)
        else:
            self.end_waits.append(wait)

    def wait_for_epoch(self, epoch: int, wait: Wait) -> None:
        """Have `wait` end when `epoch` is over here; at once if it is, or the actor is in shutdown."""
        if self.ended or (self.phase is Phase.STOPPING and not self.recycled):
            standing = of_refusal(self.host.delivery, wait.origin, self.path)
            wait.fail(with_notes(ActorDown(self.ref.path, "in shutdown"), standing))
        else:
            self.epoch_waits.add(epoch, wait, self.lifecycle)

    def move(self, event: Event, epoch: int | None = None, *, failure: str = "") -> None:
        """Move the lifecycle.

        Raises:
            IllegalTransition: the table of states does not allow it.
        """
        try:
            self.lifecycle = advance(self.lifecycle, event, epoch, failure=failure)
        except IllegalTransition as error:
            self.trace("refuse", type_=event.value, detail=f"IllegalTransition: {error}")
            raise
        self.state = str(self.lifecycle)
        self.trace("state", type_=self.state, detail=self.lifecycle.failure or "")
        if event is not Event.STOP:  # an epoch that is cut short is not over: its waits end with the actor
            self.epoch_waits.moved(self.lifecycle)

    def trace(
        self,
        kind: str,
        *,
        type_: str = "",
        detail: str = "",
        wait_id: int = 0,
        limit_s: float = 0.0,
        payload: bytes = b"",
    ) -> None:
        """Record an event of this actor."""
        if self.host.tracer is not None:
            origin = self.origin
            self.host.tracer.emit(
                kind,
                origin.name,
                origin.incarnation,
                0,
                origin.cause_id,
                type_,
                detail,
                state=self.state,
                wait_id=wait_id,
                limit_s=limit_s,
                payload=payload,
            )

    # One incarnation

    async def _live(self) -> None:
        """Run one incarnation from its start to its end. Raises Ctrl-C, and nothing else."""
        INSIDE.set((self.host, self.ref.path))
        incarnation = self.incarnation
        reason, failed = "stopped", False
        ctx = Context(self, incarnation)
        try:
            await asyncio.sleep(0)  # a task that is started eagerly must be known to the cell first
            actor = self.spec.actor(*self.spec.args, **self.spec.kwargs)
            try:
                await self._come_up(actor, ctx)
                await self._serve(actor, ctx)
            except BaseException as error:
                await self._on_failure(actor, error, ctx)
                raise
            await self._hook("on_stop", actor.on_stop(ctx))
        except BaseException as error:  # noqa: BLE001 - SystemExit and foreign cancellation end an actor too
            pass_on(error, self.host.loop)
            reason, failed = describe(error), True
            self._log(error)
        if self.incarnation == incarnation and self._task is asyncio.current_task():
            await ending.terminate(self)
        if self.incarnation == incarnation and self._task is asyncio.current_task():
            stopping = bool(self.stop_alarms)
            reason = f"{reason} (while stopping)" if failed and stopping else reason
            ending.finalise(self, reason, failed=failed and not stopping)

    def _log(self, error: BaseException) -> None:
        """Log what nobody would hear of otherwise: an error that is not the answer to an ask or a spawn."""
        if not (self._told or self.start_wait or error is self._failure) and isinstance(error, Exception):
            LOGGER.error("%s failed: %s", self.ref, describe(error), exc_info=error)

    async def _come_up(self, actor: Actor, ctx: Context) -> None:
        """Everything before the first message."""
        self.keeper = snapshots.keeper_of(actor, ctx)
        if self.snapshot is not None:
            await self._hook("restore", snapshots.restore(self.snapshot, actor, ctx))
        await self._hook("on_start", actor.on_start(ctx))
        await self._hook("joining the epoch", epochs.join_running(self))
        if self.phase is Phase.STARTING:
            self.phase = Phase.LIVE
            siblings.is_up(self)
        if self.start_wait is not None:
            self.start_wait.succeed(None)
            self.start_wait = None

    async def _on_failure(self, actor: Actor, error: BaseException, ctx: Context) -> None:
        pass_on(error, self.host.loop)
        try:
            await self._hook("on_failure", actor.on_failure(error, ctx))
        except BaseException as another:  # noqa: BLE001 - the first error stays the reason
            pass_on(another, self.host.loop)
            error.add_note(f"on_failure raised {describe(another)}")

    async def _serve(self, actor: Actor, ctx: Context) -> None:  # noqa: C901 - one loop, read from top to bottom; each further call would cost every message
        """Handle one message after the other until the actor is to stop."""
        mailbox, loop, wake, task = self.mailbox, self.host.loop, ending.WAKE, asyncio.current_task()
        if task is None or task is not self._task:
            raise Abandoned
        turn, stopping = 0, Phase.STOPPING
        while True:
            entry = mailbox.get()
            if entry is None:
                if self.phase is stopping:
                    return
                await mailbox.arrival(loop)
                continue
            if entry is wake:
                if self._is_over():
                    return
                continue
            if (begun := self._begin(actor, entry, ctx, task)) is None:
                continue
            run, call = begun
            try:
                answer = await call
            except BaseException as error:
                if not self._survives(run, entry, error):
                    raise
            else:
                self._returned(run, entry, answer)
            turn += 1
            if turn == TURN_MESSAGES:
                turn = 0
                await asyncio.sleep(0)

    def _is_over(self) -> bool:
        """Look up, because there is a reason to: whether the actor is to end without reading any further.

        Raises:
            ActorError: a child is lost for good, and the actor fails with it.
        """
        if self._failure is not None:
            raise self._failure
        return self.phase is Phase.STOPPING and not self._drain

    def _begin(
        self, actor: Actor, entry: Entry, ctx: Context, task: asyncio.Task[None]
    ) -> tuple[Run, Coroutine[Any, Any, Any]] | None:
        """Begin with a message: the run and the call to await. None when there is nothing to do for it."""
        delivery = self.host.delivery
        if not isinstance(entry, Ask):
            now_s = delivery.clock()
            msg_id, deadline_s = entry.msg_id, now_s + self.spec.handler_timeout_s
            if deadline_s < self._vigil.looks_s:
                self._vigil.over(deadline_s)
        elif entry.future.done() or (now_s := delivery.clock()) > entry.deadline_s:
            delivery.waits.expire(entry)  # the timer comes late to a busy loop
            delivery.dead_letter(entry, "expired in the mailbox", self.origin)
            return None
        else:
            entry.incarnation = self.incarnation
            # Whose end interrupts the handler: it needs no entry of its own in the heap.
            msg_id, deadline_s = entry.wait_id, entry.deadline_s
        if delivery.tracer is not None:
            delivery.tracer.received(self.path, self.incarnation, entry, msg_id, self.state, deadline_s)
        body = entry.packed[3]
        handler = actor.handlers.get(type(body))
        if handler is not None and not handler.bound:  # mostly; the rest is worth a further call
            call = getattr(actor, handler.name)(body, ctx)
        else:
            try:
                call = handling.bind(self, actor, body, ctx)
            except Refused as refusal:
                handling.refuse(self, entry, refusal)
                return None
        return Run(self, task, msg_id, deadline_s, now_s, entry), call

    def _returned(self, run: Run, entry: Entry, answer: Any) -> None:
        """Account for a handler that has returned, and pass its answer on.

        Raises:
            Abandoned: the incarnation was given up meanwhile.
            MessageError: the answer cannot travel.
        """
        if run.interrupted is None and self.run is run:
            self.run = None
        else:
            run.end()
        run.entry = None
        if isinstance(entry, Ask):
            self._answer(run, entry, handling.NO_REPLY if answer is None else answer)
        elif self.host.tracer is not None:
            self.host.tracer.handled(self.path, run.incarnation, run.cause_id, entry.tag, self.state)
        if run.task is not self._task:
            raise Abandoned

    def _answer(self, run: Run, ask: Ask, answer: Any) -> None:
        told = False
        try:
            told = self.host.delivery.answer(run, ask, answer)
        except MessageError as error:
            told = self._fail_ask(run, ask, error)
            raise
        finally:
            self._trace_done(run, ask, told=told)

    def _trace_done(self, run: Run, entry: Entry, *, told: bool) -> None:
        """Record that a handler has ended, if an answer has not told so already."""
        tracer = self.host.tracer
        if tracer is not None and not told:
            tracer.handled(self.path, run.incarnation, run.cause_id, entry.tag, self.state)

    def _survives(self, run: Run, entry: Entry, error: BaseException) -> bool:
        """Account for a handler that has raised, and say whether the actor lives on."""
        told = False
        try:
            run.end(error)
        except Interrupted as interruption:
            self.host.delivery.dead_letter(entry, f"handler ended: {interruption}", run)
            return run.task is self._task
        else:
            told = self._fail_ask(run, entry, error)
            harmless = isinstance(error, Exception) and type(entry.packed[3]) in handling.RUNTIME_HANDLERS
            self._told = self._told and not harmless
            if not harmless:
                self.last_run = run
            return harmless and run.task is self._task
        finally:
            if self.last_run is not run:
                run.entry = None
            self._trace_done(run, entry, told=told)

    def _fail_ask(self, run: Run, entry: Entry, error: BaseException) -> bool:
        """Say to whoever asked that the handler has failed; True when that is in the trace with its end."""
        if isinstance(entry, Ask):
            self._told = run.task is self._task
            return self.host.delivery.answer(run, entry, failure_of(error))
        self.host.delivery.trace_error(run, run.cause_id, type(error).__name__, text_of(error))
        return False

    async def _hook(self, name: str, call: Coroutine[Any, Any, None]) -> None:
        now_s = self.host.loop.time()
        limit_s = self.spec.handler_timeout_s
        if self.stop_alarms:
            limit_s = min(limit_s, HOOK_SHARE * max(0.0, self.stop_deadline_s - now_s))
        task = asyncio.current_task()
        if task is None or task is not self._task:
            call.close()
            raise Abandoned
        run = Run(self, task, 0, now_s + limit_s, now_s)
        self._vigil.over(run.deadline_s)
        try:
            try:
                await call
            except BaseException as error:
                run.end(error)
                raise
            run.end()
        except Interrupted as interruption:
            raise ActorError(f"{name} was interrupted: {interruption}") from None
        if task is not self._task:
            raise Abandoned  # the actor has ended meanwhile: this task must touch nothing any more

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self.host.tasks.pop(task, None)
        self.host.strays.pop(task, None)
        error = None if task.cancelled() else task.exception()  # so that asyncio does not miss it
        if task is self._task:  # `_live` has raised and was not abandoned: Ctrl-C, or a fault of the runtime
            ending.finalise(self, end_reason(error), failed=not isinstance(error, KeyboardInterrupt))
