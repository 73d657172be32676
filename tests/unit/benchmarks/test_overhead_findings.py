"""What the benchmarks of overhead and memory conclude from what they have seen."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks import memory, overhead
from tests.benchmarks.exact.sizes import SIZES
from tests.benchmarks.overheads.empty import intervals_of, text_of
from tests.benchmarks.overheads.shares import PARTS, Job, StepTimes, Stopwatch, measure, parts_of
from tests.benchmarks.speed.child import ChildError

if TYPE_CHECKING:
    from pathlib import Path

# Two threads and 10 s: one is at it for 8 s of the first job, the other for 6; both have 1 s of the others.
STEP = StepTimes(
    wall_s=10.2,
    batch_s=0.1,
    jobs=[
        Job("compute", 0.1, 8.1, arithmetic_s=7.0, additions_s=0.5),
        Job("compute", 0.1, 6.1, arithmetic_s=5.5, additions_s=0.25),
        Job("reduce", 8.1, 8.6),
        Job("reduce", 8.1, 8.5),
        Job("apply", 8.6, 9.6, arithmetic_s=0.75),
        Job("apply", 8.6, 9.6, arithmetic_s=1.0),
    ],
)


def test_the_parts_of_a_step_are_what_the_threads_have() -> None:
    parts = parts_of(STEP, 2)
    assert tuple(parts) == PARTS
    assert sum(parts.values()) == pytest.approx(2 * STEP.wall_s)
    assert parts["arithmetic"] == pytest.approx(14.25)
    assert parts["additions"] == pytest.approx(0.75)
    assert parts["reduction"] == pytest.approx(0.9)
    assert parts["checks"] == pytest.approx(1.0)
    assert parts["imbalance"] == pytest.approx(2.1)
    assert parts["messages"] == pytest.approx(1.4)


@pytest.mark.parametrize(("batch_s", "reached"), [(0.0, True), (0.5, False)])
def test_overhead_is_judged_without_what_one_thread_waits_for_the_other(
    batch_s: float, *, reached: bool
) -> None:
    jobs = [Job("compute", 0.0, end_s, arithmetic_s=end_s) for end_s in (10.0, 6.0)]
    found = overhead.real_findings([StepTimes(10.1 + batch_s, batch_s, jobs)] * 3)
    assert found["goals"]["overhead_share"].reached is reached
    assert found["real"]["share"]["imbalance"] > 0.15
    assert found["real"]["batch_beside_ms"] == batch_s * 1e3


async def test_every_step_writes_its_line_and_no_checkpoint_comes_between(tmp_path: Path) -> None:
    corpus, steps = text_of(6), 6
    intervals = await intervals_of(2, corpus, steps - 2, 2, tmp_path / "empty")
    real = await measure(SIZES["tiny"], 2, steps, tmp_path / "real", lambda _: None)
    assert sum(step.batch_s for step in real) > 0, "the batches are made elsewhere: they are to be seen"
    assert len(intervals) == steps - 2
    for run in ("empty", "real"):
        lines = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines[:steps]] == list(range(1, steps + 1))
        assert len(list((tmp_path / run / "checkpoints").iterdir())) == 1, "at the end"


@pytest.mark.parametrize(("two", "many", "reached"), [(0.9, 4.9, True), (1.1, 4.9, False), (0.9, 5.1, False)])
def test_empty_steps_are_judged_by_their_median(two: float, many: float, *, reached: bool) -> None:
    goals = overhead.empty_findings({2: [0.1, two, 9.0], 25: [0.1, many, 9.0]})["goals"]
    assert all(goal.reached for goal in goals.values()) is reached


def test_a_stopwatch_counts_calls_and_begins_again() -> None:
    watch = Stopwatch()
    nap = watch.around(lambda: time.sleep(0.01))
    nap()
    nap()
    assert watch.take() >= 0.02
    assert watch.take() == 0.0


RUN: dict[str, Any] = {
    "interpreter": 50_000_000,
    "opened": 60_000_000,
    "after_step": [140_000_000] * 30 + [141_000_000] * 30,
    "peak": 150_000_000,
    "planned": {"weights": 70_000_000, "gradients": 30_000_000},
    "step_s": 0.5,
    "arithmetic": "numpy 1, openblas 2 A",
}


def test_memory_is_judged_by_the_peak_and_by_growth() -> None:
    found = memory.findings(RUN)
    assert found["goals"]["peak_to_planned"]["figure"] == 1.0
    assert found["goals"]["growth"]["figure"] == pytest.approx(1 / 140, abs=1e-3)
    assert found["slope_kb_per_step"] > 0
    assert found["goal_reached"]
    assert "MISSED" not in memory.show(found)
    assert found["arithmetic"] == RUN["arithmetic"]


@pytest.mark.parametrize(
    "change",
    [{"peak": 180_000_000}, {"after_step": [140_000_000] * 30 + [144_000_000]}, {"after_step": [1] * 20}],
)
def test_a_high_peak_growth_and_a_run_too_short_are_misses(change: dict[str, Any]) -> None:
    found = memory.findings({**RUN, **change})
    assert not found["goal_reached"]
    assert "MISSED" in memory.show(found)


def test_a_training_that_does_not_end_is_ended() -> None:
    with pytest.raises(ChildError, match=r"was not done within 0\.01 s"):
        memory.run("tiny", 1, 1_000_000, limit_s=0.01)


def test_growth_in_the_first_steps_does_not_count() -> None:
    warm = [100, 200, 300] + [400] * 17
    assert memory.growth([*warm, 400, 400]) == 0.0
    assert memory.growth([*warm, 400, 500]) == 0.25
