"""The geometry behind the word sphere: around one sphere there is room for exactly twelve equal ones.

Twelve is the kissing number of three-dimensional space (Schütte and van der Waerden 1953, "Das Problem
der dreizehn Kugeln"). So no coordinator ever talks to more than twelve spheres: the first twelve touch
Root, each of these has room for twelve of its own, and so on, 12 + 144 + 1728 + ...

Spheres are numbered from 0, level by level. Within a level they are dealt out like cards, one to each
sphere of the level above in turn, so that any two of these differ by at most one child.
"""

from __future__ import annotations

__all__ = ["KISSING_NUMBER", "children", "parents"]

KISSING_NUMBER = 12
"""The most spheres that can touch one sphere, hence the most children of a node."""


def parents(n: int) -> tuple[int | None, ...]:
    """The parent of each of `n` spheres; None stands for Root.

    A parent always has a lower number than its children, and no tree of `n` spheres with at most
    twelve children a node is less deep.

    Raises:
        ValueError: `n` is negative.

    >>> parents(14)[10:]
    (None, None, 0, 1)
    """
    if n < 0:
        raise ValueError(f"the number of spheres must be >= 0, got {n}")
    found: list[int | None] = [None] * min(n, KISSING_NUMBER)
    level_start, level_size = 0, KISSING_NUMBER
    while len(found) < n:
        room = min(n - len(found), level_size * KISSING_NUMBER)
        found.extend(level_start + j % level_size for j in range(room))
        level_start, level_size = level_start + level_size, level_size * KISSING_NUMBER
    return tuple(found)


def children(n: int) -> dict[int | None, tuple[int, ...]]:
    """The children of Root (key None) and of each of `n` spheres, in rising order.

    Every sphere is a key; a leaf has the empty tuple.

    Raises:
        ValueError: `n` is negative.

    >>> children(14)[0]
    (12,)
    """
    grown: dict[int | None, list[int]] = {None: [], **{sphere: [] for sphere in range(n)}}
    for sphere, parent in enumerate(parents(n)):
        grown[parent].append(sphere)
    return {node: tuple(below) for node, below in grown.items()}
