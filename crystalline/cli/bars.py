"""Bars of characters: how far a run is, and how busy its spheres are."""

from __future__ import annotations

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


def run_bar(part: float, width: int) -> Text:
    """How far a run is: one line of `width` columns.

    Args:
        part: of its steps that are done; what lies outside [0, 1] counts as the nearer end.
        width: columns, 14 at least.
    """
    return (
        Text("run  ").append_text(_bar(part, max(width, 14) - 10, "━", "─")).append(f"{_clipped(part):5.0%}")
    )


def sphere_loads(busy: Sequence[float], width: int) -> list[Text]:
    """How busy each sphere is: a line each, or one character each where lines would fill the screen.

    In the one line the blocks are as high as a sphere is busy beside the busiest, whose load stands behind
    them. Spheres with children never compute and are shown as dots.

    Args:
        busy: for each sphere of the tree the part of the time in which it computes; what lies outside
            [0, 1] counts as the nearer end.
        width: columns, at least 22.
    """
    loads = [_clipped(part) for part in busy]
    if len(loads) > _LINES_MAX:
        return [_row(loads)]
    bar_width = min(_LOAD_WIDTH, max(width - 22, 0))
    return [
        Text(f"{f'sphere-{number}':<10} busy {load:4.0%} ").append_text(_bar(load, bar_width, "█", "░"))
        for number, load in enumerate(loads)
    ]


def _row(loads: Sequence[float]) -> Text:
    control = set(parents(len(loads)))
    most = max(loads) or 1.0
    blocks = (
        _CONTROL if number in control else _EIGHTHS[round(8 * load / most)]
        for number, load in enumerate(loads)
    )
    return Text(f"{len(loads)} spheres busy {''.join(blocks)} (█ {max(loads):.0%})")


def _bar(part: float, width: int, full: str, empty: str) -> Text:
    filled = round(width * _clipped(part))
    return Text.assemble((full * filled, "cyan"), (empty * (width - filled), "bright_black"))


def _clipped(part: float) -> float:
    return min(max(part, 0.0), 1.0)
