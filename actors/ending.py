"""How an incarnation ends, and what its end causes.

    begin_stop        an ordinary stop, with a budget: drain, on_stop, children, and at the end by force
    recycle           the end of one incarnation, because a sibling has failed
    abandon           the end by force, now
    terminate         the children first (law 1)
    finalise          the account: a decision, a Down for parent and watchers, an answer for each asker

Functions of a cell; the part of it that serves messages is `Cell` itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from actors import later, watching
from actors.delivery import Told
from actors.errors import ActorDown, ActorError
from actors.host import Phase
from actors.lifecycle import Event
from actors.messages import Down, Wake
from actors.notes import NOTES_MAX, of_asker, of_end, with_notes
from actors.supervision import GiveUp, Restart, on_child_exit
from actors.waits import OUTSIDE, Witness
from actors.wire import Codec

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.waits import Origin

__all__ = ["UNWIND_S", "WAKE", "abandon", "begin_stop", "finalise", "recycle", "stop", "terminate"]

# How long a handler that was cancelled may take to unwind before its incarnation is given up.
UNWIND_S: Final = 0.5
# Shares of a stop's budget: until when the queue is drained, and how long the children may take.
DRAIN_SHARE: Final = 0.4
CHILDREN_SHARE: Final = 0.8
STOP_S: Final = 5.0
# So many of those who hear of an end are told who had asked them, too: thousands must not take long.
EXPLAINED_MAX: Final = 16

LOGGER: Final = logging.getLogger("actors")
WAKE: Final = Told(Codec().pack(Wake()), OUTSIDE, 0)


async def stop(cell: Cell, waiter: Origin, deadline_s: float) -> None:
    """Stop an actor and return when it has ended; at `deadline_s` it is abandoned, and has ended too."""
    wait = cell.host.waits.open(waiter, cell.ref.path, "its end", deadline_s + UNWIND_S, Witness.MONITOR)
    cell.wait_for_end(wait)
    begin_stop(cell, deadline_s)
    try:
        await wait.future
    finally:
        cell.host.waits.close(wait)


def begin_stop(cell: Cell, deadline_s: float, reason: str = "stopped") -> None:
    """Start an ordinary stop that has ended by `deadline_s`, in the worst case by `abandon`."""
    if cell.ended or (cell.stop_alarms and not cell.recycled and deadline_s >= cell.stop_deadline_s):
        return
    cell.mailbox.close()
    cell.stop_deadline_s = min(deadline_s, cell.stop_deadline_s) if cell.recycled else deadline_s
    cell.recycled = ""  # whatever was planned: it is not started again
    budget_s = max(0.0, deadline_s - cell.host.loop.time())
    cell.stop_alarms += [
        cell.host.alarm(DRAIN_SHARE * budget_s, cell.stop_draining),
        cell.host.alarm(budget_s, lambda: abandon(cell, f"{reason}, not in time")),
    ]
    if cell.phase is Phase.RESTARTING:
        finalise(cell, reason, failed=False)
        return
    cell.phase = Phase.STOPPING
    cell.wake()


def recycle(cell: Cell, reason: str) -> None:
    """Stop this incarnation so that it can be started again; nothing to do when it ends for good anyway.

    What it handles is interrupted and its queue is not drained: like a failure, but `on_stop` is called.
    """
    if cell.stop_alarms:
        return
    cell.recycled = reason
    cell.stop_deadline_s = cell.host.loop.time() + STOP_S
    cell.stop_alarms.append(cell.host.alarm(STOP_S, lambda: abandon(cell, f"{reason}, not in time")))
    cell.phase = Phase.STOPPING
    cell.stop_draining()
    cell.wake()


def abandon(cell: Cell, reason: str) -> None:
    """End this incarnation now, whatever its task is doing; the task is left behind if it must be."""
    if cell.ended or cell.phase is Phase.RESTARTING:
        return
    _abandon_children(cell, reason)
    task = cell.release_task()
    if task is not None and not task.done():
        cell.host.strays[task] = cell.ref.path
        task.cancel()
    finalise(cell, reason, failed=not cell.stop_alarms)


def _abandon_children(cell: Cell, reason: str) -> None:
    for child in reversed(list(cell.children.values())):
        begin_stop(child, cell.host.loop.time(), reason)  # so that it is not started again
        abandon(child, reason)


async def terminate(cell: Cell) -> None:
    """End the children, in reverse order of their start, and wait until they have ended (law 1)."""
    now_s = cell.host.loop.time()
    deadline_s = cell.stop_deadline_s if cell.stop_alarms else now_s + STOP_S
    cell.move(Event.STOP)
    waits = []
    for child in reversed(list(cell.children.values())):
        wait = cell.open_wait(child.ref.path, "its end", deadline_s, Witness.MONITOR)
        child.wait_for_end(wait)
        begin_stop(child, now_s + CHILDREN_SHARE * max(0.0, deadline_s - now_s), "its parent ended")
        waits.append(wait)
    for wait in waits:
        try:
            await wait.future
        except (ActorError, asyncio.CancelledError):
            continue  # the child is abandoned by its own alarm before this wait can expire
        finally:
            cell.host.waits.close(wait)


def finalise(cell: Cell, reason: str, *, failed: bool) -> None:
    """Account for an incarnation's end: a Down for parent and watchers, an answer for each asker."""
    _abandon_children(cell, reason)  # there are some only when `terminate` was cut short
    decision = _decide(cell, reason, failed=failed)
    why = cell.recycled or reason
    _clear_stop(cell)
    restarting = isinstance(decision, Restart)
    starting = cell.start_wait is not None
    cell.release_task()
    cell.phase = Phase.RESTARTING if restarting else Phase.ENDED
    cell.scope = cell.keeper = None
    cell.trace("end", type_=cell.spec.actor.__name__, detail=reason)
    final = why if isinstance(decision, Restart) else decision.reason
    # Of an ordinary end that surprises nobody there is no more to tell.
    told = failed or starting or restarting or bool(cell.asks) or not cell.host.waits.idle(cell.path)
    story = of_end(cell.host.delivery, cell, reason) if told else []
    _settle(cell, story, final, restarting=restarting)
    if not restarting:
        _leave_tree(cell, final, story)
    # One for each end of an incarnation; and one more when a restart that was promised is called off.
    _announce(cell, Down(cell.ref, cell.incarnation, final, restarting))
    if isinstance(decision, Restart):
        cell.trace("restart", detail=f"in {decision.delay_s:g} s")
        if cell.siblings is None:
            cell.restart_alarm = cell.host.alarm(decision.delay_s, cell.start)
    elif failed and not starting and cell.spec.supervision is not None:
        LOGGER.warning("%s is lost for good: %s", cell.ref, final)
        if cell.parent is not None and cell.spec.supervision.escalate:
            cell.parent.fail_from_child(f"{cell.ref} is lost: {final}")
    if not restarting:
        watching.forget(cell)
    if cell.siblings is not None:
        cell.siblings.go_on()


