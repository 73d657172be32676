"""Who has which part of the work, also when some are lost: contiguous, even, complete."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorRef
from crystalline.errors import TrainingError
from crystalline.training.team import Setback, Team, split_run

WEIGHTS = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def refs(count: int) -> list[ActorRef[Any]]:
    return [ActorRef(f"/root/sphere-{index}", index) for index in range(count)]


def team(weights: list[int], *, redistribute: bool = True) -> Team:
    return Team(dict(zip(refs(len(weights)), weights, strict=True)), redistribute=redistribute)


@given(st.integers(0, 50), st.integers(0, 60), WEIGHTS)
def test_a_run_is_cut_into_contiguous_parts_in_proportion(lo: int, units: int, weights: list[int]) -> None:
    parts = split_run((lo, lo + units), weights)
    assert [unit for part in parts for unit in range(*part)] == list(range(lo, lo + units))
    for (first, last), weight in zip(parts, weights, strict=True):
        assert abs((last - first) - units * weight / sum(weights)) < 1


@given(st.integers(1, 60), WEIGHTS, st.randoms(use_true_random=False))
def test_only_those_with_work_are_asked_and_each_unit_once(
    units: int, weights: list[int], random: Any
) -> None:
    """Never again: a control sphere waited for all its children though only some had work."""
    whole = team(weights)
    lost = random.sample(refs(len(weights)), random.randrange(len(weights)))
    for ref in lost:
        whole.lose(ref, Setback("gone"))
    shared = whole.share((0, units))
    assert [unit for _, part in shared for unit in range(*part)] == list(range(units))
    assert all(lo < hi for _, (lo, hi) in shared)
    assert {ref for ref, _ in shared} <= set(whole.refs)
    assert not set(whole.refs) & set(lost)


def test_a_loss_ends_the_training_unless_the_others_may_take_over() -> None:
    with pytest.raises(TrainingError, match=r"^/root/sphere-1 could not do its part: burnt out$"):
        team([1, 1], redistribute=False).lose(refs(2)[1], Setback("burnt out"))


def test_a_loss_is_told_once_and_the_last_one_cannot_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    pair = team([1, 1])
    with caplog.at_level(logging.WARNING, "crystalline"):
        pair.lose(refs(2)[0], Setback("burnt out"))
        pair.lose(refs(2)[0], Setback("burnt out"))
    assert [record.getMessage() for record in caplog.records] == [
        "/root/sphere-0 is lost, the others do its part from now on: burnt out"
    ]
    with pytest.raises(TrainingError, match=r"/root/sphere-1 was the last one left.*too"):
        pair.lose(refs(2)[1], Setback("burnt out, too"))
