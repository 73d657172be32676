"""A picture of a living system: plain data, ready for JSON, which refers to nothing that lives.

The picture of a system, times in seconds from the moment it was taken, rounded to milliseconds:

    format      "actors-picture-1"
    system      its name
    pid         of its process
    time        seconds since 1970
    loop        answers (bool), silent_s, and when it does not answer: actor, place
    statistics  as `ActorSystem.statistics`; open_waits are those that nothing has ended yet
    tree        the topmost actors
    waits       those that are open, the oldest first, `WAITS_MAX` at most
    jobs        those that actors wait for: actor, name, message, since_s, left_s, seen
    left_out    how many actors and waits are not in it, because there are too many

An actor of the tree: path, actor (its class), state, phase, incarnation, queued (messages), queued_bytes,
capacity, handles (null, or message, type, sender, since_s, left_s; message 0 is a hook), waits (how many),
wait (null, or its oldest one), children.

A wait: waiter, incarnation, target, reason, message (which is being handled), since_s, left_s.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.host import Run
    from actors.system import ActorSystem
    from actors.waits import Wait, WaitTable

__all__ = ["ACTORS_MAX", "FORMAT", "WAITS_MAX", "picture"]

FORMAT: Final = "actors-picture-1"
# A picture is taken in the event loop, which must go on soon: these take some milliseconds.
ACTORS_MAX: Final = 1_000
WAITS_MAX: Final = 300


def picture(system: ActorSystem) -> dict[str, Any]:
    """Take the picture of a system: in its event loop, where nothing changes meanwhile.

    Raises:
        SystemClosed: the system was never opened.
    """
    host = system.host
    now_s = host.loop.time()
    # Of several asks at once an answered one stays listed until those before it have their answers too.
    waits, cells = [wait for wait in host.waits if wait.open], dict(host.cells)
    budget = [ACTORS_MAX]
    tree = [_actor(cell, host.waits, now_s, budget) for cell in cells.values() if cell.parent is None]
    return {
        "format": FORMAT,
        "system": system.name,
        "pid": os.getpid(),
        "time": round(time.time(), 3),
        "loop": {"answers": True, "silent_s": 0.0, "actor": "", "place": ""},
        "statistics": system.statistics() | {"open_waits": len(waits)},
        "tree": [node for node in tree if node is not None],
        "waits": [_wait(wait, now_s) for wait in waits[:WAITS_MAX]],
        "jobs": [
            _job(wait, host.waits, now_s) for wait in waits[:WAITS_MAX] if wait.wait_id in host.waits.jobs
        ],
        "left_out": {"actors": max(0, len(cells) - ACTORS_MAX), "waits": max(0, len(waits) - WAITS_MAX)},
    }


def _actor(cell: Cell, waits: WaitTable, now_s: float, budget: list[int]) -> dict[str, Any] | None:
    """One actor with all below it, as far as the budget of actors goes."""
    if budget[0] <= 0:
        return None
    budget[0] -= 1
    own = [wait for wait in waits.of(cell.path) if wait.open]
    run = cell.run
    children = [_actor(child, waits, now_s, budget) for child in list(cell.children.values())]
    return {
        "path": cell.path,
        "actor": cell.spec.actor.__name__,
        "state": str(cell.lifecycle),
        "phase": cell.phase.value,
        "incarnation": cell.incarnation,
        "queued": len(cell.mailbox),
        "queued_bytes": cell.mailbox.bytes_used,
        "capacity": cell.mailbox.capacity,
        "handles": None if run is None else _run(run, now_s),
        "waits": len(own),
        "wait": _wait(own[0], now_s) if own else None,
        "children": [child for child in children if child is not None],
    }


def _run(run: Run, now_s: float) -> dict[str, Any]:
    entry = run.entry
    return {
        "message": run.cause_id,
        "type": "" if entry is None else entry.tag,
        "sender": "" if entry is None else entry.origin.name,
        "since_s": _seconds(now_s - run.begun_s),
        "left_s": _seconds(run.deadline_s - now_s),
    }


def _wait(wait: Wait, now_s: float) -> dict[str, Any]:
    return {
        "waiter": wait.waiter,
        "incarnation": wait.origin.incarnation,
        "target": wait.target,
        "reason": wait.reason,
        "message": wait.origin.cause_id,
        "since_s": _seconds(now_s - wait.since_s),
        "left_s": _seconds(wait.deadline_s - now_s),
    }


def _job(wait: Wait, waits: WaitTable, now_s: float) -> dict[str, Any]:
    job = waits.jobs.get(wait.wait_id)
    return {
        "actor": wait.waiter,
        "name": wait.target.removeprefix("job "),
        "message": wait.origin.cause_id,
        "since_s": _seconds(now_s - wait.since_s),
        "left_s": _seconds(wait.deadline_s - now_s),
        "seen": "" if job is None else job.last_seen(),
    }


def _seconds(span_s: float) -> float:
    return round(max(0.0, span_s), 3)
