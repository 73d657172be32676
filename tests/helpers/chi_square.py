"""Pearson's chi-square test of draws against the distribution that they should come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["agree"]

# What chi-square stays below 999 times in 1000, by degrees of freedom, from the published tables.
_QUANTILES = {
    1: 10.828, 2: 13.816, 3: 16.266, 4: 18.467, 5: 20.515, 6: 22.458, 7: 24.322, 8: 26.125, 9: 27.877,
    10: 29.588, 11: 31.264, 12: 32.909, 13: 34.528, 14: 36.123, 15: 37.697, 16: 39.252, 17: 40.790,
    18: 42.312, 19: 43.820, 20: 45.315,
}  # fmt: skip

_EXPECTED_MIN = 5.0  # with fewer expected draws a cell's share of chi-square is not what the tables are for


def agree(draws: Iterable[int], expected: Mapping[int, float]) -> bool:
    """Whether tokens can have been drawn from a distribution; false once in 1000 times although they were.

    Args:
        draws: token ids.
        expected: the probabilities of all tokens that can be drawn; those expected fewer than five times
            count as one.
    """
    counts: dict[int, int] = {}
    for token in draws:
        counts[token] = counts.get(token, 0) + 1
    if any(expected.get(token, 0.0) == 0.0 for token in counts):
        return False
    total = sum(counts.values())
    usual = {token: p * total for token, p in expected.items() if p * total >= _EXPECTED_MIN}
    cells = [(counts.get(token, 0), often) for token, often in usual.items()]
    rest = total - sum(usual.values())
    if rest >= _EXPECTED_MIN:
        cells.append((total - sum(seen for seen, _ in cells), rest))
    chi_square = sum((seen - often) ** 2 / often for seen, often in cells)
    return chi_square < _QUANTILES[len(cells) - 1]
