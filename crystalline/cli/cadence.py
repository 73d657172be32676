"""How often, in steps or in time: 100, 30s, 10m, 2h."""

from __future__ import annotations

import re
from typing import Final

from crystalline.errors import SettingError

__all__ = ["parse_cadence"]

_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}
_CADENCE: Final = re.compile(r"([0-9]{1,15})|([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh])")


def parse_cadence(text: str) -> tuple[int, float]:
    """Read a number of steps or a time.

    Returns:
        Steps and seconds, one of which is 0; both are for 0.

    Raises:
        SettingError: it is neither.

    >>> parse_cadence("100"), parse_cadence("1.5m")
    ((100, 0.0), (0, 90.0))
    """
    match = _CADENCE.fullmatch(text.strip())
    if match is None:
        raise SettingError(
            f"save_every is {text!r}: choose a number of steps, or a time such as 30s, 10m or 2h"
        )
    steps, time, unit = match.groups()
    return (int(steps), 0.0) if steps is not None else (0, float(time) * _SECONDS[unit])
