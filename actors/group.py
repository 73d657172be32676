"""Siblings that are started again together: what happened goes in, the next step comes out.

No input or output here; `siblings` carries the steps out. Each member stands somewhere:

    UP       it lives; so far nothing is wanted of it
    DOOMED   it lives, and must end because a sibling has failed
    LEAVING  it has been told to end, to be started again or for good
    DOWN     it is between two lives
    RISING   it has been started, and has not come up yet

A restart of the group is one round: the doomed leave, the last first; then there is a pause; then those
that are down rise, the first first. Whoever fails during the first part belongs to the round already. A
failure of anybody else is one more failure, and widens the round.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from actors.supervision import GiveUp, Restart, Strategy, on_child_exit

if TYPE_CHECKING:
    from actors.supervision import Supervision

__all__ = ["End", "Group", "Pause", "Standing", "Start", "Step"]


class Standing(enum.Enum):
    """Where a member of a group stands."""

    UP = "up"
    DOOMED = "doomed"
    LEAVING = "leaving"
    DOWN = "down"
    RISING = "rising"


@dataclass(frozen=True, slots=True)
class End:
    """End this member's incarnation, so that it can be started again."""

    member: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Let so many seconds pass, then call `Group.pause_is_over`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Start:
    """Start the next incarnation of this member."""

    member: str


Step: TypeAlias = End | Pause | Start


class Group:
    """Where the members of one group stand, and what follows from it.

    Args:
        supervision: the rule that they share; its strategy is not `ONE_FOR_ONE`.
    """

    __slots__ = ("_exits_s", "_pause_s", "_pausing", "standings", "supervision")

    def __init__(self, supervision: Supervision) -> None:
        self.supervision = supervision
        self.standings: dict[str, Standing] = {}  # in order of their first start
        self._exits_s: list[float] = []
        self._pause_s: float | None = None  # what is still to be waited for before anybody rises
        self._pausing = False

    def is_up(self, member: str) -> None:
        """Hear that it has come up: for the first time, or again.

        Whoever comes up for the first time in the middle of a round has started beside siblings that are no
        more, and takes part in the round.
        """
        if self.standings.get(member) is Standing.RISING:
            self.standings[member] = Standing.UP
        elif member not in self.standings:
            a_round = {Standing.DOOMED, Standing.DOWN, Standing.RISING} & set(self.standings.values())
            self.standings[member] = Standing.DOOMED if a_round else Standing.UP

    def leave(self, member: str) -> None:
        """Hear that it has ended for good."""
        self.standings.pop(member, None)

    def is_down(self, member: str) -> None:
        """Hear that the incarnation that was to end has ended."""
        self.standings[member] = Standing.DOWN

    def fail(self, member: str, reason: str, now_s: float) -> tuple[Restart | GiveUp, list[str]]:
        """Decide what follows the failure of a member.

        Args:
            member: who failed.
            reason: why.
            now_s: when, on any clock that only grows.

        Returns:
            What becomes of it, and who else has to be stopped for good, the last first. Those are in the
            group until they leave it.
        """
        if self.standings[member] in {Standing.DOOMED, Standing.LEAVING}:
            self.is_down(member)
            return Restart(self._pause_s or 0.0), []
        affected = self._affected(member)
        decision = on_child_exit(reason, self._exits_s, now_s, self.supervision)
        window_s = self.supervision.window_s
        self._exits_s = [*(exit_s for exit_s in self._exits_s if now_s - exit_s < window_s), now_s]
        if isinstance(decision, GiveUp):
            self.leave(member)
            self.standings.update(dict.fromkeys(affected, Standing.LEAVING))
            self._exits_s = []  # those that remain, or come, begin with a clean account
            return decision, affected[::-1]
        self.is_down(member)
        for sibling in affected:
            if self.standings[sibling] in {Standing.UP, Standing.RISING}:
                self.standings[sibling] = Standing.DOOMED
        self._pause_s, self._pausing = decision.delay_s, False
        return decision, []

    def _affected(self, member: str) -> list[str]:
        """Who else ends when `member` fails."""
        members = list(self.standings)
        if self.supervision.strategy is Strategy.REST_FOR_ONE:
            return members[members.index(member) + 1 :]
        return [sibling for sibling in members if sibling != member]

    def pause_is_over(self) -> None:
        """Hear that the time of the last `Pause` has passed."""
        self._pausing = False

    def next_step(self) -> Step | None:
        """What to do now, None when there is something to wait for, or nothing to do."""
        if doomed := self._those(Standing.DOOMED):
            if self._those(Standing.LEAVING):
                return None
            self.standings[doomed[-1]] = Standing.LEAVING
            return End(doomed[-1])
        down = self._those(Standing.DOWN)
        if not down or self._pausing or self._those(Standing.LEAVING) or self._those(Standing.RISING):
            return None
        if self._pause_s is not None:
            pause_s, self._pause_s, self._pausing = self._pause_s, None, True
            return Pause(pause_s)
        self.standings[down[0]] = Standing.RISING
        return Start(down[0])

    def _those(self, standing: Standing) -> list[str]:
        return [member for member, stands in self.standings.items() if stands is standing]
