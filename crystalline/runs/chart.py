"""Curves as lines of text: one curve in braille dots, several as one letter each."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystalline.runs.curves import Curve

__all__ = ["BRAILLE", "LETTERS", "draw"]

LETTERS: Final = ascii_uppercase
"""Which curve is which, in the order of the curves."""

BRAILLE: Final = 0x2800
"""The empty pattern; a bit is a dot."""

# A character has 2 columns and 4 rows of dots; Unicode numbers the dots of the lowest row last.
_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_SEVERAL: Final = "*"
_ONE: Final = "o"
_WIDTH_MIN: Final = 40
_WHOLE_MAX: Final = 10**9


@dataclass(slots=True)
class _Canvas:
    """Dots by place, of one curve.

    Attributes:
        columns: of dots; x 0 is left.
        rows: of dots; y 0 is the bottom.
    """

    columns: int
    rows: int
    cells: dict[tuple[int, int], int] = field(default_factory=dict)

    def dot(self, x: int, y: int) -> None:
        column, row = x // 2, (self.rows - 1 - y) // 4
        bit = _DOTS[x % 2][(self.rows - 1 - y) % 4]
        self.cells[column, row] = self.cells.get((column, row), 0) | bit

    def line(self, begin: tuple[int, int], end: tuple[int, int]) -> None:
        """Dots from one to the other, without a gap."""
        (x0, y0), (x1, y1) = begin, end
        count = max(abs(x1 - x0), abs(y1 - y0), 1)
        for index in range(count + 1):
            self.dot(x0 + round(index * (x1 - x0) / count), y0 + round(index * (y1 - y0) / count))


@dataclass(frozen=True, slots=True)
class _Range:
    least: float
    most: float

    def part(self, value: float) -> float:
        """Where it lies, from 0 to 1; in the middle when there is only one value."""
        if self.most <= self.least:
            return 0.5
        return min(max((value - self.least) / (self.most - self.least), 0.0), 1.0)


def draw(curves: Sequence[Curve], *, width: int, height: int = 12, plain: bool = False) -> list[str]:
    """Curves in one frame, each point joined to the next; one string a line, without spaces at its end.

    Args:
        curves: at most 26; without any point there is nothing to draw.
        width: columns in all; at least 40 are used.
        height: rows of the frame.
        plain: no characters beyond ASCII.

    Returns:
        [] when no curve has a point.
    """
    points = [point for curve in curves for point in curve.points()]
    if not points:
        return []
    across = _Range(min(x for x, _ in points), max(x for x, _ in points))
    upward = _Range(min(y for _, y in points), max(y for _, y in points))
    labels = [f"{upward.most:.4g}", f"{upward.least:.4g}"]
    columns = max(width, _WIDTH_MIN) - max(map(len, labels)) - 2
    canvases = [_drawn(curve, across, upward, columns, height) for curve in curves]
    rows = [
        "".join(_character(canvases, (column, row), plain=plain) for column in range(columns))
        for row in range(height)
    ]
    return list(_framed(rows, labels, across, plain=plain))


def _drawn(curve: Curve, across: _Range, upward: _Range, columns: int, height: int) -> _Canvas:
    canvas = _Canvas(2 * columns, 4 * height)
    before = None
    for x, y in zip(curve.xs, curve.ys, strict=True):
        if math.isnan(y):
            before = None
            continue
        here = (
            round(across.part(x) * (canvas.columns - 1)),
            round(upward.part(y) * (canvas.rows - 1)),
        )
        canvas.line(before or here, here)
        before = here
    return canvas


def _character(canvases: Sequence[_Canvas], cell: tuple[int, int], *, plain: bool) -> str:
    here = [number for number, canvas in enumerate(canvases) if cell in canvas.cells]
    if not here:
        return " "
    if len(canvases) == 1:
        return _ONE if plain else chr(BRAILLE + canvases[0].cells[cell])
    return LETTERS[here[0]] if len(here) == 1 else _SEVERAL


def _framed(rows: Sequence[str], labels: Sequence[str], across: _Range, *, plain: bool) -> Iterator[str]:
    side, corner, floor = ("|", "+", "-") if plain else ("│", "└", "─")
    width, columns = max(map(len, labels)), len(rows[0])
    for number, row in enumerate(rows):
        label = {len(rows) - 1: labels[1], 0: labels[0]}.get(number, "")
        yield f"{label:>{width}} {side}{row}".rstrip()
    yield f"{'':>{width}} {corner}{floor * columns}"
    least, most = _place(across.least), _place(across.most)
    end = "" if most == least else f"{most:>{columns - len(least)}}"
    yield f"{'':>{width}}  {least}{end}"


def _place(x: float) -> str:
    return f"{x:.0f}" if x < _WHOLE_MAX and x.is_integer() else f"{x:.6g}"
