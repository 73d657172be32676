"""What a checkpoint remembers: a resumed epoch reports what a whole one does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.training import Progress, StepDone
from crystalline.training.spikes import RECENT, is_spike

LOSSES = st.floats(0, 1e6)


def done(loss: float, tokens: int = 10, skipped: str = "", *, spike: bool = False) -> StepDone:
    return StepDone(1, 1, 1, 1, loss, 1.0, 0.1, tokens, 0.25, (1.0,), (0.0,), skipped, spike)


@given(st.lists(st.tuples(LOSSES, st.integers(1, 1000), st.booleans()), max_size=100), st.integers(0, 100))
def test_a_run_that_was_stopped_anywhere_comes_as_far_as_one_that_was_not(
    steps: list[tuple[float, int, bool]], stop: int
) -> None:
    straight = resumed = Progress().begun(1)
    for number, (loss, tokens, skipped) in enumerate(steps):
        step = done(loss, tokens, "not finite" if skipped else "")
        straight = straight.after(step)
        if number == stop:
            resumed = Progress.from_json(json.loads(json.dumps(resumed.to_json()))).begun(1)
        resumed = resumed.after(step)
    assert resumed == straight
    assert straight.step == straight.step_in_epoch == len(steps)
    assert straight.updates + straight.skipped == len(steps)
    assert len(straight.recent_losses) <= RECENT


def test_the_loss_of_an_epoch_is_the_mean_over_its_tokens_without_what_was_skipped() -> None:
    progress = Progress().begun(1)
    assert progress.train_loss is None
    for step in (done(1.0, 10), done(4.0, 20), done(99.0, 7, "not finite")):
        progress = progress.after(step)
    assert progress.train_loss == 3.0
    assert (progress.skipped, progress.skipped_in_a_row, progress.updates) == (1, 1, 2)
    assert progress.after(done(1.0)).skipped_in_a_row == 0


def test_another_epoch_begins_with_nothing_but_what_is_of_the_run() -> None:
    progress = Progress().begun(1).after(done(1.0, spike=True)).begun(2)
    assert (progress.epoch, progress.step, progress.step_in_epoch, progress.spikes) == (2, 1, 0, 1)
    assert progress.train_loss is None
    assert progress.recent_losses == (1.0,)


WRONG: list[dict[str, Any]] = [
    {"updates": 3},
    {"epoch_loss": -0.5},
    {"epoch_loss": float("inf")},
    {"epoch_loss": 1},
    {"validated": 1},
    {"recent_losses": None},
    {"recent_losses": [float("nan")]},
    {"recent_losses": [1.0] * (RECENT + 1)},
    {"metrics_bytes": -1},
    {"epoch": 0},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_what_cannot_be_is_refused_by_name(change: dict[str, Any]) -> None:
    whole = json.loads(json.dumps(Progress().begun(1).after(done(1.0)).to_json()))
    assert Progress.from_json(whole).step == 1
    with pytest.raises(ValueError, match=next(iter(change)) if change != {"epoch": 0} else "no epoch"):
        Progress.from_json({**whole, **change})
    del whole[next(iter(change))]
    with pytest.raises(ValueError, match="is missing"):
        Progress.from_json(whole)


# Spikes


def test_of_few_losses_nothing_follows() -> None:
    assert not is_spike(100.0, [1.0] * 15)
    assert is_spike(100.0, [1.0] * 16)


@given(st.lists(st.floats(2.0, 2.29), min_size=16, max_size=RECENT))
def test_what_is_usual_is_no_spike(recent: list[float]) -> None:
    assert not is_spike(max(recent), recent)


def test_a_spike_stands_out_from_the_noise_before_it_and_by_more_than_a_trifle() -> None:
    noisy = [4.0 + 0.2 * (-1) ** step for step in range(32)]
    assert not is_spike(5.0, noisy)
    assert is_spike(6.5, noisy)
    assert not is_spike(4.25, [4.0] * 32)
    assert is_spike(4.35, [4.0] * 32)
    assert not is_spike(1.0, noisy), "a loss that falls is none"
