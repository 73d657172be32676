"""One running actor: the only place that awaits a mailbox.

A cell outlives the incarnations of its actor: it keeps the address, the mailbox and the place in the tree,
and starts the next incarnation when its parent's supervision says so. It decides nothing itself that a
table or a pure function can decide: `lifecycle.advance`, `supervision.on_child_exit`.

Who calls whom, for one request:

    Delivery.begin_ask -> Mailbox.put          the request is admitted
    Cell._serve -> Mailbox.get -> Cell._handle  a handler runs, under a deadline
    Delivery.reply -> Wait.succeed             whoever asked goes on
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from actors import epochs, handling
from actors.context import Context
from actors.delivery import Ask, Entry
from actors.errors import ActorDown, ActorError, MessageError, Refused
from actors.exits import end_reason, pass_on
from actors.host import (
    INSIDE,
    Abandoned,
    Alarm,
    ChildSpec,
    Host,
    Interrupted,
    Interruption,
    Phase,
    Run,
    Vigil,
)
from actors.lifecycle import Event, Lifecycle, State, advance
from actors.messages import ActorRef, Down, Wake
from actors.reasons import describe, failure_of
from actors.supervision import GiveUp, Restart, on_child_exit
from actors.waits import OUTSIDE, Origin, Wait, Witness
from actors.wire import Codec

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actors.actor import Actor
    from actors.mailbox import Mailbox

__all__ = ["Cell", "spawn", "stop"]

LOGGER: Final = logging.getLogger("actors")

# How long a handler that was cancelled may take to unwind before its incarnation is given up.
UNWIND_S: Final = 0.5
# Shares of a stop's budget: until when the queue is drained, and how long a hook may take of what is left.
DRAIN_SHARE: Final = 0.4
HOOK_SHARE: Final = 0.5
CHILDREN_SHARE: Final = 0.8
STOP_S: Final = 5.0
# After so many messages in a row an actor lets others run, even if no handler of its own ever suspends.
TURN_MESSAGES: Final = 64
# Ends are carried out recursively; nobody needs a deeper tree.
DEPTH_MAX: Final = 100
# A path travels several times in one head.
PATH_CHARS_MAX: Final = 1024


class Cell:
    """An actor's place in the tree, over all its incarnations."""

    takes_asks = True

    def __init__(
        self,
        host: Host,
        parent: Cell | None,
        name: str,
        spec: ChildSpec,
        mailbox: Mailbox[Entry],
    ) -> None:
        host.uids += 1
        self.host = host
        self.parent = parent
        self.spec = spec
        self.ref: ActorRef[Any] = ActorRef(f"{parent.ref.path if parent else ''}/{name}", host.uids)
        self.path = self.ref.path
        self.name = name
        self.depth: int = parent.depth + 1 if parent is not None else 1
        self.mailbox = mailbox
        self.asks: dict[int, Ask] = {}
        self.children: dict[str, Cell] = {}
        self.watchers: dict[str, tuple[Cell, int]] = {}
        self.phase = Phase.STARTING
        self.lifecycle = Lifecycle()
        self.scope: epochs.Scope | None = None
        self.incarnation = 0
        self.run: Run | None = None
        self._vigil = Vigil(self)
        self._unasked = Origin(self.ref.path)
        self.start_wait: Wait | None = None
        self._end_waits: list[Wait] = []
        self._epoch_waits = epochs.EpochWaits()
        self._task: asyncio.Task[None] | None = None
        self._exits_s: list[float] = []
        self._failure: BaseException | None = None
        self._drain = True
        self._stop_alarms: list[Alarm] = []
        self._stop_deadline_s = 0.0
        self._restart_alarm: Alarm | None = None
        self._watched: list[Cell] = []
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
        return await spawn(self.host, self, name, spec, mailbox, deadline_s)

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have this incarnation hear of the ends of `ref`."""
        target = self.host.cells.get(ref.path)
        if target is not None and target.ref == ref:
            target.watchers[self.ref.path] = (self, self.incarnation)
            self._watched.append(target)
            self.trace("watch", type_=ref.path)
            if target.phase is Phase.RESTARTING:
                down = Down(ref, target.incarnation, "between two lives", restarting=True)
                self.host.delivery.tell_system(self.origin, self, down)
        else:
            self.host.delivery.tell_system(self.origin, self, Down(ref, 0, "no such actor", restarting=False))

    async def stop_below(self, target: Cell, deadline_s: float) -> None:
        """Stop an actor below and wait for its end."""
        await stop(target, self.origin, deadline_s)

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
        self._unasked = Origin(self.ref.path, self.incarnation)
        self.phase = Phase.STARTING
        self.lifecycle, self.scope = Lifecycle(), None
        self._failure = None
        self._told = False
        self._restart_alarm = None
        self._task = self.host.start_task(self._live(), self, self._forget_task)
        self.trace("start", type_=self.spec.actor.__name__)

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
            self.abandon(f"a handler did not end within {UNWIND_S} s of being cancelled")

    def fail_from_child(self, reason: str) -> None:
        """Fail because a child is lost for good and its supervision says `escalate`."""
        if self.phase in {Phase.STARTING, Phase.LIVE} and self._failure is None:
            self._failure = ActorError(reason)
            self.interrupt(Interruption.FAILED)
            self.mailbox.put_urgent(_WAKE)

    def begin_stop(self, deadline_s: float, reason: str = "stopped") -> None:
        """Start an ordinary stop that has ended by `deadline_s`, in the worst case by `abandon`."""
        if self.ended or (self._stop_alarms and deadline_s >= self._stop_deadline_s):
            return
        self.mailbox.close()
        self._stop_deadline_s = deadline_s
        budget_s = max(0.0, deadline_s - self.host.loop.time())
        self._stop_alarms += [
            self.host.alarm(DRAIN_SHARE * budget_s, self._stop_draining),
            self.host.alarm(budget_s, lambda: self.abandon(f"{reason}, not in time")),
        ]
        if self.phase is Phase.RESTARTING:
            self._finalise(reason, failed=False)
            return
        self.phase = Phase.STOPPING
        self.mailbox.put_urgent(_WAKE)

    def _stop_draining(self) -> None:
        self._drain = False
        self.mailbox.put_urgent(_WAKE)
        if self.run is not None and self.run.cause_id:  # a hook has a limit of its own
            self.interrupt(Interruption.STOPPED)

    def abandon(self, reason: str) -> None:
        """End this incarnation now, whatever its task is doing; the task is left behind if it must be."""
        if self.ended or self.phase is Phase.RESTARTING:
            return
        self._abandon_children(reason)
        task, self._task, self.run = self._task, None, None
        if task is not None and not task.done():
            self.host.strays[task] = self.ref.path
            task.cancel()
        self._finalise(reason, failed=not self._stop_alarms)

    def _abandon_children(self, reason: str) -> None:
        for child in reversed(list(self.children.values())):
            child.begin_stop(self.host.loop.time(), reason)  # so that it is not started again
            child.abandon(reason)

    def wait_for_end(self, wait: Wait) -> None:
        """Have `wait` end when this cell has ended for good."""
        if self.ended:
            wait.succeed(None)
        else:
            self._end_waits.append(wait)

    def wait_for_epoch(self, epoch: int, wait: Wait) -> None:
        """Have `wait` end when `epoch` is over here; at once if it is, or the actor is in shutdown."""
        if self.ended or self.phase is Phase.STOPPING:
            wait.fail(ActorDown(self.ref.path, "in shutdown"))
        else:
            self._epoch_waits.add(epoch, wait, self.lifecycle)

    def move(self, event: Event, epoch: int | None = None, *, failure: str = "") -> None:
        """Move the lifecycle.

        Raises:
            IllegalTransition: the table of states does not allow it.
        """
        self.lifecycle = advance(self.lifecycle, event, epoch, failure=failure)
        self.trace("state", type_=str(self.lifecycle), detail=self.lifecycle.failure or "")
        if event is not Event.STOP:  # an epoch that is cut short is not over: its waits end with the actor
            self._epoch_waits.moved(self.lifecycle)

    def trace(self, kind: str, *, msg_id: int = 0, type_: str = "", detail: str = "") -> None:
        """Record an event of this actor."""
        if self.host.tracer is not None:
            origin = self.origin
            self.host.tracer.emit(
                kind, origin.name, origin.incarnation, msg_id, origin.cause_id, type_, detail
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
            await self._serve_until_end(actor, ctx)
        except BaseException as error:  # noqa: BLE001 - SystemExit and foreign cancellation end an actor too
            pass_on(error, self.host.loop)
            reason, failed = describe(error), True
            self._log(error)
        if self.incarnation == incarnation and self._task is asyncio.current_task():
            await self._terminate()
        if self.incarnation == incarnation and self._task is asyncio.current_task():
            stopping = bool(self._stop_alarms)
            reason = f"{reason} (while stopping)" if failed and stopping else reason
            self._finalise(reason, failed=failed and not stopping)

    def _log(self, error: BaseException) -> None:
        """Log what nobody would hear of otherwise: an error that is not the answer to an ask or a spawn."""
        if not (self._told or self.start_wait or error is self._failure) and isinstance(error, Exception):
            LOGGER.error("%s failed: %s", self.ref, describe(error), exc_info=error)

    async def _serve_until_end(self, actor: Actor, ctx: Context) -> None:
        try:
            await self._hook("on_start", actor.on_start(ctx))
            await self._hook("joining the epoch", epochs.join_running(self))
            if self.phase is Phase.STARTING:
                self.phase = Phase.LIVE
            if self.start_wait is not None:
                self.start_wait.succeed(None)
                self.start_wait = None
            await self._serve(actor, ctx)
        except BaseException as error:
            await self._on_failure(actor, error, ctx)
            raise
        await self._hook("on_stop", actor.on_stop(ctx))

    async def _on_failure(self, actor: Actor, error: BaseException, ctx: Context) -> None:
        pass_on(error, self.host.loop)
        try:
            await self._hook("on_failure", actor.on_failure(error, ctx))
        except BaseException as another:  # noqa: BLE001 - the first error stays the reason
            pass_on(another, self.host.loop)
            error.add_note(f"on_failure raised {describe(another)}")

    async def _serve(self, actor: Actor, ctx: Context) -> None:  # noqa: C901 - one loop, read from top to bottom; each further call would cost every message
        """Handle one message after the other until the actor is to stop."""
        turn, mailbox, loop, task = 0, self.mailbox, self.host.loop, asyncio.current_task()
        if task is None or task is not self._task:
            raise Abandoned
        while True:
            entry = mailbox.get()
            if entry is None:
                if self.phase is Phase.STOPPING:
                    return
                await mailbox.arrival(loop)
                continue
            if entry is _WAKE:
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
            if turn % TURN_MESSAGES == 0:
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
        ask, delivery = entry.ask, self.host.delivery
        if ask is None:
            deadline_s = delivery.clock() + self.spec.handler_timeout_s
            self._vigil.over(deadline_s)
        elif ask.future.done():
            delivery.dead_letter(entry, "expired in the mailbox", self.origin)
            return None
        else:
            ask.incarnation = self.incarnation
            deadline_s = ask.deadline_s  # whose end interrupts the handler: it needs no entry of its own
        if delivery.tracer is not None:
            self.trace("receive", msg_id=entry.msg_id, type_=entry.tag, detail=entry.origin.name)
        try:
            call = handling.bind(self, actor, entry.packed[3], ctx)
        except Refused as refusal:
            handling.refuse(self, entry, refusal)
            return None
        return Run(self, task, entry.msg_id, deadline_s), call

    def _returned(self, run: Run, entry: Entry, answer: Any) -> None:
        """Account for a handler that has returned, and pass its answer on.

        Raises:
            Abandoned: the incarnation was given up meanwhile.
            MessageError: the answer cannot travel.
        """
        delivery, ask = self.host.delivery, entry.ask
        run.end()
        try:
            if ask is not None:
                delivery.answer(run, ask, handling.NO_REPLY if answer is None else answer)
        except MessageError as error:
            self._fail_ask(run, entry, error)
            raise
        finally:
            if delivery.tracer is not None:
                self.trace("done", msg_id=entry.msg_id, type_=entry.tag)
        if run.task is not self._task:
            raise Abandoned

    def _survives(self, run: Run, entry: Entry, error: BaseException) -> bool:
        """Account for a handler that has raised, and say whether the actor lives on."""
        try:
            run.end(error)
        except Interrupted as interruption:
            self.host.delivery.dead_letter(entry, f"handler ended: {interruption}", self.origin)
            return run.task is self._task
        else:
            self._fail_ask(run, entry, error)
            harmless = isinstance(error, Exception) and type(entry.packed[3]) in handling.RUNTIME_HANDLERS
            return harmless and run.task is self._task
        finally:
            self.trace("done", msg_id=entry.msg_id, type_=entry.tag)

    def _fail_ask(self, run: Run, entry: Entry, error: BaseException) -> None:
        if entry.ask is not None:
            self._told = run.task is self._task
            self.host.delivery.answer(run, entry.ask, failure_of(error))

    async def _hook(self, name: str, call: Coroutine[Any, Any, None]) -> None:
        now_s = self.host.loop.time()
        limit_s = self.spec.handler_timeout_s
        if self._stop_alarms:
            limit_s = min(limit_s, HOOK_SHARE * max(0.0, self._stop_deadline_s - now_s))
        task = asyncio.current_task()
        if task is None or task is not self._task:
            call.close()
            raise Abandoned
        run = Run(self, task, 0, now_s + limit_s)
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

    # Its end

    async def _terminate(self) -> None:
        """End the children, in reverse order of their start, and wait until they have ended (law 1)."""
        now_s = self.host.loop.time()
        deadline_s = self._stop_deadline_s if self._stop_alarms else now_s + STOP_S
        self.move(Event.STOP)
        waits = []
        for child in reversed(list(self.children.values())):
            wait = self.open_wait(child.ref.path, "its end", deadline_s, Witness.MONITOR)
            child.wait_for_end(wait)
            child.begin_stop(now_s + CHILDREN_SHARE * max(0.0, deadline_s - now_s), "its parent ended")
            waits.append(wait)
        for wait in waits:
            try:
                await wait.future
            except (ActorError, asyncio.CancelledError):
                continue  # the child is abandoned by its own alarm before this wait can expire
            finally:
                self.host.waits.close(wait)

    def _finalise(self, reason: str, *, failed: bool) -> None:
        """Account for an incarnation's end: a Down for parent and watchers, an answer for each asker."""
        self._abandon_children(reason)  # there are some only when `_terminate` was cut short
        decision = self._decide(reason) if failed else GiveUp(reason)
        restarting = isinstance(decision, Restart)
        starting = self.start_wait is not None
        self.phase = Phase.RESTARTING if restarting else Phase.ENDED
        self._task = self.scope = None
        self.trace("end", type_=self.spec.actor.__name__, detail=reason)
        final = reason if isinstance(decision, Restart) else decision.reason
        self._settle(ActorDown(self.ref.path, final, restarting=restarting))
        if not restarting:
            self._leave_tree(final)
        # One for each end of an incarnation; and one more when a restart that was promised is called off.
        self._announce(Down(self.ref, self.incarnation, final, restarting))
        if isinstance(decision, Restart):
            self.trace("restart", detail=f"in {decision.delay_s:g} s")
            self._restart_alarm = self.host.alarm(decision.delay_s, self.start)
        elif (
            failed
            and not starting
            and self.parent is not None
            and self.spec.supervision
            and self.spec.supervision.escalate
        ):
            self.parent.fail_from_child(f"{self.ref} is lost: {final}")

    def _decide(self, reason: str) -> Restart | GiveUp:
        starting = self.start_wait is not None  # whoever spawns it hears of this, and it is not there
        parent_ends = self.parent is not None and self.parent.phase is Phase.STOPPING
        supervision = self.spec.supervision
        if supervision is None or starting or parent_ends or self._stop_alarms or not self.host.delivery.open:
            return GiveUp(reason)
        now_s = self.host.loop.time()
        decision = on_child_exit(reason, self._exits_s, now_s, supervision)
        self._exits_s = [*(s for s in self._exits_s if now_s - s < supervision.window_s), now_s]
        return decision

    def _settle(self, down: ActorDown) -> None:
        """End every ask that this incarnation owes an answer, and empty its mailbox."""
        for ask in list(self.asks.values()):
            ask.fail(down)
        self.asks.clear()
        for wait in self.host.waits.of(self.ref.path):  # of tasks that a handler has made and left
            wait.fail(down)
        for target in self._watched:
            target.watchers.pop(self.ref.path, None)
        self._watched.clear()
        if self.start_wait is not None:
            self.start_wait.fail(down)
        for entry in self.mailbox.drain():
            if entry.ask is None and entry is not _WAKE:
                self.host.delivery.dead_letter(entry, "actor ended", self.origin)

    def _leave_tree(self, reason: str) -> None:
        self.mailbox.close()
        if self._restart_alarm is not None:
            self._restart_alarm.open = False
        for alarm in self._stop_alarms:
            alarm.open = False
        self.host.delivery.recipients.pop(self.ref.path, None)
        self.host.cells.pop(self.ref.path, None)
        self.host.waits.forget(self.ref.path)
        if self.parent is not None:
            self.parent.children.pop(self.name, None)
        for wait in self._end_waits:
            wait.succeed(None)
        self._end_waits.clear()
        self._epoch_waits.fail(ActorDown(self.ref.path, reason))

    def _announce(self, down: Down) -> None:
        hearers = [cell for cell, life in self.watchers.values() if cell.incarnation == life]
        if self.parent is not None and self.parent not in hearers:
            hearers.append(self.parent)
        for cell in hearers:  # one in shutdown has read its last message; as a parent it waits for the end
            if cell.has_task and cell.lifecycle.state is not State.SHUTDOWN:
                self.host.delivery.tell_system(self.origin, cell, down)

    def _forget_task(self, task: asyncio.Task[None]) -> None:
        self.host.tasks.pop(task, None)
        self.host.strays.pop(task, None)
        error = None if task.cancelled() else task.exception()  # so that asyncio does not miss it
        if task is self._task:  # `_live` has raised and was not abandoned: Ctrl-C, or a fault of the runtime
            self._finalise(end_reason(error), failed=not isinstance(error, KeyboardInterrupt))


