"""Symmetry of token ids and the shape of the sphere tree. Pure: integers in, integers out."""

from __future__ import annotations

from crystalline.lattice.packing import KISSING_NUMBER, children, parents
from crystalline.lattice.symmetry import SYMMETRY_ORDER, dominant_group, group_of

__all__ = [
    "KISSING_NUMBER",
    "SYMMETRY_ORDER",
    "children",
    "dominant_group",
    "group_of",
    "parents",
]
