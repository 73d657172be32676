"""From logits to one token: temperature, then top-k, then top-p. Pure but for the generator handed in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.errors import InputError, SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SamplingOptions", "probabilities", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the next token is drawn.

    Attributes:
        temperature: divisor of the logits. 1 samples from the model as it is, less is more cautious, 0
            always takes the most likely token.
        top_k: only this many of the most likely tokens are kept; 0 keeps all.
        top_p: of these, only the fewest most likely whose probabilities add up to at least `top_p` are
            kept, in (0, 1]; 1 keeps all.

    Raises:
        SettingError: a number is out of range or not finite.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise SettingError(f"temperature is {self.temperature}: choose a finite number >= 0")
        if self.top_k < 0:
            raise SettingError(f"top_k is {self.top_k}: choose a number of tokens, or 0 to keep all")
        if not 0.0 < self.top_p <= 1.0:
            raise SettingError(f"top_p is {self.top_p}: choose a number in (0, 1], 1 keeps all")


def probabilities(logits: NDArray[np.floating[Any]], options: SamplingOptions) -> NDArray[np.float64]:
    """The distribution that the next token is drawn from.

    The logits are divided by the temperature and put through a softmax; top-k keeps the k most likely
    tokens; top-p keeps the smallest set of the most likely remaining ones whose share of what remains is
    at least p. Of equally likely tokens the one with the lower id counts as more likely.

    Args:
        logits: (V,), finite; not modified.
        options: temperature, top-k and top-p.

    Returns:
        Probabilities (V,) that add up to 1. What was not kept has exactly 0.

    Raises:
        InputError: a logit is not finite.

    Source: top-k, Fan et al. 2018, "Hierarchical Neural Story Generation"; top-p, Holtzman et al. 2020,
    "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    if not np.isfinite(logits).all():
        raise InputError("the model's logits are not finite: its weights are unusable, train it again")
    if options.temperature == 0.0:
        certain = np.zeros(len(logits))
        certain[np.argmax(logits)] = 1.0
        return certain
    weights = _softmax(logits.astype(np.float64), options.temperature)
    if options.top_k == 0 and options.top_p == 1.0:
        return weights
    # Ranked by logits, since distinct logits may underflow to one probability.
    ranked = np.argsort(-logits, kind="stable")[: options.top_k or None]
    weights_ranked = weights[ranked] / weights[ranked].sum()
    kept = ranked[: _nucleus(weights_ranked, options.top_p)]
    shared: NDArray[np.float64] = np.zeros_like(weights)
    shared[kept] = weights[kept] / weights[kept].sum()
    return shared


def sample(logits: NDArray[np.floating[Any]], options: SamplingOptions, rng: np.random.Generator) -> int:
    """Draw the next token.

    Args:
        logits: (V,), finite; not modified.
        options: temperature, top-k and top-p. At temperature 0 nothing is drawn from `rng`.
        rng: the only source of chance.

    Returns:
        A token id in [0, V).

    Raises:
        InputError: a logit is not finite.
    """
    if options.temperature == 0.0:
        return int(probabilities(logits, options).argmax())
    return int(rng.choice(len(logits), p=probabilities(logits, options)))


def _softmax(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    below_best = logits - logits.max()
    # A tiny temperature sends all but the best to minus infinity, whose exponential is the 0 it should be.
    with np.errstate(over="ignore"):
        weights: NDArray[np.float64] = np.exp(below_best / temperature)
    weights /= weights.sum()
    return weights


def _nucleus(ranked: NDArray[np.float64], top_p: float) -> int:
    """How many of the probabilities, the largest first, it takes to reach `top_p`."""
    if top_p == 1.0:
        return len(ranked)
    # Rounding can leave the whole sum a hair below `top_p`; a slice to one past the end is all of them.
    return int(np.searchsorted(np.cumsum(ranked), top_p)) + 1
