"""Settings of a run: what is impossible is refused by name."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from crystalline.errors import SettingError
from crystalline.training import TrainConfig

WHOLE = {"spheres": 1, "shards": 1, "epochs": 1, "batch_size": 1, "steps": 1, "keep": 1}
FROM_ZERO = {"warmup": 0, "seed": 0, "save_every": 0}
NUMBERS = ("lr", "weight_decay", "clip", "val_fraction", "save_every_s", "epoch_timeout_s", "job_timeout_s")
CHOICES = {"on_loss": ("fail", "redistribute"), "on_nonfinite": ("fail", "skip"), "recompute": (False, True)}
NOT_NUMBERS = (-1.0, float("nan"), float("inf"), "0.1", None, True, [1])


@pytest.mark.parametrize(("name", "least"), [*WHOLE.items(), *FROM_ZERO.items()])
def test_whole_numbers_have_a_least_value(name: str, least: int) -> None:
    fewest: dict[str, Any] = {name: least}
    assert getattr(TrainConfig(**fewest), name) == least
    bad: list[Any] = [least - 1, -7, 1.5, "3", True, float("nan")]
    for value in bad if name == "steps" else [*bad, None]:
        with pytest.raises(SettingError, match=f"^{name} is "):
            TrainConfig(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_numbers_are_finite_and_not_negative(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"^{name} is "):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_too_large_for_a_float_is_refused(name: str) -> None:
    huge: dict[str, Any] = {name: 10**400}
    with pytest.raises(SettingError, match=f"^{name} is "):
        TrainConfig(**huge)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch_timeout_s", 0),
        ("job_timeout_s", 0.0),
        ("epoch_timeout_s", 1e300),
        ("job_timeout_s", 1e10),
        ("val_fraction", 1.0),
        ("val_fraction", 7),
        ("shards", 1025),
        ("spheres", 1025),
        ("epochs", 10**9),
    ],
)
def test_numbers_have_a_most_value(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"^{name} is .*choose"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("name", ["lr", "weight_decay", "clip", "val_fraction"])
def test_zero_is_a_value_like_any_other(name: str) -> None:
    zero: dict[str, Any] = {name: 0.0}
    assert getattr(TrainConfig(**zero), name) == 0.0


def test_there_need_not_be_a_limit_of_steps() -> None:
    assert TrainConfig(steps=None).steps is None


def test_every_setting_is_looked_at() -> None:
    assert {field.name for field in fields(TrainConfig)} == {*WHOLE, *FROM_ZERO, *NUMBERS, *CHOICES}


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["", "Fail", "perhaps", "True", None, 1, 0.0])
def test_a_choice_is_one_of_those_named(name: str, value: Any) -> None:
    usual, other = CHOICES[name]
    with pytest.raises(SettingError, match=f"^{name} is .*: choose {usual} or {other}$"):
        TrainConfig(**{name: value})
    chosen: dict[str, Any] = {name: other}
    assert getattr(TrainConfig(**chosen), name) == other
    assert getattr(TrainConfig(), name) == usual


def test_settings_do_not_change_once_made() -> None:
    config = TrainConfig()
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0  # type: ignore[misc]  # that it cannot be assigned is what is tested
