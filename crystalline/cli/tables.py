"""Plain text for people and for pipes: tables, numbers, names. No colours, no control characters."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NOTHING", "moment", "number", "printable", "short_hash", "table", "value"]

NOTHING: Final = "-"
"""Stands for what is not known."""

_HASH_LENGTH: Final = 8
_TIME_MAX_S: Final = 253_402_214_400  # the last day that has a date


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> list[str]:
    """Columns with two spaces between them, one string a line.

    Args:
        heads: over the columns.
        rows: one string for each column.
        left: how many columns, from the first on, begin at the left; the others end at the right.
    """
    lines = [heads, *rows]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(heads))]
    return ["  ".join(_padded(line, widths, left)).rstrip() for line in lines]


def _padded(line: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    padded = []
    for column, (text, width) in enumerate(zip(line, widths, strict=True)):
        space = " " * (width - cell_len(text))
        padded.append(text + space if column < left else space + text)
    return padded


def number(amount: float | None, form: str = ".4f") -> str:
    """A number for people; what is not known or not finite is a dash."""
    return format(amount, form) if amount is not None and math.isfinite(amount) else NOTHING


def moment(time_s: float) -> str:
    """Seconds since 1970 as a date and a time of day where the reader is."""
    if not 0 <= time_s < _TIME_MAX_S:
        return NOTHING
    return datetime.fromtimestamp(time_s, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def short_hash(sha256: str | None) -> str:
    """The first characters of a hash: enough to see whether two are the same."""
    return printable(sha256[:_HASH_LENGTH]) if sha256 else NOTHING


def value(setting: object) -> str:
    """A setting as people write it."""
    return NOTHING if setting is None else printable(str(setting))


def printable(text: str) -> str:
    """Text without characters that would move the cursor, end the line or change the colour."""
    return "".join(each if each.isprintable() else "?" for each in text)
