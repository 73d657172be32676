"""What to do when a child ends: exits in, a decision out. Pure; `ending` and `siblings` carry it out."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GiveUp", "Restart", "Strategy", "Supervision", "on_child_exit"]

# Beyond this any pause is at its upper limit, and the power would soon be too large for a float.
DOUBLINGS_MAX: Final = 64


class Strategy(enum.Enum):
    """Who is started again when one child fails."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How a parent looks after a child.

    With `ONE_FOR_ONE`, siblings are not touched. Else the siblings that were spawned under an equal
    supervision are one group. When one of them fails, all of them (`ONE_FOR_ALL`), or it and those that had
    started after it (`REST_FOR_ONE`), are stopped one by one in reverse order of their start, and after the
    pause started again one by one in that order.

    Attributes:
        max_restarts: restart intensity: at most this many restarts, of a group together, ...
        window_s: ... within so many seconds.
        backoff_s: pause before the first restart of a window; it doubles with each further one ...
        backoff_max_s: ... up to this.
        escalate: when the intensity is exceeded the parent fails too; otherwise it only hears of it.
        strategy: who is started again with the child that failed.
        group: a name that tells two groups apart which otherwise have the same rule.

    When the intensity is exceeded, those that would have been started again stay down for good.

    Raises:
        ValueError: a number is negative, a pause is not finite, `window_s` is 0, or a group has a name and
            no strategy that makes use of it.
    """

    max_restarts: int = 3
    window_s: float = 60.0
    backoff_s: float = 0.05
    backoff_max_s: float = 5.0
    escalate: bool = False
    strategy: Strategy = Strategy.ONE_FOR_ONE
    group: str = ""

    def __post_init__(self) -> None:
        delays_fit = all(0 <= delay_s < math.inf for delay_s in (self.backoff_s, self.backoff_max_s))
        group_fits = not self.group or self.strategy is not Strategy.ONE_FOR_ONE
        if not (delays_fit and group_fits and self.max_restarts >= 0 and self.window_s > 0):
            raise ValueError(f"impossible supervision: {self}")


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the child again after `delay_s` seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave the child down, for `reason`."""

    reason: str


def on_child_exit(
    reason: str, recent_exits_s: Sequence[float], now_s: float, supervision: Supervision
) -> Restart | GiveUp:
    """Decide what follows the failure of a child.

    Args:
        reason: why it ended now.
        recent_exits_s: when it failed before, on the clock of `now_s`.
        now_s: when it failed this time.
        supervision: what its parent wants.
    """
    inside = sum(now_s - exit_s < supervision.window_s for exit_s in recent_exits_s)
    if inside >= supervision.max_restarts:
        if supervision.max_restarts == 0:
            return GiveUp(reason)
        return GiveUp(
            f"{reason} (restarts exhausted: failed {inside + 1} times within {supervision.window_s:g} s, "
            f"{supervision.max_restarts} restarts are allowed)"
        )
    doublings = min(inside, DOUBLINGS_MAX)
    return Restart(min(supervision.backoff_s * 2.0**doublings, supervision.backoff_max_s))
