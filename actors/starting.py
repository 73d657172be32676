"""How an actor comes into the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors import ending
from actors.waits import Wait, Witness

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.messages import ActorRef

__all__ = ["start"]

# Ends are carried out recursively; nobody needs a deeper tree.
DEPTH_MAX: Final = 100
# A path travels several times in one head.
PATH_CHARS_MAX: Final = 1024


async def start(cell: Cell, deadline_s: float) -> ActorRef[Any]:
    """Put a new cell into the tree, and wait until its actor has started.

    Raises:
        ActorDown, Expired: it has not, and is gone.
        ValueError: the name is taken, empty or has a slash.
    """
    _check_place(cell)
    host, path = cell.host, cell.ref.path
    cell.start_wait = wait = _wait_for_start(cell, deadline_s)  # before anything is registered: it may refuse
    host.cells[path] = cell
    host.delivery.recipients[path] = cell
    if cell.parent is not None:
        cell.parent.children[cell.name] = cell
    cell.start()
    try:
        await wait.future
    except BaseException:
        ending.begin_stop(
            cell, host.loop.time(), "was not started in time"
        )  # so that it is not started again
        ending.abandon(cell, "was not started in time")  # nothing to do when it has ended by itself
        raise
    finally:
        host.waits.close(wait)
    return cell.ref


def _check_place(cell: Cell) -> None:
    name, path = cell.name, cell.ref.path
    if not name.isprintable() or not name or "/" in name:
        raise ValueError(f"an actor's name is printable, not empty and has no slash, got {name!r}")
    if path in cell.host.delivery.recipients:
        raise ValueError(f"{cell.ref} exists already: names are unique among living siblings")
    if cell.depth > DEPTH_MAX:
        raise ValueError(f"{path[:40]}... is deeper in the tree than {DEPTH_MAX} levels")
    if len(path) > PATH_CHARS_MAX:
        raise ValueError(f"the path {path[:40]}... is longer than {PATH_CHARS_MAX} characters")


def _wait_for_start(cell: Cell, deadline_s: float) -> Wait:
    path, parent = cell.ref.path, cell.parent
    if parent is not None:
        return parent.open_wait(path, "its start", deadline_s, Witness.MONITOR)
    return cell.host.waits.open("outside", path, "its start", deadline_s, Witness.MONITOR)
