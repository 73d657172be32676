"""Numbers and tables as people read them, and results as JSON takes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["bytes_in_words", "counted", "duration", "plain", "table"]

_HOURS_FROM_S: Final = 7200.0
_MINUTES_FROM_S: Final = 120.0
_KIB: Final = 1024


def duration(seconds: float) -> str:
    """A duration that can be read, as in `1.20 s`, `30.0 s`, `38 ms` or `24.0 h`."""
    if seconds >= _HOURS_FROM_S:
        return f"{seconds / 3600:.1f} h"
    if seconds >= _MINUTES_FROM_S:
        return f"{seconds / 60:.1f} min"
    if seconds >= 10:  # noqa: PLR2004 - three digits
        return f"{seconds:.1f} s"
    if seconds >= 0.9995:  # noqa: PLR2004 - else it would be 1000 ms
        return f"{seconds:.2f} s"
    for unit in ("ms", "µs"):
        seconds *= 1000
        if seconds >= 1:
            return f"{seconds:.0f} {unit}" if seconds >= 10 else f"{seconds:.1f} {unit}"  # noqa: PLR2004 - two digits
    return "0 s" if seconds < 0.1 else "< 1 µs"  # noqa: PLR2004 - rounding of differences is no time


def bytes_in_words(size: float) -> str:
    """Bytes with a unit, as in `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if size < _KIB:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= _KIB
    return f"{size:.1f} GiB"


def counted(number: int, thing: str) -> str:
    """A number of things, as in `1 restart` and `2,000 restarts`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[str]:
    """Lines of a table whose first column is to the left and the others to the right; none without rows.

    Args:
        head: names of the columns.
        rows: the most important first.
        most: how many are shown; the rest is counted.
    """
    if not rows:
        return []
    shown = [head, *rows[:most]]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = []
    for row in shown:
        first, *others = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([f"  {first}", *others]).rstrip())
    return [*lines, f"  and {len(rows) - most:,} more"] if len(rows) > most else lines


def plain(value: Any) -> Any:
    """Data classes and named tuples as dictionaries, other tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        fields = getattr(value, "_fields", None)
        return (
            [plain(each) for each in value]
            if fields is None
            else plain(dict(zip(fields, value, strict=True)))
        )
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return value
