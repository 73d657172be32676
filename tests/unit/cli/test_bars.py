"""What is drawn for a run and for its spheres."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.cli.bars import run_bar, sphere_loads


@pytest.mark.parametrize(("spheres", "lines"), [(1, 1), (12, 12), (13, 1), (100, 1)])
def test_many_spheres_take_little_room(spheres: int, lines: int) -> None:
    assert len(sphere_loads([number / spheres for number in range(spheres)], 80)) == lines


def test_a_load_cannot_be_taken_for_progress() -> None:
    (line,) = sphere_loads([0.9], 80)
    assert line.plain.startswith("sphere-0   busy  90% ██████████████████░░")


def test_control_spheres_are_dots_and_blocks_are_relative_to_the_busiest() -> None:
    # Of 14 spheres the first two have a child each and compute nothing.
    (line,) = sphere_loads([0.0, 0.0, *[0.4] * 11, 0.2], 80)
    assert line.plain == "14 spheres busy ··███████████▄ (█ 40%)"


def test_a_row_of_idle_spheres_is_a_row() -> None:
    (line,) = sphere_loads([0.0] * 13, 80)
    assert line.plain == f"13 spheres busy ·{' ' * 12} (█ 0%)"


@given(busy=st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=30), width=st.integers(22, 200))
def test_a_fraction_beyond_its_range_fits_the_bar(busy: list[float], width: int) -> None:
    widths = {len(line.plain) for line in sphere_loads(busy, width)}
    assert len(widths) == 1
    assert len(busy) > 12 or max(widths) <= width


@given(part=st.floats(-0.5, 1.5), width=st.integers(14, 300))
def test_the_bar_of_a_run_takes_the_width(part: float, width: int) -> None:
    assert len(run_bar(part, width).plain) == width


@given(part=st.floats(0.0, 1.0))
def test_as_much_of_it_is_filled_as_is_done(part: float) -> None:
    assert abs(run_bar(part, 110).plain.count("━") - 100 * part) <= 0.5
