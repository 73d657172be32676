"""Twelve spheres touch one: the tree's shape follows from that for any number of spheres."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.lattice import KISSING_NUMBER, children, parents

SPHERES = st.one_of(st.integers(0, 40), st.integers(0, 2_500))


def depth_of(sphere: int, tree: tuple[int | None, ...]) -> int:
    parent = tree[sphere]
    return 1 if parent is None else 1 + depth_of(parent, tree)


def test_up_to_twelve_sit_under_root() -> None:
    assert parents(12) == (None,) * 12


def test_the_thirteenth_hangs_under_the_first() -> None:
    assert parents(13)[12] == 0


def test_the_second_level_is_dealt_out_in_turn() -> None:
    assert parents(26)[12:] == (*range(12), 0, 1)


def test_the_third_level_starts_when_the_second_is_full() -> None:
    tree = parents(12 + 144 + 2)
    assert tree[12 + 143] == 11
    assert tree[12 + 144 :] == (12, 13)


def test_no_spheres_make_an_empty_tree() -> None:
    assert parents(0) == ()
    assert children(0) == {None: ()}


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="got -1"):
        parents(-1)


@given(SPHERES)
def test_every_sphere_has_one_earlier_parent_with_room(n: int) -> None:
    tree = parents(n)
    assert len(tree) == n
    assert all(parent is None or 0 <= parent < sphere for sphere, parent in enumerate(tree))
    assert max(Counter(tree).values(), default=0) <= KISSING_NUMBER


@given(st.integers(1, 2_500))
def test_the_tree_is_as_shallow_as_can_be(n: int) -> None:
    tree = parents(n)
    needed, room = 0, 0
    while room < n:
        needed += 1
        room += KISSING_NUMBER**needed
    assert max(depth_of(sphere, tree) for sphere in range(n)) == needed


@given(st.integers(1, 2_500))
def test_spheres_of_one_level_carry_equal_loads(n: int) -> None:
    tree, loads = parents(n), Counter(parents(n))
    by_level: dict[int, list[int]] = {}
    for sphere in range(n):
        by_level.setdefault(depth_of(sphere, tree), []).append(loads[sphere])
    assert all(max(level) - min(level) <= 1 for level in by_level.values())


@given(SPHERES)
def test_children_are_the_parents_turned_round(n: int) -> None:
    below = children(n)
    assert set(below) == {None, *range(n)}
    assert {(child, node) for node, group in below.items() for child in group} == set(enumerate(parents(n)))
    assert all(list(group) == sorted(group) for group in below.values())
