"""Curves as a PNG, drawn by matplotlib: an optional extra, imported by nothing that can do without."""

from __future__ import annotations

import io
import logging
import secrets
import warnings
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure

from crystalline.errors import OutputError, SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from crystalline.runs.curves import Curve

__all__ = ["save_picture"]

_INCHES: Final = (9.0, 5.0)
_DOTS_PER_INCH: Final = 120
_STYLES: Final = ("-", "--", "-.", ":")  # equal curves cover one another: the lower ones show through


def save_picture(path: Path, curves: Sequence[Curve], *, x_label: str, y_label: str) -> None:
    """Draw curves into a PNG of 1080 x 600 pixels. The file is whole or not there.

    Args:
        path: ends in .png; a file there is replaced.
        curves: one or more; their names make the legend.
        x_label: what they are drawn over.
        y_label: what they show.

    Raises:
        SettingError: another ending, or no curve has a point.
        OutputError: the file cannot be written; what was there is as it was.
    """
    if path.suffix.lower() != ".png":
        raise SettingError(f"{path}: plots are PNG files: choose a name that ends in .png")
    if not any(curve.points() for curve in curves):
        raise SettingError(f"there is no {y_label} to plot yet: name a run that has recorded some")
    # Fonts that lack a character of a folder's name, or a cache that cannot be kept: not the user's matter.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _write(path, _png(curves, x_label, y_label))


def _png(curves: Sequence[Curve], x_label: str, y_label: str) -> bytes:
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    _plot(axes, curves)
    axes.set_xlabel(x_label, parse_math=False)
    axes.set_ylabel(y_label, parse_math=False)
    axes.grid(visible=True, alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


def _plot(axes: Axes, curves: Sequence[Curve]) -> None:
    lines = []
    for number, curve in enumerate(curves):
        style = _STYLES[number % len(_STYLES)]
        # A marker where there are so few points that a line alone could be invisible.
        marker = "o" if len(curve.points()) <= 50 else ""  # noqa: PLR2004  (as many as are told apart)
        lines += axes.plot(curve.xs, curve.ys, linestyle=style, marker=marker, markersize=3)
    # A folder's name may hold bytes that are no text; fonts have nothing for these.
    names = [curve.name.encode(errors="replace").decode() for curve in curves]
    legend = axes.legend(lines, names, loc="best", fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in a folder's name is no formula


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new-{secrets.token_hex(4)}")
    try:
        try:
            fresh.write_bytes(content)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another name"
        ) from error
