"""What is drawn for a run and for its spheres."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.cli.bars import run_bar, sphere_loads


@pytest.mark.parametrize(("spheres", "lines"), [(1, 1), (12, 12), (13, 2), (100, 2)])
def test_many_spheres_take_little_room(spheres: int, lines: int) -> None:
    busy = [number / spheres for number in range(spheres)]
    assert len(sphere_loads(busy, [0.0] * spheres, 80)) == lines


def test_a_load_cannot_be_taken_for_progress_and_says_all_three_parts() -> None:
    (line,) = sphere_loads([0.7], [0.2], 80)
    assert line.plain == "sphere-0   busy  70% ██████████████▒▒▒▒░░  waiting  20%  idle  10%"


def test_a_narrow_terminal_keeps_the_bar() -> None:
    (line,) = sphere_loads([0.5], [0.25], 42)
    assert line.plain == "sphere-0   busy  50% ██████████▒▒▒▒▒░░░░░"


def test_control_spheres_are_dots_and_blocks_are_relative_to_the_busiest() -> None:
    # Of 14 spheres the first two have a child each and compute nothing.
    row, mean = sphere_loads([0.0, 0.0, *[0.4] * 11, 0.2], [1.0, 1.0, *[0.3] * 12], 80)
    assert row.plain == "14 spheres busy ··███████████▄ (█ 40%)"
    assert mean.plain == "mean       busy  38% ████████▒▒▒▒▒▒░░░░░░  waiting  30%  idle  32%"


def test_a_row_of_idle_spheres_is_a_row() -> None:
    row, mean = sphere_loads([0.0] * 13, [0.0] * 13, 80)
    assert row.plain == f"13 spheres busy ·{' ' * 12} (█ 0%)"
    assert mean.plain.endswith("waiting   0%  idle 100%")


@given(
    parts=st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)), min_size=1, max_size=30),
    width=st.integers(22, 200),
)
def test_fractions_beyond_their_range_fit_the_bar(parts: list[tuple[float, float]], width: int) -> None:
    busy, waiting = zip(*parts, strict=True)
    lines = sphere_loads(busy, waiting, width)
    assert len({len(line.plain) for line in lines}) == 1 or len(parts) > 12
    assert len(parts) > 12 or len(lines[0].plain) <= width


@given(part=st.floats(-0.5, 1.5), width=st.integers(14, 300))
def test_the_bar_of_a_run_takes_the_width(part: float, width: int) -> None:
    assert len(run_bar(part, width).plain) == width


@given(part=st.floats(0.0, 1.0))
def test_as_much_of_it_is_filled_as_is_done(part: float) -> None:
    assert abs(run_bar(part, 110).plain.count("━") - 100 * part) <= 0.5