def _decide(cell: Cell, reason: str, *, failed: bool) -> Restart | GiveUp:
    starting = cell.start_wait is not None  # whoever spawns it hears of this, and it is not there
    parent_ends = cell.parent is not None and cell.parent.phase is Phase.STOPPING
    supervision = cell.spec.supervision
    stopping = bool(cell.stop_alarms) and not cell.recycled
    for_good = starting or parent_ends or stopping or not cell.host.delivery.open
    if supervision is None or for_good or not (failed or cell.recycled):
        return GiveUp(reason)
    if cell.siblings is not None and cell.recycled:
        cell.siblings.is_down(cell)
        return Restart(0.0)
    if cell.siblings is not None:
        return cell.siblings.fail(cell, reason)
    now_s = cell.host.loop.time()
    decision = on_child_exit(reason, cell.exits_s, now_s, supervision)
    cell.exits_s = [*(s for s in cell.exits_s if now_s - s < supervision.window_s), now_s]
    return decision


def _settle(cell: Cell, story: list[str], final: str, *, restarting: bool) -> None:
    """End every ask that this incarnation owes an answer, and empty its mailbox."""
    path = cell.ref.path
    for number, ask in enumerate(list(cell.asks.values())):
        asker = of_asker(cell.host.delivery, ask) if number < EXPLAINED_MAX else []
        ask.fail(with_notes(ActorDown(path, final, restarting=restarting), [*story, *asker][:NOTES_MAX]))
    cell.asks.clear()
    waits = cell.host.waits.of(path)  # of tasks that a handler has made and left
    if cell.start_wait is not None:
        waits.append(cell.start_wait)
    for wait in waits:
        wait.fail(with_notes(ActorDown(path, final, restarting=restarting), story))
    watching.unwatch_all(cell)
    later.forget(cell)
    for entry in cell.mailbox.drain():
        if isinstance(entry, Told) and entry is not WAKE:
            cell.host.delivery.dead_letter(entry, "actor ended", cell.origin)


def _clear_stop(cell: Cell) -> None:
    for alarm in cell.stop_alarms:
        alarm.open = False
    cell.stop_alarms.clear()
    cell.recycled = ""


def _leave_tree(cell: Cell, reason: str, story: list[str]) -> None:
    cell.mailbox.close()
    cell.snapshot = None
    if cell.restart_alarm is not None:
        cell.restart_alarm.open = False
    if cell.siblings is not None:
        cell.siblings.leave(cell)
    cell.host.delivery.recipients.pop(cell.ref.path, None)
    cell.host.delivery.remember_end(cell.ref, reason, story)
    cell.host.cells.pop(cell.ref.path, None)
    cell.host.waits.forget(cell.ref.path)
    if cell.parent is not None:
        cell.parent.children.pop(cell.name, None)
    for wait in cell.end_waits:
        wait.succeed(None)
    cell.end_waits.clear()
    cell.epoch_waits.fail(with_notes(ActorDown(cell.ref.path, reason), story))


def _announce(cell: Cell, down: Down) -> None:
    hearers = [watcher for watcher, life in cell.watchers.values() if watcher.incarnation == life]
    if cell.parent is not None and cell.parent not in hearers:
        hearers.append(cell.parent)
    for hearer in hearers:  # a parent in shutdown hears nothing more, but waits for the end
        if hearer.hears:
            cell.host.delivery.tell_system(cell.origin, hearer, down)
