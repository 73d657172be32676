"""The members of a chain of causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.tracing.answers.evidence import Moment

if TYPE_CHECKING:
    from actors.tracing.events import TraceEvent

__all__ = ["Below", "Link", "through"]


@dataclass(frozen=True, slots=True)
class Below:
    """What is to be explained next.

    Attributes:
        kind: of the trouble, a key of `EXPLAIN`.
        at: the moment for which it is asked.
        actor: who has it.
        event: the event that shows it, None when no single one does.
        number: the message whose handler or fate it is about, 0 for none.
    """

    kind: str
    at: Moment
    actor: str
    event: TraceEvent | None = None
    number: int = 0

    @property
    def proof(self) -> TraceEvent:
        """The event that shows it.

        Raises:
            ValueError: there is none.
        """
        if self.event is None:
            raise ValueError(f"no event shows what {self.actor} was doing")
        return self.event

    @classmethod
    def of(cls, event: TraceEvent, number: int = 0, kind: str = "") -> Below:
        """The trouble that an event shows."""
        return cls(kind or event.kind, Moment.of(event), event.actor, event, number or event.msg_id)


@dataclass(frozen=True, slots=True)
class Link:
    """One member of a chain of causes.

    Attributes:
        text: what happened, as a clause.
        kind: `expired`, `given_up`, `down`, `failed`, `refused`, `ended`, `dropped`, `full`, `waiting`,
            `job`, `blocked`, `busy`, `idle`, `fault`, `well` or `unknown`.
        actor: to whom.
        event: which shows it; None when nothing in the trace does.
        msg_id: the message it is about, 0 for none.
        type: tag of that message, name of the job, class of the error.
        limit_s: seconds that were given, 0 for no such thing.
        lasted_s: seconds that it lasted.
        receiver: the other one, if there is one: who was asked, told or waited for.
        below: what it follows from; None at the root.
    """

    text: str
    kind: str
    actor: str
    event: TraceEvent | None = None
    msg_id: int = 0
    type: str = ""
    limit_s: float = 0.0
    lasted_s: float = 0.0
    receiver: str = ""
    below: Below | None = None


def through(below: Below | None) -> Link:
    """Nothing to be said here: what is below says it."""
    return Link("", "", below.actor if below is not None else "", below=below)
