"""Exact reduction: whoever computed what, and in whichever order it arrived, the sum has the same bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crystalline.training.reduce import Node, covering_nodes, split, tree_sum

Array = npt.NDArray[Any]
SIZES = st.sampled_from([1, 2, 3, 12, 13, 144]) | st.integers(1, 60)


def nodes_of(node: Node) -> set[Node]:
    """All nodes of the tree at and below one."""
    if node[1] - node[0] == 1:
        return {node}
    left, right = split(node)
    return {node} | nodes_of(left) | nodes_of(right)


def parents_of(tree: Node) -> dict[Node, Node]:
    return {child: node for node in nodes_of(tree) if node[1] - node[0] > 1 for child in split(node)}


def gradients(shards: int, seed: int, present: float = 1.0) -> dict[Node, Array]:
    """One array for each shard that has one, of so different sizes that every order of additions shows."""
    rng = np.random.default_rng(seed)
    arrays = (10.0 ** rng.uniform(-4, 4, (shards, 9)) * rng.standard_normal((shards, 9))).astype(np.float32)
    return {(i, i + 1): arrays[i] for i in range(shards) if rng.random() < present}


def whole_sum(tree: Node, known: dict[Node, Array]) -> bytes | None:
    total = tree_sum(tree, known.get, np.add)
    return None if total is None else total.tobytes()


def summed(run: Node, tree: Node, known: dict[Node, Array]) -> dict[Node, Array]:
    """What a sphere returns for its run: the sums of the largest nodes that it can know."""
    sums = {node: tree_sum(node, known.get, np.add) for node in covering_nodes(run, tree)}
    return {node: total for node, total in sums.items() if total is not None}


@st.composite
def cuts(draw: st.DrawFn, shards: int) -> list[Node]:
    """The shards in contiguous runs, some of them empty."""
    inner = draw(st.lists(st.integers(0, shards), max_size=30))
    return list(pairwise([0, *sorted(inner), shards]))


@given(st.data(), SIZES)
def test_covering_nodes_partition_a_run_into_the_largest_nodes(data: st.DataObject, shards: int) -> None:
    tree = (0, shards)
    lo, hi = sorted(data.draw(st.tuples(st.integers(0, shards), st.integers(0, shards))))
    nodes, parents = covering_nodes((lo, hi), tree), parents_of(tree)
    assert [shard for node in nodes for shard in range(*node)] == list(range(lo, hi))
    assert set(nodes) <= nodes_of(tree)
    for node in nodes:
        if node != tree:
            parent = parents[node]
            assert not (lo <= parent[0] and parent[1] <= hi), "a larger node lies within the run"


@given(st.data(), SIZES, st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_no_cut_and_no_order_of_arrival_changes_a_bit(
    data: st.DataObject, shards: int, seed: int, present: float
) -> None:
    tree, single = (0, shards), gradients(shards, seed, present)
    parts = [summed(run, tree, single) for run in data.draw(cuts(shards))]
    arrived = {node: total for part in data.draw(st.permutations(parts)) for node, total in part.items()}
    assert whole_sum(tree, arrived) == whole_sum(tree, single)


@given(st.data(), SIZES, st.integers(0, 2**32))
def test_neither_does_a_level_of_spheres_in_between(data: st.DataObject, shards: int, seed: int) -> None:
    tree, single = (0, shards), gradients(shards, seed, 0.8)
    runs = data.draw(cuts(shards))
    below = [summed(run, tree, single) for run in runs]
    middle = data.draw(st.integers(0, len(runs)))
    arrived: dict[Node, Array] = {}
    for group, part in ((runs[:middle], below[:middle]), (runs[middle:], below[middle:])):
        if group:
            known = {node: total for sums in part for node, total in sums.items()}
            arrived |= summed((group[0][0], group[-1][1]), tree, known)
    assert whole_sum(tree, arrived) == whole_sum(tree, single)


@given(SIZES, st.integers(0, 2**32))
@example(12, 0)
def test_memory_may_be_reused_on_the_way(shards: int, seed: int) -> None:
    tree, single = (0, shards), gradients(shards, seed)
    expected = whole_sum(tree, single)
    own = {node: array.copy() for node, array in single.items()}
    total = tree_sum(tree, own.get, lambda left, right: np.add(left, right, out=left))
    assert total is not None
    assert total.tobytes() == expected


@pytest.mark.parametrize("shards", [12, 13, 144])
def test_the_order_of_additions_does_matter(shards: int) -> None:
    """Without this the tests above would hold for any order."""
    single = gradients(shards, 0)
    in_a_row = np.zeros(9, np.float32)
    for array in single.values():
        in_a_row = in_a_row + array
    assert in_a_row.tobytes() != whole_sum((0, shards), single)


@pytest.mark.parametrize("shards", [1, 12, 13, 144])
def test_shards_without_sequences_have_no_sum(shards: int) -> None:
    tree, nothing = (0, shards), dict[Node, Array]()
    assert tree_sum(tree, nothing.get, np.add) is None
    for shard in range(shards):
        alone = {(shard, shard + 1): np.float32(7.0)}
        assert tree_sum(tree, alone.get, np.add) == np.float32(7.0)


def test_a_known_node_is_not_split() -> None:
    asked: list[Node] = []

    def known(node: Node) -> int | None:
        asked.append(node)
        return {(0, 6): 1, (6, 12): 2}.get(node)

    assert tree_sum((0, 12), known, lambda left, right: left + right) == 3
    assert asked == [(0, 12), (0, 6), (6, 12)]
