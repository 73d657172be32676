"""Exact reduction: partial sums are added in the order of one fixed binary tree over the shards.

A node of the tree is a range of shards [lo, hi), cut in the middle. Its sum is always left + right, so the
result has the same bits whoever computed what, and in whichever order it arrived. A shard without
sequences has no sum; a node with one child that has a sum passes that sum on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Node", "covering_nodes", "split", "tree_sum"]

Node = tuple[int, int]
S = TypeVar("S")


def split(node: Node) -> tuple[Node, Node]:
    """The two children of a node of at least two shards."""
    lo, hi = node
    middle = (lo + hi) // 2
    return (lo, middle), (middle, hi)


def covering_nodes(run: Node, node: Node) -> list[Node]:
    """The largest nodes at and below `node` that lie within `run`, from left to right.

    >>> covering_nodes((0, 4), (0, 12))
    [(0, 3), (3, 4)]
    """
    lo, hi = max(run[0], node[0]), min(run[1], node[1])
    if lo >= hi:
        return []
    if (lo, hi) == node:
        return [node]
    left, right = split(node)
    return covering_nodes(run, left) + covering_nodes(run, right)


def tree_sum(node: Node, known: Callable[[Node], S | None], add: Callable[[S, S], S]) -> S | None:
    """The sum of a node.

    Args:
        node: which one.
        known: returns the sum of a node that is known as a whole, or None. Asked before a node is split.
        add: returns left + right; it may reuse the memory of either.

    Returns:
        None when no shard below has a sum.
    """
    whole = known(node)
    if whole is not None or node[1] - node[0] == 1:
        return whole
    left_node, right_node = split(node)
    left, right = tree_sum(left_node, known, add), tree_sum(right_node, known, add)
    if left is None or right is None:
        return right if left is None else left
    return add(left, right)
