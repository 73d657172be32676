"""Plain text that lines up, and never more than that."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from crystalline.cli.tables import moment, number, printable, short_hash, table, value

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1")
        time.tzset()
        yield
    time.tzset()


def test_names_begin_at_the_left_and_numbers_end_at_the_right() -> None:
    assert table(("run", "loss"), [["a", "1.25"], ["long name", "10.5"]]) == [
        "run        loss",
        "a          1.25",
        "long name  10.5",
    ]


@given(st.lists(st.lists(st.sampled_from(["", "a", "漢字", "1.25"]), min_size=3, max_size=3), min_size=1))
def test_columns_line_up_whatever_their_width(rows: list[list[str]]) -> None:
    lines = table(("x", "y", "|"), [[*row[:2], "|"] for row in rows])
    assert len({cell_len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("amount", "form", "text"),
    [
        (1.23456, ".4f", "1.2346"),
        (12345.6, ",.0f", "12,346"),
        (7, "d", "7"),
        (None, "d", "-"),
        (math.nan, ".4f", "-"),
    ],
)
def test_numbers(amount: float | None, form: str, text: str) -> None:
    assert number(amount, form) == text


@pytest.mark.usefixtures("_berlin")
@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0.0, "1970-01-01 01:00"), (1.7e9, "2023-11-14 23:13"), (-5.0, "-"), (math.nan, "-"), (1e300, "-")],
)
def test_a_moment_is_told_in_the_time_of_the_reader(time_s: float, text: str) -> None:
    assert moment(time_s) == text


@given(st.text())
def test_nothing_moves_the_cursor(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    assert printable(printable(text)) == printable(text)


def test_what_is_not_known_is_a_dash() -> None:
    assert (short_hash(None), value(None), short_hash("0123456789")) == ("-", "-", "01234567")
    assert (value(False), value(0), value("")) == ("False", "0", "")
