"""Curves on standard output, and in a PNG."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crystalline.cli.lazy import load_extra
from crystalline.cli.tables import printable
from crystalline.runs import LETTERS, Axis, Metric, draw

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crystalline.runs import Curve

__all__ = ["chart", "lettered", "save_plot"]

_LABELS: Final = {
    Metric.LOSS: "loss, nats per token",
    Metric.VAL_LOSS: "validation loss, nats per token",
    Metric.GRAD_NORM: "norm of the gradient",
    Metric.LR: "learning rate",
}
_AXES: Final = {Axis.STEP: "steps", Axis.TOKENS: "tokens", Axis.SECONDS: "seconds of training"}


def lettered(curves: Sequence[Curve]) -> list[Curve]:
    """The same curves, each with the letter that stands for it before its name."""
    pairs = zip(LETTERS, curves, strict=False)
    return [replace(curve, name=f"{letter}  {printable(curve.name)}") for letter, curve in pairs]


def chart(curves: Sequence[Curve], metric: Metric, axis: Axis) -> list[str]:
    """A drawing as wide as the terminal, or as 80 columns in a pipe; one string a line.

    Where the encoding of standard output has no braille, the drawing is ASCII. Several curves are drawn
    with letters, and named below.
    """
    label = _LABELS[metric]
    lines = draw(curves, width=shutil.get_terminal_size().columns, plain=not _has_braille())
    if not lines:
        return [f"no {label} recorded yet"]
    if len(curves) == 1:
        return [f"{label}, over {_AXES[axis]}", *lines]
    return [f"{label}, over {_AXES[axis]} (* where several meet)", *lines, *(curve.name for curve in curves)]


def save_plot(path: Path | None, curves: Sequence[Curve], metric: Metric, axis: Axis) -> None:
    """Draw curves into a PNG when there is a path.

    Raises:
        InputError: matplotlib is not installed, there is nothing to draw, or the file cannot be written.
    """
    if path is not None:
        save_picture = load_extra("crystalline.runs.picture:save_picture", "plot")
        save_picture(path, curves, x_label=_AXES[axis], y_label=_LABELS[metric])


def _has_braille() -> bool:
    try:
        "\u28ff│└─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
