"""The jobs of a run: each computes what a plain loop would, to the last bit, and can be left at any time."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import JobAbandoned, JobToken, freeze
from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    initialise,
    layout_of,
    loss,
    loss_and_gradient,
)
from crystalline.optim import SLICE, AdamW, AdamWBuffers, adamw_update, sum_of_squares
from crystalline.optim import clip as clip_module
from crystalline.training import work as work_module
from crystalline.training.memory import RunMemory
from crystalline.training.messages import (
    ApplySlices,
    ComputeShards,
    EvaluateShards,
    NodeSum,
    ReduceSlices,
    Shards,
)
from crystalline.training.work import ShardWork
from tests.helpers.models import TIED, random_batch, random_parameters
from tests.helpers.plain_training import tree_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

SHARDS = 7
ROWS = (2, 2, 1, 1, 1, 0, 0)
TOKENS = sum(ROWS) * TIED.seq_len
WEIGHTS = random_parameters(TIED, 1, np.float32)
BATCH = random_batch(TIED, 2, sum(ROWS), TIED.seq_len)
BOUNDS = list(pairwise(np.cumsum([0, *ROWS]).tolist()))
INPUTS = tuple(freeze(BATCH[0][lo:hi]) for lo, hi in BOUNDS)
TARGETS = tuple(freeze(BATCH[1][lo:hi]) for lo, hi in BOUNDS)
WHOLE = ComputeShards(1, 1, 0, TOKENS, 0, Shards.of(INPUTS, TARGETS))


def fresh_token() -> JobToken:
    return JobToken(60.0)


def fresh_work() -> ShardWork:
    return ShardWork(TIED, shards=SHARDS, rows_max=2, weight_decay=0.1)


class CountedToken(JobToken):
    """Abandons its job at the n-th place where the job can be left."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        super().__init__(60.0)
        self.left = left

    def check(self) -> None:
        if self.left == 0:
            self.cancel()
        self.left -= 1
        super().check()


@pytest.fixture(scope="module")
def small_slices() -> Iterator[int]:
    """Slices so small that the model has many, the last of them shorter."""
    size = 1000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_module, "SLICE", size)
        patch.setattr(work_module, "SLICE", size)
        yield size


def plain_shard(shard: int) -> tuple[float, npt.NDArray[Any] | None]:
    """Loss and gradient of a shard, in memory of their own."""
    if not ROWS[shard]:
        return 0.0, None
    gradient = Parameters(TIED, np.full(layout_of(TIED).size, np.nan, np.float32))
    found = loss_and_gradient(
        WEIGHTS, gradient, INPUTS[shard], TARGETS[shard], Workspace(TIED, 2), loss_scale=1.0 / TOKENS
    )
    return found, gradient.flat


PLAIN = [plain_shard(shard) for shard in range(SHARDS)]


def node_sums(work: ShardWork, run: tuple[int, int]) -> list[NodeSum]:
    sums = work.compute(fresh_token(), WEIGHTS, WHOLE.part(run))
    return [NodeSum(*node, freeze(gradient.flat)) for node, gradient in sums.nodes]


@given(st.integers(0, SHARDS), st.integers(0, SHARDS))
def test_a_run_of_shards_is_computed_as_in_a_plain_loop(one: int, other: int) -> None:
    run = (min(one, other), max(one, other))
    sums = fresh_work().compute(fresh_token(), WEIGHTS, WHOLE.part(run))
    assert sums.losses.tolist() == [PLAIN[shard][0] for shard in range(*run)]
    for (lo, hi), gradient in sums.nodes:
        expected = tree_of([PLAIN[shard][1] for shard in range(lo, hi)])
        assert expected is not None
        assert gradient.flat.tobytes() == expected.tobytes()
    with_rows = {shard for shard in range(*run) if ROWS[shard]}
    assert {shard for node, _ in sums.nodes for shard in range(*node) if ROWS[shard]} == with_rows


def test_old_contents_of_pooled_memory_do_not_matter() -> None:
    work = fresh_work()
    for _ in range(6):
        work.gradients.give(Parameters(TIED, np.full(layout_of(TIED).size, np.nan, np.float32)))
    (_, gradient), *_ = work.compute(fresh_token(), WEIGHTS, WHOLE).nodes
    expected = tree_of([found for _, found in PLAIN])
    assert expected is not None
    assert gradient.flat.tobytes() == expected.tobytes()


def test_evaluation_gives_the_same_bits_as_training() -> None:
    """Never again: the loss on the screen was not the loss being optimised."""
    request = EvaluateShards(1, 0, 0, 0, Shards.of(INPUTS, TARGETS))
    losses = fresh_work().evaluate(fresh_token(), WEIGHTS, request)
    assert losses.tolist() == [found for found, _ in PLAIN]


