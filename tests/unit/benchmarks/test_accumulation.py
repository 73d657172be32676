"""The ways that exactness is measured against compute the same gradient, but for the order of its sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import JobToken, freeze
from crystalline.model import layout_of
from crystalline.training import StepDone
from crystalline.training.messages import ComputeShards, Shards
from tests.benchmarks.exact.accumulation import TREE, TakingTurns, way_of
from tests.benchmarks.exactness import STEP, WARM, findings, samples_of
from tests.helpers.models import TIED, random_batch, random_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = (2, 0, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0)  # sequences in each shard


def request_of(step: int, lo: int, hi: int, rows: Sequence[int] = ROWS) -> ComputeShards:
    batches = [random_batch(TIED, shard, count, TIED.seq_len) for shard, count in enumerate(rows)]
    inputs, targets = (tuple(freeze(batch[kind]) for batch in batches[lo:hi]) for kind in (0, 1))
    return ComputeShards(1, step, 0, sum(rows) * TIED.seq_len, lo, Shards.of(inputs, targets))


def gradients_of(other: str, lo: int, hi: int) -> list[tuple[float, np.ndarray[Any, Any]]]:
    """Loss and gradient of a run of shards: by the tree, and by another way, on dirty buffers."""
    work = TakingTurns(TIED, shards=12, rows_max=2, weight_decay=0.1, other=other)
    weights = random_parameters(TIED, 3, np.float32)
    found = []
    for step in (1, 2):
        sums = work.compute(JobToken(60.0), weights, request_of(step, lo, hi))
        assert [node for node, _ in sums.nodes] in ([(lo, hi)], [])
        total = sums.nodes[0][1].flat if sums.nodes else np.zeros(layout_of(TIED).size, np.float32)
        found.append((float(sums.losses.sum()), total.copy()))
        for _, gradient in sums.nodes:
            gradient.flat[...] = np.nan
            work.gradients.give(gradient)
    assert work.computed == {TREE: 1, other: 1}
    return found


@pytest.mark.parametrize("other", ["naive", "at_once"])
@pytest.mark.parametrize("run", [(0, 6), (0, 12), (3, 6)])
def test_the_other_ways_compute_the_same_but_for_rounding(other: str, run: tuple[int, int]) -> None:
    (loss, gradient), (other_loss, other_gradient) = gradients_of(other, *run)
    assert other_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(other_gradient, gradient, rtol=0, atol=1e-6 * np.abs(gradient).max())
    assert gradient.any()


@pytest.mark.parametrize("other", ["naive", "at_once"])
def test_a_sphere_without_sequences_has_a_gradient_of_zeros(other: str) -> None:
    (_, gradient), (loss, other_gradient) = gradients_of(other, 6, 12)
    assert loss == 0.0
    assert not gradient.any()
    assert not other_gradient.any()


def test_shards_that_are_no_node_of_the_tree_are_refused() -> None:
    work = TakingTurns(TIED, shards=12, rows_max=2, weight_decay=0.1, other="naive")
    with pytest.raises(ValueError, match="choose 1, 2 or 4 spheres"):
        work.compute(JobToken(60.0), random_parameters(TIED, 3, np.float32), request_of(2, 0, 4))


def test_ways_take_turns_and_each_second_round_has_the_opposite_order() -> None:
    ways = [way_of(step, "naive") for step in range(1, 9)]
    assert ways == [TREE, "naive", "naive", TREE] * 2


def step_of(step: int, seconds: float) -> StepDone:
    return StepDone(
        epoch=1,
        epochs=1,
        step=step,
        steps=8,
        loss=1.0,
        grad_norm=1.0,
        learning_rate=0.1,
        tokens=10,
        seconds=seconds,
        busy=(),
        waiting=(),
    )


def test_samples_leave_the_first_steps_out_and_pair_the_others() -> None:
    steps = [step_of(step, step / 1e3) for step in range(1, WARM + 5)]
    samples = samples_of(steps, "naive")
    assert samples == {(TREE, STEP): [5.0, 8.0], ("naive", STEP): [6.0, 7.0]}


@pytest.mark.parametrize(("tree_ms", "reached"), [(10.2, True), (10.4, False)])
def test_the_goal_is_judged_by_the_median_within_rounds(tree_ms: float, *, reached: bool) -> None:
    samples = {(TREE, STEP): [tree_ms, 5.0, tree_ms * 3], ("naive", STEP): [10.0, 5.0, 20.0]}
    found = findings(samples, "naive")
    assert found["goal_reached"] is reached
    assert findings({**samples, ("at_once", STEP): [1.0, 1.0, 1.0]}, "at_once")["ratio"]["at_most"] is None
