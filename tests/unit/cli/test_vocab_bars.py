"""Bars are as long as their amounts, and none is hidden."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from crystalline.cli.vocab_show import bars


def test_the_longest_bar_has_the_whole_width_and_others_their_part() -> None:
    assert bars([8, 4, 1, 0], width=8) == ["████████", "████", "█", ""]
    assert bars([16, 1], width=1) == ["█", "▏"]
    assert bars([]) == []


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_order_and_width_hold(amounts: list[int]) -> None:
    lengths = [cell_len(each) for each in bars(amounts, width=20)]
    assert max(lengths) <= 20
    assert [bool(length) for length in lengths] == [amount > 0 for amount in amounts]
    ranked = [length for _, length in sorted(zip(amounts, lengths, strict=True))]
    assert ranked == sorted(ranked)
