"""Who does which part of the work: contiguous, even, complete, for any number of spheres."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.training.plan import TreePlan, steps_planned

SPHERES = st.integers(1, 200)
UNITS = st.integers(1, 50)


def leaves_of(plan: TreePlan) -> list[int]:
    return [sphere for sphere in range(plan.spheres) if not plan.below[sphere]]


@given(SPHERES, UNITS)
def test_leaves_cover_every_unit_once_in_contiguous_runs(spheres: int, units: int) -> None:
    plan = TreePlan(spheres)
    runs = sorted(plan.runs(units)[leaf] for leaf in leaves_of(plan))
    assert [unit for run in runs for unit in range(*run)] == list(range(units))


@given(SPHERES, UNITS)
def test_no_leaf_starves(spheres: int, units: int) -> None:
    """Never again: all batches of a run went to symmetry group 0, while the root waited for every child."""
    plan = TreePlan(spheres)
    sizes = [hi - lo for lo, hi in (plan.runs(units)[leaf] for leaf in leaves_of(plan))]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == sum(plan.leaves[child] for child in plan.below[None])


@given(SPHERES, UNITS)
def test_a_parent_is_responsible_for_what_its_children_do(spheres: int, units: int) -> None:
    plan = TreePlan(spheres)
    runs = plan.runs(units)
    for sphere in range(spheres):
        if plan.below[sphere]:
            units_below = [unit for child in plan.below[sphere] for unit in range(*runs[child])]
            assert units_below == list(range(*runs[sphere]))


@given(SPHERES, UNITS)
def test_surplus_leaves_rest(spheres: int, shards: int) -> None:
    plan = TreePlan(spheres)
    resting = plan.resting(shards)
    assert len(resting) == max(0, len(leaves_of(plan)) - shards)
    assert all(len(range(*plan.runs(shards)[leaf])) == 0 for leaf in resting)


@pytest.mark.parametrize(("spheres", "leaves"), [(1, 1), (2, 2), (12, 12), (13, 12), (14, 12), (25, 13)])
def test_spheres_beyond_twelve_are_children_of_spheres(spheres: int, leaves: int) -> None:
    plan = TreePlan(spheres)
    assert len(leaves_of(plan)) == leaves
    assert max(len(below) for below in plan.below.values()) <= 12


def test_one_sphere_does_everything() -> None:
    """Never again: one thread meant modulo by zero and no worker."""
    assert TreePlan(1).runs(12) == {0: (0, 12)}
    assert TreePlan(1).resting(12) == []


@given(st.integers(1, 40), st.integers(1, 40), st.none() | st.integers(1, 2000))
def test_steps_planned(per_epoch: int, epochs: int, most: int | None) -> None:
    planned = steps_planned(per_epoch, epochs, most)
    whole = per_epoch * epochs
    assert sum(planned) == (whole if most is None else min(whole, most))
    assert all(steps == per_epoch for steps in planned[:-1])
    assert 1 <= planned[-1] <= per_epoch
    assert len(planned) <= epochs