def test_padding_is_not_trained_on() -> None:
    """Never again: padding was trained on."""
    targets = (TARGETS[0].copy(), *TARGETS[1:])
    targets[0][1, 5:] = -1
    request = ComputeShards(1, 1, 0, TOKENS - 7, 0, Shards.of(INPUTS, targets))
    found = fresh_work().compute(fresh_token(), WEIGHTS, request)
    kept = np.array([INPUTS[0][1, :5]]), np.array([TARGETS[0][1, :5]])
    alone = loss(WEIGHTS, *kept, Workspace(TIED, 2))
    full = loss(WEIGHTS, INPUTS[0][:1], TARGETS[0][:1], Workspace(TIED, 2))
    assert found.losses[0] == pytest.approx(alone + full, rel=1e-6)


@given(st.lists(st.integers(0, SHARDS), max_size=4))
def test_combining_runs_gives_the_nodes_of_the_whole_run(inner: list[int]) -> None:
    work = fresh_work()
    given_nodes = [node for run in pairwise([0, *sorted(inner), SHARDS]) for node in node_sums(work, run)]
    kept = [node.gradient.copy() for node in given_nodes]
    found, taken, _ = work.combine(fresh_token(), given_nodes, (0, SHARDS))
    expected = tree_of([gradient for _, gradient in PLAIN])
    assert expected is not None
    assert [(node, total.tobytes()) for node, total in found] == [((0, SHARDS), expected.tobytes())]
    assert all(np.array_equal(a.gradient, b) for a, b in zip(given_nodes, kept, strict=True)), "only read"
    assert len({id(buffer) for buffer in taken}) == len(taken)
    assert not any(np.shares_memory(buffer.flat, node.gradient) for buffer in taken for node in given_nodes)


