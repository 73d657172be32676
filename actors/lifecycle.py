"""The lifecycle of an actor: one table, one function.

Everything that moves an actor is in `TRANSITIONS` (law 8). A pair that is not listed is an error, never a
no-op. `epoch_done` is a level and not a pulse: it stays true until the next epoch begins, so nobody can
come too late to see it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from actors.errors import IllegalTransition

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TRANSITIONS", "Event", "Lifecycle", "State", "advance"]


class State(enum.Enum):
    """Where an actor stands."""

    IDLE = "idle"
    RUNNING = "running"
    EPOCH_DONE = "epoch_done"
    SHUTDOWN = "shutdown"


class Event(enum.Enum):
    """What can move an actor."""

    BEGIN = "begin"
    FINISH = "finish"
    FAIL = "fail"
    REST = "rest"
    STOP = "stop"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.IDLE, Event.BEGIN): State.RUNNING,
    (State.RUNNING, Event.FINISH): State.EPOCH_DONE,
    (State.RUNNING, Event.FAIL): State.EPOCH_DONE,
    (State.EPOCH_DONE, Event.BEGIN): State.RUNNING,  # a second epoch can start
    (State.EPOCH_DONE, Event.REST): State.IDLE,
} | {(state, Event.STOP): State.SHUTDOWN for state in State}


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """State of one incarnation.

    Attributes:
        state: the current state.
        epoch: the last epoch that was begun, 0 before the first.
        failure: why that epoch failed; None while it runs and when it was finished.
    """

    state: State = State.IDLE
    epoch: int = 0
    failure: str | None = None

    def over(self, epoch: int) -> bool:
        """Tell whether `epoch` has ended here, well or badly."""
        return self.epoch > epoch or (self.epoch == epoch and self.state is not State.RUNNING)

    def __str__(self) -> str:
        """The state with its epoch, as in `running(3)`."""
        return self.state.value if self.state is State.IDLE else f"{self.state.value}({self.epoch})"


def advance(now: Lifecycle, event: Event, epoch: int | None = None, *, failure: str = "") -> Lifecycle:
    """Return the lifecycle after `event`; the argument is not modified.

    Args:
        now: where the actor stands.
        event: what happened.
        epoch: which epoch begins, is finished or fails; must be None for the other events.
        failure: the reason, for `Event.FAIL`.

    Raises:
        IllegalTransition: the table has no such move, an epoch would not come after the last one, or the
            epoch that ends is not the one that runs.
    """
    try:
        state = TRANSITIONS[now.state, event]
    except KeyError:
        raise IllegalTransition(f"in state {now} there is no {event.value}") from None
    if event is Event.BEGIN:
        if epoch is None or epoch <= now.epoch:
            raise IllegalTransition(f"epoch {epoch} cannot begin after epoch {now.epoch}: epochs only grow")
        return Lifecycle(state, epoch)
    if event in {Event.FINISH, Event.FAIL} and epoch != now.epoch:
        raise IllegalTransition(f"epoch {epoch} cannot {event.value}: {now} is under way")
    failed = failure if event is Event.FAIL else now.failure
    return Lifecycle(state, now.epoch, failed)
