"""What is drawn in a terminal: where points are, and that nothing breaks the frame."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.runs import LETTERS, Curve, draw

FALLING = Curve("falling", (0.0, 1.0), (1.0, 0.0))
RISING = Curve("rising", (0.0, 1.0), (0.0, 1.0))


def body(lines: list[str]) -> list[str]:
    """The characters inside the frame, each row as wide as it."""
    begin, end = lines[-2].index("└") + 1, len(lines[-2])
    return [line[begin:].ljust(end - begin) for line in lines[:-2]]


def test_a_falling_line_goes_from_the_upper_left_to_the_lower_right() -> None:
    lines = draw([FALLING], width=40, height=5)
    rows = body(lines)
    drawn = [[column for column, each in enumerate(row) if each != " "] for row in rows]
    assert drawn[0][0] == 0
    assert drawn[-1][-1] == 36
    assert sorted({column for row in drawn for column in row}) == list(range(37)), "without a gap"
    assert all(above[0] <= below[0] for above, below in itertools.pairwise(drawn))


def test_the_frame_says_what_the_ends_are() -> None:
    lines = draw([Curve("run", (10.0, 250.0), (0.125, 6.5))], width=60, height=4)
    assert lines[0].startswith("  6.5 │")
    assert lines[3].startswith("0.125 │")
    assert lines[-1].split() == ["10", "250"]
    assert max(map(len, lines)) == 60


def test_dots_are_where_unicode_has_them() -> None:
    (row,) = body(draw([FALLING], width=40, height=1))
    assert (row[0], row[-1]) == ("⠉", "⣀"), "both upper dots, both lower dots"
    assert set(row) <= set("⠉⠑⠒⠢⠤⢄⣀")


def test_two_curves_are_letters_and_a_star_where_they_meet() -> None:
    rows = body(draw([FALLING, RISING], width=40, height=5))
    assert (rows[0][0], rows[0][-1]) == ("A", "B")
    assert (rows[4][0], rows[4][-1]) == ("B", "A")
    assert "*" in rows[2]
    assert {each for row in rows for each in row} == {" ", "A", "B", "*"}


def test_plain_is_ascii() -> None:
    assert "".join(draw([FALLING], width=40, plain=True)).isascii()
    assert "o" in "".join(draw([FALLING], width=40, plain=True))
    assert "".join(draw([FALLING, RISING], width=40, plain=True)).isascii()


def test_a_gap_is_not_joined() -> None:
    gap = Curve("run", (0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 1.0, math.nan, 1.0, 1.0))
    (row,) = body(draw([gap], width=40, height=1))
    assert row[18] == " "
    assert " " not in (row[0], row[9], row[27], row[-1])


@pytest.mark.parametrize("curves", [[], [Curve("run", (), ())], [Curve("run", (1.0,), (math.nan,))]])
def test_without_a_point_nothing_is_drawn(curves: list[Curve]) -> None:
    assert draw(curves, width=80) == []


def test_a_single_point_is_seen() -> None:
    lines = draw([Curve("run", (7.0,), (3.0,))], width=40)
    assert sum(each != " " for row in body(lines) for each in row) == 1


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1e100), st.floats(-1e100, 1e100) | st.just(math.nan)), max_size=20),
        min_size=1,
        max_size=len(LETTERS),
    ),
    st.integers(1, 120),
    st.integers(1, 30),
)
def test_any_curves_fit_into_the_frame(
    sets: list[list[tuple[float, float]]], width: int, height: int
) -> None:
    curves = [
        Curve("run", tuple(sorted(x for x, _ in points)), tuple(y for _, y in points)) for points in sets
    ]
    lines = draw(curves, width=width, height=height)
    if lines:
        assert len(lines) == height + 2
        assert all(len(line) <= max(width, 40) for line in lines)
        assert any(each != " " for row in body(lines) for each in row)
    else:
        assert not any(curve.points() for curve in curves)
