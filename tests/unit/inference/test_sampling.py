"""Sampling is what its definition says: greedy is greedy, top-k is the likeliest k, top-p is sorted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from crystalline.errors import InputError, SettingError
from crystalline.inference import SamplingOptions, probabilities, sample

# The most likely tokens are neither the first ids nor in order.
LOGITS = np.log(np.array([0.05, 0.1, 0.4, 0.05, 0.15, 0.25], np.float32))

ANY_LOGITS = st_np.arrays(np.float32, st.integers(1, 12), elements=st.floats(-30, 30, width=32))
OPTIONS = st.builds(
    SamplingOptions,
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 15),
    top_p=st.floats(0.01, 1.0),
)


def by_definition(logits: np.ndarray, options: SamplingOptions) -> dict[int, float]:
    """The distribution in plain Python, from the definitions of temperature, top-k and top-p."""
    scaled = [float(x) / options.temperature for x in logits]
    mass = {token: float(np.exp(x - max(scaled))) for token, x in enumerate(scaled)}
    ranked = sorted(mass, key=lambda token: (-logits[token], token))
    if options.top_k > 0:
        ranked = ranked[: options.top_k]
    total, reached, kept = sum(mass[token] for token in ranked), 0.0, []
    for token in ranked:
        kept.append(token)
        reached += mass[token] / total
        if options.top_p < 1.0 and reached >= options.top_p:
            break
    return {token: mass[token] / sum(mass[t] for t in kept) for token in kept}


def kept_by(**options: float) -> list[int]:
    return np.flatnonzero(probabilities(LOGITS, SamplingOptions(**options))).tolist()  # type: ignore[arg-type]  # numbers by name


def test_temperature_zero_takes_the_most_likely_token() -> None:
    rng = np.random.default_rng(0)
    assert {sample(LOGITS, SamplingOptions(temperature=0.0), rng) for _ in range(50)} == {2}


def test_greedy_takes_the_lowest_id_of_equals_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    assert sample(np.array([1.0, 3.0, 3.0]), SamplingOptions(temperature=0.0), rng) == 1
    assert rng.random() == np.random.default_rng(0).random()


def test_temperature_one_is_the_model_itself() -> None:
    found = probabilities(LOGITS, SamplingOptions(temperature=1.0))
    assert found == pytest.approx([0.05, 0.1, 0.4, 0.05, 0.15, 0.25])


def test_temperature_sharpens_and_flattens() -> None:
    cold, warm = (probabilities(LOGITS, SamplingOptions(temperature=t)).max() for t in (0.5, 2.0))
    assert warm < 0.4 < cold


def test_a_temperature_near_zero_is_greedy_and_does_not_overflow() -> None:
    for temperature in (1e-3, 1e-300):
        found = probabilities(LOGITS, SamplingOptions(temperature=temperature))
        assert found == pytest.approx([0, 0, 1, 0, 0, 0], abs=1e-100)


def test_top_k_keeps_the_likeliest_not_the_first() -> None:
    assert kept_by(top_k=1) == [2]
    assert kept_by(top_k=3) == [2, 4, 5]


def test_top_k_of_zero_or_more_than_all_keeps_all() -> None:
    assert kept_by(top_k=0) == kept_by(top_k=6) == kept_by(top_k=10_000) == [0, 1, 2, 3, 4, 5]


def test_top_p_keeps_the_fewest_of_the_sorted_list_that_reach_it() -> None:
    # Sorted: 0.4 (2), 0.25 (5), 0.15 (4), 0.1 (1), 0.05 (0), 0.05 (3)
    assert kept_by(top_p=0.3, temperature=1.0) == [2]
    assert kept_by(top_p=0.45, temperature=1.0) == [2, 5]
    assert kept_by(top_p=0.7, temperature=1.0) == [2, 4, 5]
    assert kept_by(top_p=0.99, temperature=1.0) == [0, 1, 2, 3, 4, 5]
    assert kept_by(top_p=1.0, temperature=1.0) == [0, 1, 2, 3, 4, 5]


def test_top_p_reached_exactly_keeps_no_more() -> None:
    found = probabilities(np.zeros(4), SamplingOptions(temperature=1.0, top_p=0.5))
    assert found.tolist() == [0.5, 0.5, 0, 0]


def test_top_p_always_keeps_one() -> None:
    assert kept_by(top_p=1e-12) == [2]


def test_of_equally_likely_tokens_the_lower_ids_stay() -> None:
    equal = np.zeros(5, np.float32)
    assert probabilities(equal, SamplingOptions(top_k=2)).tolist() == [0.5, 0.5, 0, 0, 0]
    assert np.flatnonzero(probabilities(equal, SamplingOptions(top_p=0.5))).tolist() == [0, 1, 2]


def test_top_p_counts_shares_of_what_top_k_left() -> None:
    # Of 0.4 and 0.25 the first has a share of 0.615.
    assert kept_by(top_k=2, top_p=0.6, temperature=1.0) == [2]
    assert kept_by(top_k=2, top_p=0.63, temperature=1.0) == [2, 5]


@given(ANY_LOGITS, OPTIONS)
def test_any_combination_agrees_with_the_definitions(logits: np.ndarray, options: SamplingOptions) -> None:
    kept_input = logits.copy()
    found, expected = probabilities(logits, options), by_definition(logits, options)
    assert found.sum() == pytest.approx(1.0)
    assert np.array_equal(logits, kept_input)
    # Where a cumulative sum meets top_p to the last bit, rounding may decide for one token more or less.
    if np.count_nonzero(found) == sum(share > 0 for share in expected.values()):
        assert found == pytest.approx([expected.get(token, 0.0) for token in range(len(logits))])
    else:
        extra = np.abs(found - [expected.get(token, 0.0) for token in range(len(logits))])
        edge = np.cumsum(sorted(found, reverse=True))
        assert np.abs(edge - options.top_p).min() < 1e-9 or extra.max() < 1e-9


def test_frequencies_follow_the_probabilities() -> None:
    options, rng, draws = SamplingOptions(temperature=1.0, top_k=4), np.random.default_rng(7), 4000
    counts = np.bincount([sample(LOGITS, options, rng) for _ in range(draws)], minlength=6)
    expected = probabilities(LOGITS, options) * draws
    assert counts[expected == 0].sum() == 0
    kept = expected > 0
    chi_square = np.sum((counts[kept] - expected[kept]) ** 2 / expected[kept])
    assert chi_square < 16.27, "3 degrees of freedom: passed by chance 999 times in 1000"


def test_the_same_generator_state_gives_the_same_tokens() -> None:
    one, two = (
        [sample(LOGITS, SamplingOptions(), rng) for _ in range(20)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert one == two
    assert len(set(one)) > 1


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_refused(broken: float, temperature: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        probabilities(np.array([0.0, broken]), SamplingOptions(temperature=temperature))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", float("nan")),
    ],
)
def test_impossible_options_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name} is {value}: choose"):
        SamplingOptions(**{name: value})  # type: ignore[arg-type]  # numbers by name


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 0, "top_p": 1.0}, {"top_p": 1e-9}])
def test_the_edges_of_the_ranges_are_allowed(options: dict[str, float]) -> None:
    found = probabilities(LOGITS, SamplingOptions(**options))  # type: ignore[arg-type]  # numbers by name
    assert found.sum() == pytest.approx(1.0)
