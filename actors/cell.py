"""One running actor: the only place that awaits a mailbox.

A cell outlives the incarnations of its actor: it keeps the address, the mailbox and the place in the tree,
and starts the next incarnation when its parent's supervision says so. It decides nothing itself that a
table or a pure function can decide: `lifecycle.advance`, `supervision.on_child_exit`. How an actor comes
into the tree is in `starting`, how an incarnation ends in `ending`.

Who calls whom, for one request:

    Delivery.begin_ask -> Mailbox.put          the request is admitted
    Cell._serve -> Mailbox.get -> Cell._handle  a handler runs, under a deadline
    Delivery.reply -> Wait.succeed             whoever asked goes on
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from actors import ending, epochs, handling, siblings, snapshots, starting, watching
from actors.context import Context
from actors.delivery import Ask, Entry, Origin
from actors.ending import UNWIND_S
from actors.errors import ActorDown, ActorError, ProtocolError, Refused
from actors.host import INSIDE, Alarm, ChildSpec, Host, Interruption, Phase, Run
from actors.lifecycle import Event, Lifecycle, State, advance
from actors.messages import ActorRef
from actors.reasons import describe, failure_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actors.actor import Actor
    from actors.mailbox import Mailbox
    from actors.waits import Wait, Witness

__all__ = ["Cell"]

LOGGER: Final = logging.getLogger("actors")

# How much of what is left of a stop's budget a hook may take.
HOOK_SHARE: Final = 0.5
# After so many messages in a row an actor lets others run, even if no handler of its own ever suspends.
TURN_MESSAGES: Final = 64


class _Interrupted(Exception):
    """A handler run was cancelled by the runtime and has unwound."""


class _Abandoned(BaseException):
    """This task was left behind when its incarnation was given up; it ends as soon as it can."""


class Cell:
    """An actor's place in the tree, over all its incarnations."""

    takes_asks = True

    def __init__(
        self,
        host: Host,
        parent: Cell | None,
        name: str | None,
        spec: ChildSpec,
        mailbox: Mailbox[Entry],
    ) -> None:
        host.uids += 1
        self.host = host
        self.parent = parent
        self.spec = spec
        self.name = f"{spec.actor.__name__.lower()}-{host.uids}" if name is None else name
        self.ref: ActorRef[Any] = ActorRef(f"{parent.ref.path if parent else ''}/{self.name}", host.uids)
        self.depth: int = parent.depth + 1 if parent is not None else 1
        self.mailbox = mailbox
        self.asks: dict[int, Ask] = {}
        self.children: dict[str, Cell] = {}
        self.watchers: dict[str, tuple[watching.Watcher, int]] = {}
        self.phase = Phase.STARTING
        self.lifecycle = Lifecycle()
        self.scope: epochs.Scope | None = None
        self.incarnation = 0
        self.run: Run | None = None
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
        self.siblings: siblings.Siblings | None = None
        self.recycled = ""
        self.keeper: snapshots.Keeper | None = None
        self.snapshot: Entry | None = None
        self._told = False

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
        await ending.stop(target, self.ref.path, deadline_s)

    @property
    def origin(self) -> Origin:
        """On whose behalf this actor sends what it sends now."""
        return Origin(self.ref.path, self.incarnation, self.run.cause_id if self.run else 0)

    @property
    def ended(self) -> bool:
        """Whether it has ended for good."""
        return self.phase is Phase.ENDED

    def start(self) -> None:
        """Start the next incarnation."""
        self.incarnation += 1
        self.phase = Phase.STARTING
        self.lifecycle, self.scope = Lifecycle(), None
        self._failure = None
        self._drain = True
        self._told = False
        self.restart_alarm = None
        task = self.host.loop.create_task(self._live(), name=f"{self.ref.path}#{self.incarnation}")
        self._task = task
        self.host.tasks[task] = self.ref.path
        task.add_done_callback(self._forget_task)
        self.trace("start", type_=self.spec.actor.__name__)

    def open_wait(self, target: str, reason: str, deadline_s: float, witness: Witness) -> Wait:
        """Begin a wait of this actor; the caller closes it in `host.waits`."""
        return self.host.waits.open(
            self.ref.path,
            target,
            reason,
            deadline_s,
            witness,
            incarnation=self.incarnation,
            cause_id=self.run.cause_id if self.run else 0,
        )

    def is_below(self, other: Cell) -> bool:
        """Whether `other` is an ancestor of this cell."""
        above = self.parent
        while above is not None and above is not other:
            above = above.parent
        return above is other

    def leave(self, ask_id: int) -> None:
        """Stop working on an ask that nobody waits for any more. One still queued is skipped later."""
        if self.run is not None and self.run.cause_id == ask_id:
            self.interrupt(Interruption.LEFT)

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
        if self.run is not None and self.run.cause_id:  # a hook has a limit of its own
            self.interrupt(Interruption.STOPPED)

    def release_task(self) -> asyncio.Task[None] | None:
        """Return the task of this incarnation, which is the cell's no more."""
        task, self._task, self.run = self._task, None, None
        return task

    def wake(self) -> None:
        """Have the actor look up from its mailbox: something else has changed."""
        self.mailbox.put_system(ending.WAKE)

    def wait_for_end(self, wait: Wait) -> None:
        """Have `wait` end when this cell has ended for good."""
        if self.ended:
            wait.succeed(None)
        else:
            self.end_waits.append(wait)

    def wait_for_epoch(self, epoch: int, wait: Wait) -> None:
        """Have `wait` end when `epoch` is over here; at once if it is, or the actor is in shutdown."""
        if self.ended or (self.phase is Phase.STOPPING and not self.recycled):
            wait.fail(ActorDown(self.ref.path, "in shutdown"))
        else:
            self.epoch_waits.add(epoch, wait, self.lifecycle)

    def move(self, event: Event, epoch: int | None = None, *, failure: str = "") -> None:
        """Move the lifecycle.

        Raises:
            IllegalTransition: the table of states does not allow it.
        """
        self.lifecycle = advance(self.lifecycle, event, epoch, failure=failure)
        self.trace("state", type_=str(self.lifecycle), detail=self.lifecycle.failure or "")
        if event is not Event.STOP:  # an epoch that is cut short is not over: its waits end with the actor
            self.epoch_waits.moved(self.lifecycle)

    def trace(self, kind: str, *, msg_id: int = 0, type_: str = "", detail: str = "") -> None:
        """Record an event of this actor."""
        if self.host.tracer is not None:
            cause_id = self.run.cause_id if self.run else 0
            self.host.tracer.emit(
                kind,
                self.ref.path,
                self.incarnation,
                msg_id=msg_id,
                cause_id=cause_id,
                type_=type_,
                detail=detail,
            )

    # One incarnation

    async def _live(self) -> None:
        """Run one incarnation from its start to its end. Never raises."""
        INSIDE.set((self.host, self.ref.path))
        incarnation = self.incarnation
        reason, failed = "stopped", False
        ctx = Context(self, incarnation)
        try:
            await asyncio.sleep(0)  # a task that is started eagerly must be known to the cell first
            actor = self.spec.actor(*self.spec.args, **self.spec.kwargs)
            await self._serve_until_end(actor, ctx)
        except BaseException as error:  # noqa: BLE001 - SystemExit and foreign cancellation end an actor too
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

    async def _serve_until_end(self, actor: Actor, ctx: Context) -> None:
        try:
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
            await self._serve(actor, ctx)
        except BaseException as error:
            await self._on_failure(actor, error, ctx)
            raise
        await self._hook("on_stop", actor.on_stop(ctx))

    async def _on_failure(self, actor: Actor, error: BaseException, ctx: Context) -> None:
        try:
            await self._hook("on_failure", actor.on_failure(error, ctx))
        except BaseException as another:  # noqa: BLE001 - the first error stays the reason
            error.add_note(f"on_failure raised {describe(another)}")

    async def _serve(self, actor: Actor, ctx: Context) -> None:
        """Handle one message after the other until the actor is to stop."""
        task, turn = asyncio.current_task(), 0
        while True:
            if task is not self._task:
                raise _Abandoned
            if self._failure is not None:
                raise self._failure
            if self.phase is Phase.STOPPING and not self._drain:
                return
            entry = self.mailbox.get()
            if entry is ending.WAKE:
                continue
            if entry is not None:
                await self._handle(actor, entry, ctx)
                turn = (turn + 1) % TURN_MESSAGES
                if not turn:
                    await asyncio.sleep(0)
            elif self.phase is Phase.STOPPING:
                return
            else:
                await self.mailbox.wait()

    async def _handle(self, actor: Actor, entry: Entry, ctx: Context) -> None:
        """Run the handler of one message and answer, if an answer is expected."""
        delivery, incarnation = self.host.delivery, self.incarnation
        deadline_s = self.host.loop.time() + self.spec.handler_timeout_s
        if entry.ask_id:
            ask = delivery.asks.get(entry.ask_id)
            if ask is None or not ask.wait.open:
                delivery.dead_letter(entry.tag, "expired in the mailbox", self.origin, entry.msg_id)
                return
            ask.incarnation = incarnation
            deadline_s = ask.wait.deadline_s
        try:
            envelope = delivery.codec.decode(entry.frame)
        except ProtocolError as error:
            handling.refuse(self, entry, error)
            return
        self.trace("receive", msg_id=envelope.msg_id, type_=entry.tag, detail=envelope.sender)
        try:
            call = handling.bind(self, actor, envelope.body, ctx)
        except Refused as refusal:
            handling.refuse(self, entry, refusal)
            return
        try:
            answer = await self._guard(call, envelope.msg_id, deadline_s)
            if entry.ask_id:
                handling.answer(self, entry.ask_id, incarnation, answer)
        except _Interrupted as interruption:
            delivery.dead_letter(entry.tag, f"handler ended: {interruption}", self.origin, entry.msg_id)
        except BaseException as error:
            if entry.ask_id:
                self._told = True
                delivery.fail(self, entry.ask_id, incarnation, failure_of(error))
            if type(envelope.body) not in handling.RUNTIME_HANDLERS or not isinstance(error, Exception):
                raise
        finally:
            self.trace("done", msg_id=envelope.msg_id, type_=entry.tag)

    async def _guard(self, call: Coroutine[Any, Any, Any], cause_id: int, deadline_s: float) -> Any:
        """Await a handler or hook under its deadline (law 5).

        Raises:
            _Interrupted: the runtime cancelled it and it has unwound.
            _Abandoned: the incarnation was given up while it ran.
        """
        task = asyncio.current_task()
        if task is not self._task:
            call.close()
            raise _Abandoned
        run = Run(self, cause_id, deadline_s)
        self.run = run
        self.host.deadlines.add(deadline_s, run)
        try:
            answer = await call
        except asyncio.CancelledError:
            if run.interrupted is None or (task is not None and task.cancelling() > 1):
                raise  # not the runtime's doing, or not only: whoever cancels the task ends the actor
            raise _Interrupted(run.interrupted.value) from None
        finally:
            if run.interrupted is not None and task is not None:
                task.uncancel()
            run.open = False
            if self.run is run:
                self.run = None
            self.host.deadlines.note_closed()
        if task is not self._task:
            raise _Abandoned  # the actor has ended meanwhile: this task must touch nothing any more
        return answer

    async def _hook(self, name: str, call: Coroutine[Any, Any, None]) -> None:
        now_s = self.host.loop.time()
        limit_s = self.spec.handler_timeout_s
        if self.stop_alarms:
            limit_s = min(limit_s, HOOK_SHARE * max(0.0, self.stop_deadline_s - now_s))
        try:
            await self._guard(call, 0, now_s + limit_s)
        except _Interrupted as interruption:
            raise ActorError(f"{name} was interrupted: {interruption}") from None

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self.host.tasks.pop(task, None)
        self.host.strays.pop(task, None)
        if task is self._task:  # `_live` never raises and was not abandoned: a fault of the runtime itself
            error = None if task.cancelled() else task.exception()
            ending.finalise(self, f"runtime fault: {describe(error)}", failed=True)
