"""What to do when a child ends: exits in, a decision out. Pure; the cell carries it out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["GiveUp", "Restart", "Supervision", "on_child_exit"]

# Beyond this any pause is at its upper limit, and the power would soon be too large for a float.
DOUBLINGS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How a parent looks after one child (one_for_one: its siblings are not touched).

    Attributes:
        max_restarts: restart intensity: at most this many restarts ...
        window_s: ... within so many seconds.
        backoff_s: pause before the first restart of a window; it doubles with each further one ...
        backoff_max_s: ... up to this.
        escalate: when the intensity is exceeded the parent fails too; otherwise it only hears of it.

    Raises:
        ValueError: a number is negative, a pause is not finite, or `window_s` is 0.
    """

    max_restarts: int = 3
    window_s: float = 60.0
    backoff_s: float = 0.05
    backoff_max_s: float = 5.0
    escalate: bool = False

    def __post_init__(self) -> None:
        delays_fit = all(0 <= delay_s < math.inf for delay_s in (self.backoff_s, self.backoff_max_s))
        if not (delays_fit and self.max_restarts >= 0 and self.window_s > 0):
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
