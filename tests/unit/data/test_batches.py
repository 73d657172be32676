"""Batches: each window once an epoch, in an order that (seed, epoch) decides; shards never starve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import batch_indices, cut_into_shards, epoch_order, steps_per_epoch
from crystalline.lattice import dominant_group

SEED = st.integers(0, 2**32)


@given(st.integers(0, 200), SEED, st.integers(0, 9), st.integers(1, 50))
def test_each_window_comes_once_an_epoch(n: int, seed: int, epoch: int, batch_size: int) -> None:
    order = epoch_order(n, seed, epoch)
    batches = [batch_indices(order, step, batch_size) for step in range(steps_per_epoch(n, batch_size))]
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert all(len(batch) > 0 for batch in batches)
    assert sorted(int(i) for batch in batches for i in batch) == list(range(n))


@given(SEED, st.integers(0, 9))
def test_the_order_depends_on_seed_and_epoch_alone(seed: int, epoch: int) -> None:
    first = epoch_order(50, seed, epoch)
    np.random.default_rng(0).random(7)  # somebody else's randomness
    assert first.tolist() == epoch_order(50, seed, epoch).tolist()


def test_epochs_and_seeds_shuffle_differently() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert tuple(range(50)) not in orders


@pytest.mark.parametrize("step", [-1, 3])
def test_a_step_beyond_the_epoch_is_refused(step: int) -> None:
    with pytest.raises(IndexError, match=r"\[0, 3\)"):
        batch_indices(np.arange(5), step, 2)


@given(st.integers(0, 40), st.integers(1, 15), SEED)
def test_shards_hold_every_sequence_once_and_evenly(batch: int, shards: int, seed: int) -> None:
    windows = np.random.default_rng(seed).integers(0, 500, (batch, 6))
    parts = cut_into_shards(windows, shards)
    sizes = [len(part) for part in parts]
    assert len(parts) == shards
    assert max(sizes) - min(sizes) <= 1
    assert sorted(int(row) for part in parts for row in part) == list(range(batch))


@given(st.integers(1, 40), SEED)
def test_like_goes_with_like(batch: int, seed: int) -> None:
    windows = np.random.default_rng(seed).integers(0, 500, (batch, 6))
    rows = np.concatenate(cut_into_shards(windows, 12))
    groups = dominant_group(windows)[rows]
    assert (np.diff(groups) >= 0).all()
    assert all(a < b for a, b, g, h in zip(rows, rows[1:], groups, groups[1:], strict=False) if g == h)


def test_a_corpus_of_one_group_still_feeds_every_shard() -> None:
    parts = cut_into_shards(np.full((24, 8), 7), 12)
    assert [len(part) for part in parts] == [2] * 12


def test_a_batch_smaller_than_the_shards_leaves_some_empty() -> None:
    assert [len(part) for part in cut_into_shards(np.zeros((3, 2), np.int32), 5)] == [1, 1, 1, 0, 0]
