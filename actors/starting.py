"""How an actor comes into the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors import ending
from actors.errors import AmbiguousOption
from actors.host import HANDLER_TIMEOUT_S, ChildSpec
from actors.mailbox import BYTES_MAX, CAPACITY, Mailbox, Overflow
from actors.waits import OUTSIDE, Wait, Witness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.delivery import Entry
    from actors.messages import ActorRef
    from actors.supervision import Supervision

__all__ = ["prepare", "start"]

# Ends are carried out recursively; nobody needs a deeper tree.
DEPTH_MAX: Final = 100
# A path travels several times in one head.
PATH_CHARS_MAX: Final = 1024


def prepare(
    actor: type[Actor],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    name: str | None,
    supervision: Supervision | None,
    capacity: int,
    overflow: Overflow,
    bytes_max: int,
    handler_timeout_s: float,
) -> tuple[ChildSpec, Mailbox[Entry]]:
    """Return everything that a new cell needs; the options of `Context.spawn` are checked here.

    Raises:
        AmbiguousOption: an option is given that the constructor has a parameter for, too.
        UnboundedMailbox: `capacity` or `bytes_max` is not a whole number above 0.
        EndlessWait: `handler_timeout_s` is not a finite time above 0.
    """
    options = {
        "name": name is not None,
        "supervision": supervision is not None,
        "capacity": capacity != CAPACITY,
        "overflow": overflow is not Overflow.WAIT,
        "bytes_max": bytes_max != BYTES_MAX,
        "handler_timeout_s": handler_timeout_s != HANDLER_TIMEOUT_S,
    }
    by_keyword = _parameters(actor)[len(args) :]
    for option, given in options.items():
        if given and option in by_keyword:
            raise AmbiguousOption(
                f"`{option}` is an option of spawn, and the constructor of {actor.__name__} has a parameter "
                "of that name: hand that one over by position, or give it another name"
            )
    spec = ChildSpec(
        actor=actor, args=args, kwargs=kwargs, supervision=supervision, handler_timeout_s=handler_timeout_s
    )
    return spec, Mailbox(capacity, overflow, bytes_max=bytes_max)


def _parameters(actor: type[Actor]) -> tuple[str, ...]:
    """What a constructor takes by position or by name, in order."""
    code = getattr(actor.__init__, "__code__", None)
    return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount] if code is not None else ()


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
    return cell.host.waits.open(OUTSIDE, path, "its start", deadline_s, Witness.MONITOR)
