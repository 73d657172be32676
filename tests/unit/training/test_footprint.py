"""What a run is said to take is what it takes."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import JobToken, freeze
from crystalline.data import Corpus
from crystalline.model import ModelConfig, Parameters, Workspace, initialise, layout_of
from crystalline.training.events import StepDone
from crystalline.training.footprint import footprint, gradients_at_once, peak_rss_bytes, rows_in_a_shard
from crystalline.training.messages import ComputeShards, NodeSum, Shards
from crystalline.training.plan import TreePlan
from crystalline.training.work import ShardWork
from tests.helpers.texts import words
from tests.helpers.tiny_work import CONFIG
from tests.helpers.training import MODEL, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.training.plan import Run

WEIGHTS = Parameters(CONFIG, freeze(initialise(CONFIG, 0)))


class Counting(ShardWork):
    """The jobs of a run, with the number of gradients that were ever made for them."""

    def __init__(self, shards: int) -> None:
        super().__init__(CONFIG, shards=shards, rows_max=1, weight_decay=0.1)
        self.made = 0
        self.gradients._make = self._make

    def _make(self) -> Parameters:
        self.made += 1
        return Parameters(CONFIG, np.empty(layout_of(CONFIG).size, np.float32))


def request(run: Run) -> ComputeShards:
    one = freeze(np.zeros((1, CONFIG.seq_len), np.int32))
    rows = (one,) * (run[1] - run[0])
    return ComputeShards(1, 1, 0, CONFIG.seq_len, run[0], Shards.of(rows, rows))


def nodes_of(work: ShardWork, run: Run) -> list[NodeSum]:
    sums = work.compute(JobToken(60.0), WEIGHTS, request(run))
    return [NodeSum(*node, freeze(gradient.flat)) for node, gradient in sums.nodes]


def sums_below(work: ShardWork, plan: TreePlan, sphere: int, runs: dict[int, Run]) -> list[NodeSum]:
    """Let a sphere and all below it work, one after the other, and keep what they publish."""
    if runs[sphere][0] == runs[sphere][1]:
        return []
    if not plan.below[sphere]:
        return nodes_of(work, runs[sphere])
    given = [node for child in plan.below[sphere] for node in sums_below(work, plan, child, runs)]
    found, _, _ = work.combine(JobToken(60.0), given, runs[sphere])
    return [NodeSum(*node, freeze(gradient)) for node, gradient in found]


@given(spheres=st.integers(1, 30), shards=st.integers(1, 20))
def test_gradients_are_as_many_as_planned(spheres: int, shards: int) -> None:
    """One thread after the other; the one that needs most beside what it keeps comes last where it can."""
    plan, work = TreePlan(spheres), Counting(shards)
    runs = plan.runs(shards)
    for sphere in sorted(plan.below[None], key=lambda top: runs[top][1] - runs[top][0]):
        sums_below(work, plan, sphere, runs)
    planned = gradients_at_once(plan, shards, threads=1)
    assert work.made <= planned
    # Shards in a run that is no node of the tree may need less than a shorter run; then order matters.
    assert work.made >= planned - (spheres > 1)


@pytest.mark.parametrize("shards", [1, 2, 7, 12, 13])
def test_one_sphere_needs_exactly_what_is_planned(shards: int) -> None:
    work = Counting(shards)
    nodes_of(work, (0, shards))
    assert work.made == gradients_at_once(TreePlan(1), shards, threads=2)


class Together(JobToken):
    """Of jobs that go on in step with each other."""

    def __init__(self, barrier: threading.Barrier) -> None:
        super().__init__(60.0)
        self._barrier = barrier

    def check(self) -> None:
        self._barrier.wait(30.0)


@pytest.mark.parametrize("spheres", [2, 4])
def test_leaves_in_step_with_each_other_need_exactly_what_is_planned(spheres: int) -> None:
    work, barrier = Counting(12), threading.Barrier(spheres)
    runs = TreePlan(spheres).runs(12).values()
    with ThreadPoolExecutor(spheres) as pool:
        jobs = [pool.submit(work.compute, Together(barrier), WEIGHTS, request(run)) for run in runs]
        for job in jobs:
            job.result(60.0)
    assert work.made == gradients_at_once(TreePlan(spheres), 12, threads=spheres)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_workspace_is_as_large_as_planned(*, recompute: bool) -> None:
    train = settings(recompute=recompute)
    planned = footprint(MODEL, train, rows=3, keeps_files=False, threads=1)
    assert planned.workspaces == Workspace(MODEL, 3, recompute=recompute).nbytes
    unknown = footprint(MODEL, train, rows=None, keeps_files=False, threads=1)
    assert unknown == replace(planned, workspaces=0)


def test_only_what_is_at_work_at_a_time_has_workspaces() -> None:
    one = footprint(MODEL, settings(spheres=1), rows=1, keeps_files=False, threads=8).workspaces
    for spheres, shards, threads, at_work in [(2, 12, 8, 2), (12, 12, 2, 2), (12, 3, 8, 3), (14, 12, 64, 12)]:
        train = settings(spheres=spheres, shards=shards)
        found = footprint(MODEL, train, rows=1, keeps_files=False, threads=threads).workspaces
        assert found == at_work * one


def test_files_cost_a_copy_of_weights_and_moments() -> None:
    without, with_files = (footprint(MODEL, settings(), rows=1, keeps_files=keeps) for keeps in (False, True))
    assert with_files.total - without.total == 3 * 4 * MODEL.parameter_count()


def test_a_text_of_few_windows_has_few_rows() -> None:
    train = settings(batch_size=100, shards=12)
    assert [rows_in_a_shard(train, windows) for windows in (1, 12, 13, 1000)] == [1, 1, 2, 9]


LARGE_ENOUGH = ModelConfig(vocab_size=290, dim=128, layers=2, heads=2, ffn_dim=256, seq_len=32)


@pytest.mark.parametrize(("spheres", "shards"), [(1, 12), (2, 12), (3, 7), (13, 13)])
@pytest.mark.parametrize("files", [False, True])
async def test_a_run_allocates_what_was_planned(
    tmp_path: Path, spheres: int, shards: int, *, files: bool
) -> None:
    train = settings(spheres=spheres, shards=shards, batch_size=3 * shards, steps=4, epochs=1, val_fraction=0)
    out = tmp_path / "out" if files else None
    corpus = Corpus.from_text(words(30_000))
    async with trainer_of(train, model=LARGE_ENOUGH, corpus=corpus):
        pass  # the tokenizer is made, and modules are loaded, before anything is measured
    held = 0
    tracemalloc.start()
    try:
        async with trainer_of(train, model=LARGE_ENOUGH, corpus=corpus, out=out) as trainer:
            async for event in trainer.events():
                if isinstance(event, StepDone) and event.step < event.steps:  # then a checkpoint is written
                    held = max(held, tracemalloc.get_traced_memory()[0])
            report, config = await trainer.fit(), trainer.model_config
    finally:
        tracemalloc.stop()
    planned = footprint(config, train, rows=3, keeps_files=files)
    assert report.planned_bytes == planned.total
    assert held <= 1.03 * planned.total
    # How many leaves are at their worst at a time, and how many at work, is a matter of luck; one is.
    least = footprint(config, train, rows=3, keeps_files=files, threads=1)
    least_gradients = least.gradients - (spheres > 1) * 4 * config.parameter_count()
    assert held >= 0.97 * (least.total - least.gradients + least_gradients)


def test_the_peak_is_that_of_this_process_and_in_bytes() -> None:
    before = peak_rss_bytes()
    block = np.ones(max(before, 64 << 20) // 8 + (8 << 20))  # more than was ever in use, all of it written to
    grown = peak_rss_bytes()
    assert before > 10 << 20
    assert block.nbytes <= grown <= before + 2 * block.nbytes
