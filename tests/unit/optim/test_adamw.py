"""AdamW is torch's, leaves its inputs alone, and does not care how the buffer was cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import SettingError
from crystalline.optim import AdamW, AdamWBuffers, adamw, adamw_update

FIXTURE = Path(__file__).parents[2] / "fixtures" / "adamw.npz"


def buffers(n: int, seed: int = 0) -> AdamWBuffers:
    rng = np.random.default_rng(seed)
    weights, first, second = rng.standard_normal((3, n)).astype(np.float32)
    return AdamWBuffers(weights, first, np.abs(second))


def empty(n: int) -> AdamWBuffers:
    """Buffers full of garbage."""
    return AdamWBuffers(*(np.full(n, np.nan, np.float32) for _ in range(3)))


def gradient_of(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


def bits(found: AdamWBuffers) -> bytes:
    return b"".join(buffer.tobytes() for buffer in found)


def test_twenty_steps_agree_with_torch() -> None:
    with np.load(FIXTURE) as fixture:
        initial, grads, lrs, after = (fixture[name] for name in ("initial", "grads", "lrs", "after"))
        rest = {name: float(fixture[name]) for name in ("beta1", "beta2", "eps", "weight_decay")}
    old = AdamWBuffers(initial.copy(), np.zeros_like(initial), np.zeros_like(initial))
    assert len(grads) == 20
    for step, (gradient, lr, expected) in enumerate(zip(grads, lrs, after, strict=True), start=1):
        new = empty(len(initial))
        adamw_update(new, old, gradient, step=step, hyper=AdamW(learning_rate=float(lr), **rest))
        assert np.abs(new.weights - expected).max() < 1e-5 * np.abs(expected).max()
        old = new


def test_the_first_step_moves_by_the_learning_rate_against_the_gradient() -> None:
    old = AdamWBuffers(*np.zeros((3, 2), np.float32))
    new = empty(2)
    adamw_update(new, old, np.array([3.0, -0.01], np.float32), step=1, hyper=AdamW(learning_rate=0.5))
    assert new.weights == pytest.approx([-0.5, 0.5], rel=1e-5)
    assert new.first_moment == pytest.approx([0.3, -0.001], rel=1e-5)
    assert new.second_moment == pytest.approx([0.45, 5e-6], rel=1e-5)


def test_inputs_are_not_modified() -> None:
    old, gradient = buffers(50), gradient_of(50)
    kept_old, kept_gradient = bits(old), gradient.tobytes()
    adamw_update(empty(50), old, gradient, step=1, hyper=AdamW(learning_rate=0.1), gradient_scale=0.5)
    assert (bits(old), gradient.tobytes()) == (kept_old, kept_gradient)


@given(
    st.integers(1, 200),
    st.lists(st.integers(0, 200), max_size=5),
    st.integers(-5, 205),
    st.integers(1, 50),
)
def test_any_cut_gives_the_same_bits(n: int, cuts: list[int], decay_end: int, block: int) -> None:
    old, gradient, hyper = buffers(n), gradient_of(n), AdamW(learning_rate=0.01)
    whole, pieces = empty(n), empty(n)
    adamw_update(whole, old, gradient, step=3, hyper=hyper, gradient_scale=0.3, decay_end=decay_end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adamw, "_BLOCK", block)
        for lo, hi in pairwise(sorted({0, n, *(min(cut, n) for cut in cuts)})):
            adamw_update(
                pieces.part(lo, hi),
                old.part(lo, hi),
                gradient[lo:hi],
                step=3,
                hyper=hyper,
                gradient_scale=0.3,
                decay_end=decay_end - lo,
            )
    assert bits(whole) == bits(pieces)


def test_scratch_may_be_handed_in_and_what_it_holds_does_not_matter() -> None:
    own, handed = empty(50), empty(50)
    scratch = np.full(60, np.nan, np.float32)
    adamw_update(own, buffers(50), gradient_of(50), step=2, hyper=AdamW(learning_rate=0.1))
    adamw_update(
        handed, buffers(50), gradient_of(50), step=2, hyper=AdamW(learning_rate=0.1), scratch=scratch
    )
    assert bits(own) == bits(handed)
    assert np.isnan(scratch[50:]).all()
    assert not np.isnan(scratch[:50]).any()


def test_only_floats_before_the_boundary_decay() -> None:
    old = AdamWBuffers(np.ones(4, np.float32), *np.zeros((2, 4), np.float32))
    hyper = AdamW(learning_rate=0.1, weight_decay=0.5)
    for decay_end, expected in [(2, [0.95, 0.95, 1, 1]), (0, [1] * 4), (None, [0.95] * 4), (9, [0.95] * 4)]:
        new = empty(4)
        adamw_update(new, old, np.zeros(4, np.float32), step=1, hyper=hyper, decay_end=decay_end)
        assert new.weights == pytest.approx(expected)


def test_the_scale_is_the_same_as_a_scaled_gradient() -> None:
    old, gradient, hyper = buffers(9), gradient_of(9), AdamW(learning_rate=0.1)
    one, two = empty(9), empty(9)
    adamw_update(one, old, gradient, step=1, hyper=hyper, gradient_scale=0.25)
    adamw_update(two, old, gradient * np.float32(0.25), step=1, hyper=hyper)
    assert bits(one) == bits(two)


def test_a_learning_rate_of_zero_keeps_every_bit_of_the_weights() -> None:
    old, new = buffers(300), empty(300)
    adamw_update(new, old, gradient_of(300), step=1, hyper=AdamW(learning_rate=0.0))
    assert new.weights.tobytes() == old.weights.tobytes()
    assert new.first_moment.tobytes() != old.first_moment.tobytes()


@pytest.mark.parametrize(
    "changed", [{"learning_rate": 0.2}, {"beta1": 0.8}, {"beta2": 0.9}, {"eps": 0.1}, {"weight_decay": 0.0}]
)
def test_every_number_has_an_effect(changed: dict[str, float]) -> None:
    usual, other = empty(20), empty(20)
    adamw_update(usual, buffers(20), gradient_of(20), step=2, hyper=AdamW(learning_rate=0.1))
    adamw_update(
        other, buffers(20), gradient_of(20), step=2, hyper=AdamW(**({"learning_rate": 0.1} | changed))
    )
    assert usual.weights.tobytes() != other.weights.tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("weight_decay", float("inf")),
        ("beta1", 1.0),
        ("beta2", -0.1),
        ("eps", 0.0),
    ],
)
def test_impossible_numbers_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name} is {value}: choose"):
        AdamW(**({"learning_rate": 0.1} | {name: value}))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"gradient 3, new \[4, 4, 4\], old \[4, 4, 4\]"):
        adamw_update(empty(4), buffers(4), gradient_of(3), step=1, hyper=AdamW(learning_rate=0.1))


def test_step_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        adamw_update(empty(4), buffers(4), gradient_of(4), step=0, hyper=AdamW(learning_rate=0.1))
