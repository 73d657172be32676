"""Draws are as frequent as the definitions say; and a draw that is a little wrong is noticed.

Seeds are fixed: a test that passes always passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest

from crystalline.inference import SamplingOptions, sample
from tests.helpers.chi_square import agree
from tests.helpers.plain_sampling import plain_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"

DRAWS = 20_000

# A few likely ones among less likely ones, as language has it; the likely ones are not the first. Some logits
# are positive, some negative.
LOGITS = (1.5 - 1.1 * np.log(np.random.default_rng(4).permutation(np.arange(1.0, 21.0)))).astype(np.float32)
SEEN = np.argsort(-LOGITS)[[0, 3, 12]]

SETTINGS = {
    "as it is": SamplingOptions(temperature=1.0),
    "cautious": SamplingOptions(temperature=0.7),
    "bold": SamplingOptions(temperature=1.6),
    "top-k": SamplingOptions(temperature=1.0, top_k=10),
    "top-p": SamplingOptions(temperature=1.0, top_p=0.8),
    "min-p": SamplingOptions(temperature=1.0, min_p=0.08),
    "penalty": SamplingOptions(temperature=1.0, repetition_penalty=1.4),
    "all at once": SamplingOptions(temperature=0.9, top_k=12, top_p=0.95, min_p=0.05, repetition_penalty=1.2),
}


def top_k_off_by_one(weights: Floats, options: SamplingOptions) -> Floats:
    return weights * (np.argsort(np.argsort(-weights)) < options.top_k + 1)


def top_k_of_the_first_ids(weights: Floats, options: SamplingOptions) -> Floats:
    return weights * (np.arange(len(weights)) < options.top_k)


def top_p_without_the_token_that_reaches_it(weights: Floats, options: SamplingOptions) -> Floats:
    ranked = np.argsort(-weights)
    return weights * np.isin(np.arange(len(weights)), ranked[np.cumsum(weights[ranked]) < options.top_p])


def top_p_of_a_list_that_is_not_sorted(weights: Floats, options: SamplingOptions) -> Floats:
    return weights * (np.cumsum(weights) - weights < options.top_p)


def min_p_beside_one_instead_of_the_likeliest(weights: Floats, options: SamplingOptions) -> Floats:
    return weights * (weights >= options.min_p)


def min_p_beside_the_mean(weights: Floats, options: SamplingOptions) -> Floats:
    return weights * (weights >= options.min_p * weights.mean())


def temperature_twice(weights: Floats, options: SamplingOptions) -> Floats:
    return np.power(weights, options.temperature**-2)


def temperature_never(weights: Floats, _options: SamplingOptions) -> Floats:
    return weights


def temperature_multiplied(weights: Floats, options: SamplingOptions) -> Floats:
    return np.power(weights, options.temperature)


def penalty_never(weights: Floats, _options: SamplingOptions) -> Floats:
    return weights


def penalty_divides_negative_logits_too(weights: Floats, options: SamplingOptions) -> Floats:
    changed = LOGITS.astype(np.float64)
    changed[SEEN] /= options.repetition_penalty
    assert weights.shape == changed.shape
    exact: Floats = np.exp(changed)
    return exact


def right(weights: Floats, _options: SamplingOptions) -> Floats:
    return weights


PLANTED: list[tuple[str, Callable[[Floats, SamplingOptions], Floats]]] = [
    ("top-k", top_k_off_by_one),
    ("top-k", top_k_of_the_first_ids),
    ("top-p", top_p_without_the_token_that_reaches_it),
    ("top-p", top_p_of_a_list_that_is_not_sorted),
    ("min-p", min_p_beside_one_instead_of_the_likeliest),
    ("min-p", min_p_beside_the_mean),
    ("cautious", temperature_twice),
    ("bold", temperature_twice),
    ("cautious", temperature_never),
    ("bold", temperature_multiplied),
    ("penalty", penalty_never),
    ("penalty", penalty_divides_negative_logits_too),
]


def expected(name: str) -> dict[int, float]:
    return plain_probabilities(LOGITS.tolist(), SETTINGS[name], seen=SEEN.tolist())


@pytest.mark.parametrize("name", SETTINGS)
def test_tokens_are_as_frequent_as_the_definition_says(name: str) -> None:
    rng = np.random.default_rng(11)
    draws = [sample(LOGITS, SETTINGS[name], rng, seen=SEEN) for _ in range(DRAWS)]
    assert agree(draws, expected(name))


@pytest.mark.parametrize(("name", "mistake"), PLANTED)
def test_a_planted_mistake_is_noticed(
    name: str, mistake: Callable[[Floats, SamplingOptions], Floats]
) -> None:
    model = np.exp(LOGITS.astype(np.float64))
    weights = mistake(model / model.sum(), SETTINGS[name])
    draws = np.random.default_rng(11).choice(len(LOGITS), DRAWS, p=weights / weights.sum())
    assert not agree(draws.tolist(), expected(name))


def test_what_finds_the_mistakes_lets_right_draws_pass() -> None:
    model = np.exp(LOGITS.astype(np.float64))
    weights = right(model / model.sum(), SETTINGS["as it is"])
    draws = np.random.default_rng(11).choice(len(LOGITS), DRAWS, p=weights)
    assert agree(draws.tolist(), expected("as it is"))


def test_a_token_that_cannot_be_drawn_is_noticed_at_once() -> None:
    assert agree([0] * 50 + [1] * 50, {0: 0.5, 1: 0.5})
    assert not agree([0] * 50 + [1] * 50 + [2], {0: 0.5, 1: 0.5})


def test_seeds_one_after_the_other_are_not_alike() -> None:
    draws = [sample(LOGITS, SETTINGS["as it is"], np.random.default_rng(seed)) for seed in range(DRAWS // 4)]
    assert agree(draws, expected("as it is"))