async def spawn(
    host: Host,
    parent: Cell | None,
    name: str | None,
    spec: ChildSpec,
    mailbox: Mailbox[Entry],
    deadline_s: float,
) -> ActorRef[Any]:
    """Start an actor under `parent` and wait until it has started.

    Raises:
        ActorDown, Expired: it has not, and is gone.
        ValueError: the name is taken, empty or has a slash.
    """
    name = f"{spec.actor.__name__.lower()}-{host.uids + 1}" if name is None else name
    if not name.isprintable() or not name or "/" in name:
        raise ValueError(f"an actor's name is printable, not empty and has no slash, got {name!r}")
    cell = Cell(host, parent, name, spec, mailbox)
    if cell.ref.path in host.delivery.recipients:
        raise ValueError(f"{cell.ref} exists already: names are unique among living siblings")
    if cell.depth > DEPTH_MAX:
        raise ValueError(f"{cell.ref.path[:40]}... is deeper in the tree than {DEPTH_MAX} levels")
    if len(cell.ref.path) > PATH_CHARS_MAX:
        raise ValueError(f"the path {cell.ref.path[:40]}... is longer than {PATH_CHARS_MAX} characters")
    cell.start_wait = wait = _wait_for_start(cell, deadline_s)  # before anything is registered: it may refuse
    host.cells[cell.ref.path] = cell
    host.delivery.recipients[cell.ref.path] = cell
    if parent is not None:
        parent.children[name] = cell
    cell.start()
    try:
        await wait.future
    except BaseException:
        cell.begin_stop(host.loop.time(), "was not started in time")  # so that it is not started again
        cell.abandon("was not started in time")  # nothing to do when it has ended by itself
        raise
    finally:
        host.waits.close(wait)
    return cell.ref


def _wait_for_start(cell: Cell, deadline_s: float) -> Wait:
    path, parent = cell.ref.path, cell.parent
    if parent is not None:
        return parent.open_wait(path, "its start", deadline_s, Witness.MONITOR)
    return cell.host.waits.open(OUTSIDE, path, "its start", deadline_s, Witness.MONITOR)


async def stop(cell: Cell, waiter: Origin, deadline_s: float) -> None:
    """Stop an actor and return when it has ended; at `deadline_s` it is abandoned, and has ended too."""
    wait = cell.host.waits.open(waiter, cell.ref.path, "its end", deadline_s + UNWIND_S, Witness.MONITOR)
    cell.wait_for_end(wait)
    cell.begin_stop(deadline_s)
    try:
        await wait.future
    finally:
        cell.host.waits.close(wait)


_WAKE: Final = Entry(Codec().pack(Wake()), OUTSIDE, 0)
