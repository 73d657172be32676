"""What must hold of a run, by a look inside: while it goes on, and at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.cell import Cell
from actors.host import UNWIND_TURNS, Phase
from actors.simulation.observer import AskLedger, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.host import Host
    from actors.simulation.run import Simulation

__all__ = ["leftovers", "lost", "overdue"]

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
        if run.deadline_s + UNWIND_S < now_s - SLACK_S:
            yield f"a handler of {cell.ref} is at work at {now_s:.3f}, its deadline was {run.deadline_s:.3f}"


def lost(host: Host) -> Iterator[str]:
    """Yield open asks that nobody works on; asked when all tasks are blocked."""
    for ask_id, ask in host.delivery.asks.items():
        cell = ask.recipient
        idle = isinstance(cell, Cell) and cell.phase is Phase.LIVE and cell.run is None
        if not ask.future.done() and idle and not len(cell.mailbox):
            yield f"ask {ask_id} is open, and {cell.ref} has an empty mailbox and nothing to do"


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
    assert isinstance(host.cells, Ledger)  # noqa: S101 - put there by the run
    for cell in host.cells.ever:
        if len(cell.mailbox):
            yield f"{len(cell.mailbox)} messages lie in the mailbox of {cell.ref}, which has ended"
        if cell.asks:
            yield f"{cell.ref} still owes {len(cell.asks)} answers"
        if cell.children:
            yield f"{cell.ref} has ended and still has children: {', '.join(cell.children)}"


def _asks(host: Host) -> Iterator[str]:
    asks = host.delivery.asks
    assert isinstance(asks, AskLedger)  # noqa: S101 - put there by the run
    for ask_id, begun in asks.begun.items():
        ended = asks.ended.get(ask_id, [])
        if begun != 1 or len(ended) != 1:
            yield f"ask {ask_id} began {begun} times and ended {len(ended)} times: {ended}"
