from __future__ import annotations

import pytest

from crystalline.cli.cadence import parse_cadence
from crystalline.errors import SettingError


@pytest.mark.parametrize(
    ("text", "steps", "seconds"),
    [("0", 0, 0.0), ("100", 100, 0.0), ("30s", 0, 30.0), ("1.5m", 0, 90.0), (" 2h ", 0, 7200.0)],
)
def test_steps_or_a_time(text: str, steps: int, seconds: float) -> None:
    assert parse_cadence(text) == (steps, seconds)


@pytest.mark.parametrize("text", ["", "often", "-1", "1.5", "10 m", "5d", "1e3s", "nans", "9" * 400, "١٠"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"save_every is .*: choose a number of steps, or a time"):
        parse_cadence(text)
