"""Sampling is what its definition says: greedy is greedy, top-k is the likeliest k, top-p is sorted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from crystalline.errors import InputError, SettingError
from crystalline.inference import SamplingOptions, probabilities, sample
from crystalline.inference.sampling import _first_above as first_above
from crystalline.inference.sampling import likeliest
from tests.helpers.plain_sampling import plain_probabilities

# The most likely tokens are neither the first ids nor in order.
LOGITS = np.log(np.array([0.05, 0.1, 0.4, 0.05, 0.15, 0.25], np.float32))

# Few enough different ones that equal logits are usual.
ANY_LOGITS = st_np.arrays(
    np.float32,
    st.integers(1, 150),
    elements=st.one_of(st.floats(-30, 30, width=32), st.integers(-3, 3).map(float)),
)
OPTIONS = st.builds(
    SamplingOptions,
    temperature=st.floats(0.05, 5),
    top_k=st.one_of(st.just(0), st.integers(0, 170)),
    top_p=st.one_of(st.just(1.0), st.floats(0.01, 1.0)),
    min_p=st.one_of(st.just(0.0), st.floats(0.0, 1.0)),
    repetition_penalty=st.one_of(st.just(1.0), st.floats(0.5, 3.0)),
)


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


@given(ANY_LOGITS, OPTIONS, st.sets(st.integers(0, 149)), st.sets(st.integers(0, 149), max_size=20))
def test_any_combination_agrees_with_the_definitions(
    logits: np.ndarray, options: SamplingOptions, seen: set[int], absent: set[int]
) -> None:
    seen, absent = ({i for i in ids if i < len(logits)} for ids in (seen, absent))
    absent -= {0}
    kept_input = logits.copy()
    ids = {"seen": ids_array(seen), "absent": ids_array(absent)}
    found = probabilities(logits, options, **ids)
    assert np.array_equal(logits, kept_input)
    assert found.sum() == pytest.approx(1.0)
    # Where a sum or a ratio meets its limit rounding decides: a hair's breadth either way is right too.
    near = [
        plain_probabilities(logits.tolist(), replace(options, top_p=top_p, min_p=min_p), seen, absent)
        for top_p in around(options.top_p, 1.0)
        for min_p in around(options.min_p, 0.0)
    ]
    assert any(
        found == pytest.approx([each.get(i, 0.0) for i in range(len(logits))], rel=1e-4, abs=1e-9)
        for each in near
    )
    drawn = sample(logits, options, np.random.default_rng(0), **ids)
    assert found[drawn] > 0


def around(limit: float, off: float) -> list[float]:
    return [limit] if limit == off else [limit, limit * (1 - 1e-5), min(1.0, limit * (1 + 1e-5))]


def ids_array(ids: set[int]) -> np.ndarray:
    return np.array(sorted(ids), np.intp)


@given(ANY_LOGITS, st.integers(1, 170))
def test_the_likeliest_are_the_first_of_the_sorted_list(logits: np.ndarray, count: int) -> None:
    expected = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:count]
    assert likeliest(logits, count).tolist() == sorted(expected)


def test_a_large_vocabulary_is_held_to_the_definitions_too() -> None:
    rng = np.random.default_rng(0)
    for spread in (0.5, 3.0, 10.0):
        logits = (spread * rng.standard_normal(4_000)).astype(np.float32)
        for options in (
            SamplingOptions(temperature=0.8),
            SamplingOptions(temperature=0.8, top_k=50, top_p=0.9),
            SamplingOptions(temperature=1.0, top_p=0.95017),
            SamplingOptions(temperature=1.5, top_p=0.5, min_p=0.02),
            SamplingOptions(temperature=0.8, min_p=0.05, repetition_penalty=1.3),
        ):
            seen = np.arange(0, 4_000, 7)
            found = probabilities(logits, options, seen=seen)
            expected = plain_probabilities(logits.tolist(), options, seen.tolist())
            assert np.flatnonzero(found).tolist() == sorted(expected)
            assert found == pytest.approx([expected.get(i, 0.0) for i in range(4_000)], rel=1e-4)


def test_min_p_keeps_what_is_likely_enough_beside_the_likeliest() -> None:
    # The likeliest has 0.4: the limits are 0.24, 0.12 and 0.06.
    assert kept_by(min_p=0.6, temperature=1.0) == [2, 5]
    assert kept_by(min_p=0.3, temperature=1.0) == [2, 4, 5]
    assert kept_by(min_p=0.15, temperature=1.0) == [1, 2, 4, 5]


def test_min_p_of_zero_keeps_all_and_of_one_all_that_are_likeliest() -> None:
    equals = np.array([1.0, 3.0, 3.0, 2.0], np.float32)
    found = probabilities(equals, SamplingOptions(min_p=1.0))
    assert found.tolist() == [0, 0.5, 0.5, 0]
    assert np.all(probabilities(equals, SamplingOptions(min_p=0.0)) > 0)


def test_min_p_reached_exactly_is_kept() -> None:
    halves = np.array([2.0, 2.0, 0.0], np.float64) * np.log(2)
    at, above = (probabilities(halves, SamplingOptions(temperature=1.0, min_p=p)) for p in (0.25, 0.2500001))
    assert np.count_nonzero(at) == 3
    assert np.count_nonzero(above) == 2


def test_min_p_sees_the_distribution_after_the_temperature() -> None:
    # At temperature 2 the ratio of 0.1 to 0.4 is 0.5.
    assert kept_by(min_p=0.4, temperature=2.0) == [1, 2, 4, 5]
    assert kept_by(min_p=0.4, temperature=1.0) == [2, 5]


def test_min_p_takes_from_what_top_p_left_and_not_the_other_way_round() -> None:
    # min-p alone leaves 0.4, 0.25 and 0.15; of these the first two would be more than 0.79.
    assert kept_by(min_p=0.3, top_p=0.81, temperature=1.0) == [2, 4, 5]
    assert kept_by(min_p=0.3, top_p=0.79, temperature=1.0) == [2, 4, 5]
    assert kept_by(min_p=0.6, top_p=0.6, temperature=1.0) == [2, 5]


def test_the_penalty_divides_positive_and_multiplies_negative_logits_once() -> None:
    logits = np.array([2.0, 2.0, -2.0, -2.0, 0.0], np.float32)
    seen = np.array([0, 2, 4])
    found = probabilities(logits, SamplingOptions(temperature=1.0, repetition_penalty=2.0), seen=seen)
    weights = np.exp([1.0, 2.0, -4.0, -2.0, 0.0])
    assert found == pytest.approx(weights / weights.sum())
    twice = probabilities(
        logits, SamplingOptions(temperature=1.0, repetition_penalty=2.0), seen=np.array([0, 0, 2, 4])
    )
    assert np.array_equal(found, twice)


def test_the_penalty_comes_before_everything_else() -> None:
    seen, rng = np.array([2]), np.random.default_rng(0)
    greedy = SamplingOptions(temperature=0, repetition_penalty=3.0)
    assert sample(LOGITS + 3, greedy, rng, seen=seen) == 5
    found = probabilities(LOGITS + 3, SamplingOptions(top_k=1, repetition_penalty=3.0), seen=seen)
    assert np.flatnonzero(found).tolist() == [5]


@pytest.mark.parametrize("penalty", [0.01, 100.0])
def test_the_largest_penalties_leave_a_distribution(penalty: float) -> None:
    logits = np.array([3e38, -3e38, 1.0], np.float32)
    options = SamplingOptions(temperature=1.0, repetition_penalty=penalty)
    assert probabilities(logits, options, seen=np.array([0, 1])).sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0},
        {},
        {"top_k": 3},
        {"top_k": 6},
        {"top_p": 0.99},
        {"min_p": 1e-9},
        {"repetition_penalty": 2.0},
    ],
)
def test_an_id_that_the_tokenizer_does_not_have_is_never_drawn(options: dict[str, float]) -> None:
    rng, absent = np.random.default_rng(0), np.array([2, 5])
    settings = SamplingOptions(**options)  # type: ignore[arg-type]  # numbers by name
    assert probabilities(LOGITS, settings, absent=absent)[absent].tolist() == [0, 0]
    drawn = {sample(LOGITS, settings, rng, absent=absent) for _ in range(200)}
    assert not drawn & {2, 5}


def test_a_draw_takes_one_number_and_the_first_id_whose_sum_is_above_it() -> None:
    options = SamplingOptions(temperature=1.0)
    sums = np.cumsum(probabilities(LOGITS, options))
    rng, numbers = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(100):
        assert sample(LOGITS, options, rng) == np.searchsorted(sums, numbers.random(), side="right")


@given(st.integers(1, 1500), st.floats(0, 1, exclude_max=True), st.integers(0, 9))
def test_a_place_is_found_in_any_number_of_blocks(size: int, u: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random(size) * (rng.random(size) < 0.1)
    weights[rng.integers(size)] = 1.0
    place = first_above(weights, u)
    running = np.cumsum(weights)
    assert weights[place] > 0
    assert running[place] >= u * running[-1] * (1 - 1e-12)
    assert place == 0 or running[place - 1] <= u * running[-1] * (1 + 1e-12)


@pytest.mark.parametrize("weights", [[1.0, 0.0], [1.0, *[0.0] * 300], [1e-30, *[0.0] * 255, 1.0, 1e-30, 0.0]])
def test_a_number_next_to_one_finds_a_weight_that_is_not_zero(weights: list[float]) -> None:
    place = first_above(np.array(weights), 1 - 2**-53)
    assert weights[place] > 0


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
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", float("nan")),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", 0.009),
        ("repetition_penalty", 100.5),
        ("repetition_penalty", -1.0),
        ("repetition_penalty", float("inf")),
        ("repetition_penalty", float("nan")),
    ],
)
def test_impossible_options_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name} is {value}: choose"):
        SamplingOptions(**{name: value})  # type: ignore[arg-type]  # numbers by name


@pytest.mark.parametrize(
    ("name", "value", "story"),
    [
        ("top_k", 2.5, "is 2.5: choose a whole number"),
        ("top_k", float("nan"), "is nan: choose a whole number"),
        ("temperature", "1", "is '1': choose a number"),
        ("top_p", None, "is None: choose a number"),
        ("temperature", 10**400, "is far too large: choose a number below"),
    ],
)
def test_what_is_no_such_number_is_refused_before_it_reaches_an_engine(
    name: str, value: Any, story: str
) -> None:
    with pytest.raises(SettingError, match=f"{name} {story}"):
        SamplingOptions(**{name: value})


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"top_k": 0, "top_p": 1.0}, {"top_p": 1e-9}])
def test_the_edges_of_the_ranges_are_allowed(options: dict[str, float]) -> None:
    found = probabilities(LOGITS, SamplingOptions(**options))  # type: ignore[arg-type]  # numbers by name
    assert found.sum() == pytest.approx(1.0)