@pytest.mark.usefixtures("small_slices")
@given(st.permutations(range(4)), st.lists(st.integers(0, SHARDS), max_size=3))
def test_slices_in_any_order_give_the_bits_of_the_whole_buffer(order: list[int], inner: list[int]) -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    nodes = tuple(node for run in pairwise([0, *sorted(inner), SHARDS]) for node in node_sums(work, run))
    memory.stage(nodes)
    slices, target = len(work.slices), memory.target(0)
    assert slices > 4
    for array in (*target.buffers, target.gradient):
        array.fill(np.nan)
    runs = [(part * slices // 4, (part + 1) * slices // 4) for part in order]
    squares = np.full(slices, np.nan)
    for run in runs:
        reduce = ReduceSlices(1, 0, 0, slices).part(run)
        squares[slice(*run)], _ = work.reduce(fresh_token(), target, reduce)
    for run in runs:
        apply = ApplySlices(1, 1, 0, 0, slices, 0.01, 0.5).part(run)
        work.apply(fresh_token(), target, memory.current, apply)
    expected = tree_of([gradient for _, gradient in PLAIN])
    assert expected is not None
    assert target.gradient.tobytes() == expected.tobytes()
    assert squares.tolist() == [sum_of_squares(expected[lo:hi]) for lo, hi in work.slices]
    new = AdamWBuffers(*(np.empty_like(buffer) for buffer in memory.current))
    hyper = AdamW(learning_rate=0.01, weight_decay=0.1)
    decay_end = layout_of(TIED).decay_end
    adamw_update(new, memory.current, expected, step=1, hyper=hyper, gradient_scale=0.5, decay_end=decay_end)
    assert [b.tobytes() for b in target.buffers] == [b.tobytes() for b in new]


def test_without_any_sequence_the_gradient_is_zero() -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    target = memory.target(0)
    target.gradient.fill(np.nan)
    squares, _ = work.reduce(fresh_token(), target, ReduceSlices(1, 0, 0, len(work.slices)))
    assert not target.gradient.any()
    assert not squares.any()


def _reduce(work: ShardWork, token: JobToken, memory: RunMemory) -> object:
    memory.stage(tuple(node_sums(work, (0, SHARDS))))
    return work.reduce(token, memory.target(0), ReduceSlices(1, 0, 0, len(work.slices)))


def _apply(work: ShardWork, token: JobToken, memory: RunMemory) -> object:
    memory.target(0).gradient.fill(1.0)
    request = ApplySlices(1, 1, 0, 0, len(work.slices), 0.01, 1.0)
    return work.apply(token, memory.target(0), memory.current, request)


def _combine(work: ShardWork, token: JobToken, _memory: RunMemory) -> object:
    nodes = [node for shard in range(SHARDS) for node in node_sums(work, (shard, shard + 1))]
    return work.combine(token, nodes, (0, SHARDS))


JOBS: dict[str, Callable[[ShardWork, JobToken, RunMemory], object]] = {
    "compute": lambda work, token, _memory: work.compute(token, WEIGHTS, WHOLE),
    "evaluate": lambda work, token, _memory: work.evaluate(
        token, WEIGHTS, EvaluateShards(1, 0, 0, 0, Shards.of(INPUTS, TARGETS))
    ),
    "combine": _combine,
    "reduce": _reduce,
    "apply": _apply,
}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.usefixtures("small_slices")
def test_a_job_can_be_left_and_leaves_no_harm(name: str) -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    before = memory.current.weights.tobytes()
    places = 0
    while places < 100:
        try:
            JOBS[name](work, CountedToken(places), memory)
            break
        except JobAbandoned:
            places += 1
    assert 1 <= places < 100, "it can be left, and otherwise it ends"
    assert memory.current.weights.tobytes() == before
    sums = work.compute(fresh_token(), WEIGHTS, WHOLE)
    assert sums.losses.tolist() == [found for found, _ in PLAIN]


def test_after_the_first_round_no_job_allocates_an_array_as_large_as_a_slice() -> None:
    config = ModelConfig(vocab_size=2100, dim=256, layers=1, heads=4, seq_len=TIED.seq_len)
    memory = RunMemory(config, initialise(config, 0))
    work = ShardWork(config, shards=SHARDS, rows_max=2, weight_decay=0.1)
    slices = len(work.slices)
    assert slices > 4

    def one_round() -> None:
        # Runs that are no nodes of the tree, so that there is something left to be summed.
        made = [work.compute(fresh_token(), memory.weights(0), WHOLE.part(run)) for run in ((0, 3), (3, 7))]
        buffers = [each for sums in made for each in sums.nodes]
        memory.stage(tuple(NodeSum(*node, freeze(gradient.flat)) for node, gradient in buffers))
        work.reduce(fresh_token(), memory.target(0), ReduceSlices(1, 0, 0, slices))
        apply = ApplySlices(1, 1, 0, 0, slices, 0.01, 1.0)
        assert work.apply(fresh_token(), memory.target(0), memory.current, apply)[0] == ""
        for _, gradient in buffers:
            work.gradients.give(gradient)

    one_round()
    tracemalloc.start()
    try:
        one_round()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < SLICE, "not even a byte for each float of a slice"


@pytest.mark.parametrize("name", ["compute", "evaluate"])
def test_workspaces_are_given_back_however_a_job_ends(name: str) -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    for token in (fresh_token(), CountedToken(0), CountedToken(3), fresh_token()):
        try:
            JOBS[name](work, token, memory)
        except JobAbandoned:
            assert token.cancelled
        assert len(work._workspaces._free) == 1


@pytest.mark.parametrize(("name", "pool"), [("reduce", "_sums"), ("apply", "_blocks")])
@pytest.mark.usefixtures("small_slices")
def test_scratch_is_given_back_however_a_job_ends(name: str, pool: str) -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    for places in (100, 0, 3, 100):
        with suppress(JobAbandoned):
            JOBS[name](work, CountedToken(places), memory)
        assert len(getattr(work, pool)._free) == 1


def test_gradients_that_were_added_to_another_are_given_back() -> None:
    work = fresh_work()
    nodes = work.compute(fresh_token(), WEIGHTS, WHOLE).nodes
    assert len(nodes) == 1
    with_rows = sum(1 for rows in ROWS if rows)
    assert 1 <= len(work.gradients._free) <= with_rows - 1
    assert all(free is not nodes[0][1] for free in work.gradients._free)


@pytest.mark.parametrize(("rate", "kind"), [(1e39, "weights"), (0.01, "second moment")])
def test_a_version_that_is_not_finite_is_never_made(rate: float, kind: str) -> None:
    work, memory = fresh_work(), RunMemory(TIED, initialise(TIED, 0))
    memory.target(0).gradient.fill(1e25)
    before = memory.current.weights.tobytes()
    request = ApplySlices(4, 4, 0, 0, len(work.slices), rate, 1.0)
    trouble, _ = work.apply(fresh_token(), memory.target(0), memory.current, request)
    assert trouble == f"the new {kind} of model.embed_tokens.weight would not be finite"
    assert memory.current.weights.tobytes() == before


def test_what_overflows_is_returned_and_not_raised() -> None:
    """Root finds, names and refuses it; a job that raised would look like a broken sphere."""
    wild = Parameters(TIED, WEIGHTS.flat * np.float32(1e12))
    sums = fresh_work().compute(fresh_token(), wild, WHOLE)
    assert not np.isfinite(sums.losses).all()
