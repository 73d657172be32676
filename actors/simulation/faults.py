"""Which faults a run has, and when: drawn from its seed before it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from random import Random

__all__ = ["Faults", "InjectedCrash", "InjectedError"]

# A fault comes at a schedule point up to this one, early ones being as likely as late ones by order of size.
POINTS_MAX: Final = 1_000
REPEATS_MAX: Final = 3


class InjectedError(Exception):
    """Raised by a simulation inside a handler."""


class InjectedCrash(BaseException):
    """The same, and no `Exception`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How likely a run has a fault of each kind; one that has it has it up to three times.

    Attributes:
        error: an `Exception` is raised at an await of a handler or hook.
        crash: the same with `SystemExit`, or another `BaseException` that is no `Exception`.
        kill: an actor's task is cancelled from outside, at any await.
        stall: a handler's await takes up to 20 s longer.
        slow_actor: the next twenty awaits of an actor's handlers take up to 0.5 s longer.
        full_mailbox: from now on an actor's mailbox has room for one message.
        stuck_job: the next job that starts never returns.
        lag: from now on time passes now and then while something is ready to run.
        stop: an actor is stopped from outside.
        shutdown: the system is shut down.
        cancel_caller: code outside the tree, the scenario or one of its callers, is cancelled.
        slow_caller: the next twenty awaits of such code take up to 0.5 s longer: it reads its `Receiver`
            slowly and comes late for its answers.

    Raises:
        ValueError: a likelihood is not within [0, 1].
    """

    error: float = 0.0
    crash: float = 0.0
    kill: float = 0.0
    stall: float = 0.0
    slow_actor: float = 0.0
    full_mailbox: float = 0.0
    stuck_job: float = 0.0
    lag: float = 0.0
    stop: float = 0.0
    shutdown: float = 0.0
    cancel_caller: float = 0.0
    slow_caller: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not 0.0 <= getattr(self, field.name) <= 1.0:
                raise ValueError(f"{field.name}={getattr(self, field.name)} is no likelihood: 0 to 1")

    @classmethod
    def everything(cls, likelihood: float = 0.25) -> Self:
        """All kinds, each with this likelihood."""
        return cls(**{field.name: likelihood for field in fields(cls)})

    def plan(self, random: Random) -> list[tuple[int, str]]:
        """Draw (schedule point, kind) for one run, in order."""
        drawn: list[tuple[int, str]] = []
        for field in fields(self):
            if random.random() < getattr(self, field.name):
                repeats = random.randint(1, REPEATS_MAX)
                drawn += [(_point(random), field.name) for _ in range(repeats)]
        return sorted(drawn)


def _point(random: Random) -> int:
    return int(math.exp(random.uniform(0.0, math.log(POINTS_MAX))))
