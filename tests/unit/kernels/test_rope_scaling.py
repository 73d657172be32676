from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import SettingError
from crystalline.kernels.rope_scaling import RopeScaling
from crystalline.kernels.rotary import rotary_tables

LLAMA3 = RopeScaling(kind="llama3", factor=8.0)


def test_linear_makes_every_position_a_part_of_one() -> None:
    cos, sin = rotary_tables(9, 8, 10_000.0, RopeScaling(kind="linear", factor=4.0))
    plain_cos, plain_sin = rotary_tables(3, 8, 10_000.0)
    np.testing.assert_allclose(cos[:, ::4], plain_cos)
    np.testing.assert_allclose(sin[:, ::4], plain_sin)


@pytest.mark.parametrize(
    ("turns", "divisor"),
    [(0.5, 8.0), (1.0, 8.0), (4.0, 1.0), (100.0, 1.0), (2.5, 1 / (0.5 + 0.5 / 8))],
)
def test_llama_3_divides_what_turns_slowly_and_keeps_what_turns_fast(turns: float, divisor: float) -> None:
    frequency = np.array([turns * 2 * math.pi / 8192])
    assert LLAMA3.slowed(frequency) == pytest.approx(frequency / divisor, rel=1e-12)


@given(
    st.floats(1.0, 64.0),
    st.floats(0.1, 2.0),
    st.floats(2.5, 9.0),
    st.integers(1, 10**6),
    st.floats(1e-9, 10.0),
)
def test_no_frequency_is_slowed_beyond_the_factor_or_sped_up(
    factor: float, low: float, high: float, seq_len: int, frequency: float
) -> None:
    scaling = RopeScaling(
        kind="llama3",
        factor=factor,
        low_freq_factor=low,
        high_freq_factor=high,
        original_seq_len=seq_len,
    )
    slowed = float(scaling.slowed(np.array([frequency]))[0])
    assert frequency / factor * (1 - 1e-9) <= slowed <= frequency * (1 + 1e-9)


def test_without_a_scaling_nothing_changes_to_the_last_bit() -> None:
    cos, sin = rotary_tables(16, 8, 500.0)
    angles = (500.0 ** (-np.arange(0, 8, 2) / 8))[:, None] * np.arange(16)
    assert np.array_equal(cos, np.cos(angles))
    assert np.array_equal(sin, np.sin(angles))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "yarn"}, "kind 'yarn' is not supported"),
        ({"factor": 0.0}, "factor must be from"),
        ({"factor": float("nan")}, "factor must be from"),
        ({"factor": "8"}, "factor must be a number"),
        ({"factor": True}, "factor must be a number"),
        ({"original_seq_len": 10**400}, "original_seq_len must be from"),
        ({"low_freq_factor": 4.0}, r"low_freq_factor=4\.0 must be below high_freq_factor=4\.0"),
    ],
)
def test_an_impossible_scaling_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(LLAMA3, **changes)
