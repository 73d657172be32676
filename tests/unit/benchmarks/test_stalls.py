"""What the benchmark of checkpoints concludes from when steps ended."""

from __future__ import annotations

import pytest

from tests.benchmarks.checkpoint import findings
from tests.benchmarks.exact.stalls import Moment, Stalls, stalls_of

# Steps of one second with pauses of 1 ms; behind steps 2 and 4, which are saved, 11 and 31 ms.
MOMENTS = [
    Moment(1, 1.0, 1.0),
    Moment(2, 2.001, 1.0),
    Moment(3, 3.512, 1.5),
    Moment(4, 4.513, 1.0),
    Moment(5, 5.544, 1.0),
]


def test_a_stall_is_the_pause_behind_a_save_less_the_usual_one() -> None:
    stalls = stalls_of(MOMENTS, {2: 3.2, 4: 4.53})
    assert stalls.pause_ms == pytest.approx(1.0)
    assert stalls.stalls_ms == pytest.approx((10.0, 30.0))
    assert stalls.written_ms == pytest.approx((1199.0, 17.0))


def test_steps_that_begin_while_a_checkpoint_is_written_are_told_from_the_others() -> None:
    stalls = stalls_of(MOMENTS, {2: 3.2, 4: 4.53})  # the second was on the disk before step 5 began
    assert stalls.beside_ms == pytest.approx((1500.0,))
    assert stalls.alone_ms == pytest.approx((1000.0, 1000.0, 1000.0))
    assert stalls.slowdown == pytest.approx(1.5)
    assert stalls_of(MOMENTS[:2], {}).slowdown is None


@pytest.mark.parametrize(("worst_ms", "reached"), [(50.0, True), (50.1, False)])
def test_the_longest_stall_counts(worst_ms: float, *, reached: bool) -> None:
    found = findings(Stalls((1.0, worst_ms, 1.0), 0.1, (200.0,), (), (300.0,)))
    assert found["goal_reached"] is reached
    assert found["stall_ms"] == {"median": 1.0, "worst": worst_ms}
    assert found["slowdown"] is None
