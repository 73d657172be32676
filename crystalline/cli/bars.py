"""Bars of characters: how far a run is, and how its spheres spend their time."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final

from rich.text import Text

from crystalline.lattice import parents

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run_bar", "sphere_loads"]

_LINES_MAX: Final = 12  # more lines than this push everything else off a small terminal
_LOAD_WIDTH: Final = 20
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"
_CONTROL: Final = "·"
# Told apart by their shape; colours only help.
_BUSY, _WAITING, _IDLE = ("█", "cyan"), ("▒", "yellow"), ("░", "bright_black")
_WORDS_WIDTH: Final = len("  waiting 100%  idle 100%")


def run_bar(part: float, width: int) -> Text:
    """How far a run is: one line of `width` columns.

    Args:
        part: of its steps that are done; what lies outside [0, 1] counts as the nearer end.
        width: columns, 14 at least.
    """
    bar = _stacked([_clipped(part)], max(width, 14) - 10, [("━", "cyan"), ("─", "bright_black")])
    return Text("run  ").append_text(bar).append(f"{_clipped(part):5.0%}")


def sphere_loads(busy: Sequence[float], waiting: Sequence[float], width: int) -> list[Text]:
    """How the spheres spend their time: a line each, or two for all where lines would fill the screen.

    A bar has three parts: busy (█), waiting with work at hand (▒), idle (░). In the line for all the blocks
    are as high as a sphere is busy beside the busiest, whose load stands behind them; spheres with children
    hardly compute and are shown as dots. Below stands the mean of the others.

    Args:
        busy: for each sphere of the tree the part of the time in which it computes; what lies outside
            [0, 1] counts as the nearer end.
        waiting: likewise, the part in which it has work at hand but does not compute.
        width: columns, at least 22. In wide lines the numbers of all three parts stand in words.
    """
    loads = [
        (_clipped(part), min(_clipped(rest), 1 - _clipped(part)))
        for part, rest in zip(busy, waiting, strict=True)
    ]
    if len(loads) > _LINES_MAX:
        control = set(parents(len(loads)))
        computing = [load for number, load in enumerate(loads) if number not in control]
        mean = fmean(part for part, _ in computing), fmean(rest for _, rest in computing)
        return [_row([part for part, _ in loads]), _line("mean", mean, width)]
    return [_line(f"sphere-{number}", load, width) for number, load in enumerate(loads)]


def _line(name: str, load: tuple[float, float], width: int) -> Text:
    busy, waiting = load
    bar_width = min(_LOAD_WIDTH, max(width - 22, 0))
    line = Text(f"{name:<10} busy {busy:4.0%} ").append_text(
        _stacked([busy, waiting], bar_width, [_BUSY, _WAITING, _IDLE])
    )
    if len(line) + _WORDS_WIDTH <= width:
        line.append(f"  waiting {waiting:4.0%}  idle {max(0.0, 1 - busy - waiting):4.0%}")
    return line


def _row(loads: Sequence[float]) -> Text:
    control = set(parents(len(loads)))
    most = max(loads) or 1.0
    blocks = (
        _CONTROL if number in control else _EIGHTHS[round(8 * load / most)]
        for number, load in enumerate(loads)
    )
    return Text(f"{len(loads)} spheres busy {''.join(blocks)} (█ {max(loads):.0%})")


def _stacked(parts: Sequence[float], width: int, looks: Sequence[tuple[str, str]]) -> Text:
    """One bar of `width` columns: a stretch for each part, and one more for what is left of 1."""
    ends = [round(width * sum(parts[: count + 1])) for count in range(len(parts))]
    stretches = zip(looks, [0, *ends], [*ends, width], strict=True)
    return Text.assemble(*((glyph * (end - start), style) for (glyph, style), start, end in stretches))


def _clipped(part: float) -> float:
    return min(max(part, 0.0), 1.0)
