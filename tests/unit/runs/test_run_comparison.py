"""Where runs part, which settings differ, whether the weights agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.runs import Metric, Parting, Record, Run, Weights, compare_runs, parse_metrics
from tests.helpers.run_folders import encoded, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD = Record(
    step=8,
    epoch=2,
    weights_sha256="aa",
    settings={"spheres": 2, "lr": 0.1},
    data="text.txt",
    data_fingerprint="fe",
    saved=0.0,
)


def run_of(losses: Sequence[float | None], **changes: Any) -> Run:
    return Run("run", parse_metrics(encoded(lines(losses)), "m"), replace(RECORD, **changes))


def test_equal_losses_do_not_part() -> None:
    losses = [0.1 + 0.2, None, 1e-300, 2.0]
    compared = compare_runs([run_of(losses), run_of(losses), run_of(losses[:2])], Metric.LOSS)
    assert compared.partings == (Parting(None, 4), Parting(None, 2))
    assert compared.weights == (Weights.SAME, Weights.SAME)
    assert compared.differences == ()


def test_losses_part_at_the_first_bit_that_differs() -> None:
    runs = [run_of([5.0, 0.1 + 0.2, 3.0]), run_of([5.0, 0.3, 3.0]), run_of([5.0, None, 3.0])]
    assert compare_runs(runs, Metric.LOSS).partings == (Parting(2, 3), Parting(2, 3))


def test_runs_without_a_common_step_do_not_part() -> None:
    compared = compare_runs([run_of([5.0]), run_of([])], Metric.LOSS)
    assert compared.partings == (Parting(None, 0),)
    assert (compared.rows, compared.common) == ((), 0)


def test_whether_runs_part_is_a_matter_of_the_loss_whatever_the_table_shows() -> None:
    compared = compare_runs([run_of([5.0, 4.0]), run_of([5.0, 3.0])], Metric.LR)
    assert compared.partings == (Parting(2, 2),)
    assert compared.rows == ((1, (0.001, 0.001)), (2, (0.002, 0.002)))


def test_a_long_table_has_the_ends_and_the_step_where_losses_part() -> None:
    first = [float(step) for step in range(1000, 0, -1)]
    second = [*first[:500], *(loss + 1 for loss in first[500:])]
    compared = compare_runs([run_of(first), run_of(second)], Metric.LOSS)
    steps = [step for step, _ in compared.rows]
    assert {1, 501, 1000} <= set(steps)
    assert len(steps) <= 13
    assert steps == sorted(steps)
    assert compared.common == 1000


def test_validation_losses_are_compared_at_the_ends_of_epochs() -> None:
    compared = compare_runs([run_of([4.0] * 8), run_of([3.0] * 5)], Metric.VAL_LOSS)
    assert compared.rows == ((4, (4.25, 3.25)),)


def test_settings_that_differ_are_named_also_where_one_run_lacks_them() -> None:
    other = {"spheres": 4, "lr": 0.1, "clip": 1.0}
    compared = compare_runs([run_of([]), run_of([], settings=other, data_fingerprint="00")], Metric.LOSS)
    found = {each.name: (each.values, each.neutral) for each in compared.differences}
    assert found == {
        "data_fingerprint": (("fe", "00"), False),
        "spheres": ((2, 4), True),
        "clip": ((None, 1.0), False),
    }


def test_a_run_without_a_checkpoint_makes_no_difference_of_settings() -> None:
    bare = replace(run_of([1.0]), record=None)
    assert compare_runs([bare, run_of([])], Metric.LOSS).differences == ()
    (found,) = compare_runs(
        [run_of([]), bare, run_of([], settings={"spheres": 2, "lr": 5})], Metric.LOSS
    ).differences
    assert found.values == (0.1, None, 5)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Weights.SAME),
        ({"step": 9}, Weights.SAME),
        ({"weights_sha256": "bb"}, Weights.DIFFERENT),
        ({"weights_sha256": "bb", "step": 9}, Weights.OTHER_STEPS),
        ({"weights_sha256": None}, Weights.UNKNOWN),
    ],
)
def test_weights_are_compared_by_their_hashes(changes: dict[str, Any], verdict: Weights) -> None:
    runs = [run_of([]), run_of([]), run_of([], **changes)]
    assert compare_runs(runs, Metric.LOSS).weights == (Weights.SAME, verdict)
