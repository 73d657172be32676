"""What must hold of a run, by a look inside: while it goes on, and at its end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from actors.cell import Cell
from actors.host import UNWIND_TURNS, Phase
from actors.lifecycle import State
from actors.simulation.observer import AskLedger, CellLedger
from actors.waits import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.host import Host
    from actors.simulation.run import Simulation

__all__ = ["SLACK_S", "conserved", "leftovers", "lost", "overdue"]

# A handler that was interrupted has this long to unwind before its actor is given up.
UNWIND_S: Final = 0.5
SLACK_S: Final = 1e-6


def overdue(host: Host) -> Iterator[str]:
    """Yield the waits, asks and handlers that should have ended; asked before the clock moves on."""
    now_s = host.loop.time()
    for wait in host.waits:
        if not wait.future.done() and wait.deadline_s < now_s - SLACK_S:
            yield f"{wait} is open at {now_s:.3f}, its deadline was {wait.deadline_s:.3f}"
    for ask_id, ask in host.delivery.asks.items():
        if not ask.future.done() and host.delivery.locate(ask.recipient.ref) is not ask.recipient:
            yield f"ask {ask_id} is open at {now_s:.3f}, and {ask.recipient.ref} has ended"
    for cell in host.cells.values():
        run = cell.run
        # One that is given up has some turns of the loop left, however long a late loop takes for them.
        if run is None or not run.open or run.turns_left < UNWIND_TURNS:
            continue
        deadline_s = min(run.deadline_s, _asks_of(host).ended_s.get(run.cause_id, math.inf))
        if deadline_s + UNWIND_S < now_s - SLACK_S:
            yield (
                f"a handler of {cell.ref} is at work at {now_s:.3f}; "
                f"its deadline, or the end of its ask, was at {deadline_s:.3f}"
            )


def conserved(run: Simulation) -> Iterator[str]:
    """Yield what is there too often or too rarely; asked before the clock moves on."""
    yield from (fault for cell, capacity in _cells_of(run.host).ever for fault in _credits(cell, capacity))
    jobs = run.executor.statistics()
    if jobs["queued"] and jobs["running"] < run.executor.workers:
        yield f"{jobs['queued']} jobs wait while {jobs['running']} of {run.executor.workers} are at work"
    wanted = sum(wait.witness is Witness.JOB_SLOT for wait in run.host.waits) + run.loop.errands()
    if jobs["queued"] + jobs["running"] > wanted:
        yield f"{jobs['queued'] + jobs['running']} jobs hold places, and only {wanted} are waited for"


def _credits(cell: Cell, capacity: int) -> Iterator[str]:
    """The credit that a mailbox has given is what lies in it, in bytes and in messages."""
    mailbox = cell.mailbox
    lane = list(mailbox._user)  # noqa: SLF001 - what is counted is compared with what is there
    taken = sum(not entry.reserved for entry in lane)
    if taken > max(capacity, mailbox.capacity):
        yield f"the mailbox of {cell.ref} holds {taken} messages, its capacity is {capacity}"
    held = sum(entry.nbytes for entry in lane)
    if mailbox.bytes_used != held:
        yield f"the mailbox of {cell.ref} has given credit for {mailbox.bytes_used} bytes and holds {held}"
    admitted = sum(entry.nbytes for entry in lane if not entry.reserved)
    if taken > 1 and admitted > mailbox.bytes_max:
        yield f"the mailbox of {cell.ref} holds {admitted} bytes, its limit is {mailbox.bytes_max}"


def lost(host: Host) -> Iterator[str]:
    """Yield what waits although nothing is on its way; asked when all tasks are blocked."""
    for ask_id, ask in host.delivery.asks.items():
        cell = ask.recipient
        if not ask.future.done() and isinstance(cell, Cell) and _idle(cell):
            yield f"ask {ask_id} is open, and {cell.ref} has an empty mailbox and nothing to do"
    for wait in host.waits:
        if (
            not wait.future.done()
            and wait.witness is Witness.MONITOR
            and wait.target not in host.delivery.recipients
        ):
            yield f"{wait} is open, and {wait.target} has ended"
    for cell in host.cells.values():
        if cell.parent is not None and _idle(cell) and _runs(cell) and not _runs(cell.parent):
            yield f"{cell.ref} is left in {cell.lifecycle}, and {cell.parent.ref} is {cell.parent.lifecycle}"


def _idle(cell: Cell) -> bool:
    return cell.phase is Phase.LIVE and cell.run is None and not len(cell.mailbox)


def _runs(cell: Cell) -> bool:
    return cell.lifecycle.state is State.RUNNING


def leftovers(run: Simulation) -> Iterator[str]:
    """Yield what is left when everything has ended and time has passed."""
    host = run.host
    yield from (f"{cell.ref} has not ended ({cell.phase.value})" for cell in host.cells.values())
    yield from (f"{wait} was never closed" for wait in host.waits)
    yield from (f"a task of {path} is left" for path in [*host.tasks.values(), *host.strays.values()])
    yield from (f"task {task.get_name()} is left" for task in run.loop.tasks if not task.done())
    yield from (f"job {name} holds its place" for name in run.executor.leftovers())
    if count := len(host.deadlines):
        yield f"{count} deadlines are still open"
    if count := run.loop.timers():
        yield f"{count} timers are still set"
    yield from _mailboxes(host)
    yield from _asks(host)


def _mailboxes(host: Host) -> Iterator[str]:
    for cell, _ in _cells_of(host).ever:
        yield from _credits(cell, cell.mailbox.capacity)
        if len(cell.mailbox):
            yield f"{len(cell.mailbox)} messages lie in the mailbox of {cell.ref}, which has ended"
        if cell.asks:
            yield f"{cell.ref} still owes {len(cell.asks)} answers"
        if cell.children:
            yield f"{cell.ref} has ended and still has children: {', '.join(cell.children)}"


def _asks(host: Host) -> Iterator[str]:
    asks = _asks_of(host)
    for ask_id, begun in asks.begun.items():
        ended = asks.ended.get(ask_id, [])
        if begun != 1 or len(ended) != 1:
            yield f"ask {ask_id} began {begun} times and ended {len(ended)} times: {ended}"


def _asks_of(host: Host) -> AskLedger:
    assert isinstance(host.deadlines.waits, AskLedger)  # noqa: S101 - put there by the run
    return host.deadlines.waits


def _cells_of(host: Host) -> CellLedger:
    assert isinstance(host.cells, CellLedger)  # noqa: S101 - put there by the run
    return host.cells
