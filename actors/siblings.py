"""Carries out what a group of siblings decides: its members end, wait and start together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import ending
from actors.group import End, Group, Pause
from actors.supervision import Strategy

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.host import Alarm, Host
    from actors.supervision import GiveUp, Restart, Supervision

__all__ = ["Siblings", "is_up"]


class Siblings:
    """The cells of one group: children of one parent under one supervision.

    Args:
        host: of their system.
        parent: path of their parent, empty for the system.
        supervision: the rule that they share.
    """

    __slots__ = ("_alarm", "_group", "_host", "_key", "_lost", "_why")

    def __init__(self, host: Host, parent: str, supervision: Supervision) -> None:
        self._host = host
        self._key = (parent, supervision)
        self._group = Group(supervision)
        self._alarm: Alarm | None = None
        self._lost: list[str] = []
        self._why = ""

    def is_up(self, cell: Cell) -> None:
        """Hear that a member has started."""
        self._group.is_up(cell.ref.path)
        self.go_on()

    def is_down(self, cell: Cell) -> None:
        """Hear that the incarnation that was to end has ended."""
        self._group.is_down(cell.ref.path)

    def leave(self, cell: Cell) -> None:
        """Hear that a member has ended for good."""
        self._group.leave(cell.ref.path)
        if not self._group.standings:
            self._quiet()
            self._host.groups.pop(self._key, None)

    def fail(self, cell: Cell, reason: str) -> Restart | GiveUp:
        """Decide what follows the failure of a member; `go_on` has to follow when that is accounted for."""
        decision, self._lost = self._group.fail(cell.ref.path, reason, self._host.loop.time())
        self._why = f"together with {cell.ref}: {reason}"
        return decision

    def go_on(self) -> None:
        """Do what can be done now."""
        lost, self._lost = self._lost, []
        for path in lost:
            ending.begin_stop(self._host.cells[path], self._host.loop.time() + ending.STOP_S, self._why)
        while (step := self._group.next_step()) is not None:
            if isinstance(step, Pause):
                self._quiet()
                self._alarm = self._host.alarm(step.delay_s, self._pause_is_over)
            elif isinstance(step, End):
                ending.recycle(self._host.cells[step.member], self._why)
            else:
                self._host.cells[step.member].start()

    def _pause_is_over(self) -> None:
        self._group.pause_is_over()
        self.go_on()

    def _quiet(self) -> None:
        if self._alarm is not None:
            self._alarm.open = False


def is_up(cell: Cell) -> None:
    """Hear that an incarnation has started; with its first, an actor under a strategy joins its group."""
    supervision = cell.spec.supervision
    if cell.siblings is None and supervision and supervision.strategy is not Strategy.ONE_FOR_ONE:
        parent = cell.parent.ref.path if cell.parent is not None else ""
        fresh = Siblings(cell.host, parent, supervision)
        cell.siblings = cell.host.groups.setdefault((parent, supervision), fresh)
    if cell.siblings is not None:
        cell.siblings.is_up(cell)
