"""Messages that are sent after a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors.errors import MailboxFull
from actors.notes import of_refusal, with_notes

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.delivery import Told
    from actors.messages import ActorRef

__all__ = ["LATER_MAX", "Later", "forget", "send_later"]

# An actor that plans faster than its plans come due must hear of it, and not the machine's memory.
LATER_MAX: Final = 1024


class Later:
    """One message of one incarnation that is to be sent when its time comes; a `Timed`.

    Attributes:
        open: whether it is still to be sent.
    """

    __slots__ = ("_cell", "_ref", "entry", "open")

    def __init__(self, cell: Cell, ref: ActorRef[Any], entry: Told) -> None:
        self._cell = cell
        self._ref = ref
        self.entry = entry
        self.open = True

    def on_deadline(self) -> None:
        """Send it; one that finds no room is a dead letter."""
        self.open = False
        del self._cell.later[self.entry.msg_id]
        self._cell.host.delivery.post_or_drop(self._ref, self.entry)


def send_later(cell: Cell, delay_s: float, ref: ActorRef[Any], entry: Told) -> None:
    """Send `entry` after `delay_s` seconds, if this incarnation of the actor still lives then.

    Raises:
        MailboxFull: the actor has `LATER_MAX` messages waiting for their time already.
    """
    if len(cell.later) >= LATER_MAX:
        cell.host.delivery.dead_letter(entry, "too many for later")
        full = f"{cell.ref} has {LATER_MAX} messages to send later, and takes no {entry.tag} now"
        raise with_notes(MailboxFull(full), of_refusal(cell.host.delivery, cell.origin, cell.path))
    later = cell.later[entry.msg_id] = Later(cell, ref, entry)
    cell.host.deadlines.add(cell.host.loop.time() + delay_s, later)


def forget(cell: Cell) -> None:
    """Account for what an incarnation that has ended will not send any more."""
    for later in cell.later.values():
        later.open = False
        cell.host.delivery.dead_letter(later.entry, "sender ended")
    cell.later.clear()
