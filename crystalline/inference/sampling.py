"""From logits to one token. Pure but for the generator handed in.

Five settings, always in this order, which is that of `transformers`:

1. the repetition penalty changes logits;
2. the temperature divides them, and a softmax makes them a distribution;
3. top-k keeps the likeliest tokens by number;
4. top-p keeps the likeliest of those by their share of what top-k left;
5. min-p keeps those that are likely enough beside the likeliest.

What is left is drawn from as it is. Of equally likely tokens the one with the lower id counts as likelier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.errors import InputError, SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SamplingOptions", "likeliest", "probabilities", "sample"]

_BLOCK = 256  # weights that are added up as one when a token is looked for

_TEMPERATURE_MIN = 1e-30  # float32 holds it and what is divided by it; below it nothing changes any more

_LARGEST = 2**63 - 1  # whole numbers beyond have no place in a message

_PENALTY_MIN, _PENALTY_MAX = 0.01, 100  # far beyond any use

_NONE: NDArray[np.intp] = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """How the next token is drawn.

    Attributes:
        temperature: divisor of the logits. 1 samples from the model as it is, less is more cautious, 0
            always takes the most likely token.
        top_k: only this many of the most likely tokens are kept; 0 keeps all.
        top_p: of these, only the fewest most likely whose probabilities add up to at least `top_p` are
            kept, in (0, 1]; 1 keeps all.
        min_p: of these, only those at least `min_p` times as likely as the likeliest are kept, in [0, 1];
            0 keeps all.
        repetition_penalty: what makes tokens that are already in prompt or output less likely: their
            logits are divided by it where positive and multiplied by it where negative. In [0.01, 100]; 1
            does nothing.

    Raises:
        SettingError: a number is out of range or not finite.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        self._check_kinds()
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise SettingError(f"temperature is {self.temperature}: choose a finite number >= 0")
        if self.top_k < 0:
            raise SettingError(f"top_k is {self.top_k}: choose a number of tokens, or 0 to keep all")
        if not 0.0 < self.top_p <= 1.0:
            raise SettingError(f"top_p is {self.top_p}: choose a number in (0, 1], 1 keeps all")
        if not 0.0 <= self.min_p <= 1.0:
            raise SettingError(f"min_p is {self.min_p}: choose a number in [0, 1], 0 keeps all")
        if not _PENALTY_MIN <= self.repetition_penalty <= _PENALTY_MAX:
            raise SettingError(
                f"repetition_penalty is {self.repetition_penalty}: choose a number in [{_PENALTY_MIN}, "
                f"{_PENALTY_MAX}], 1 for none"
            )

    def _check_kinds(self) -> None:
        """What is no number would otherwise be noticed in a step, which has other requests as well."""
        top_k: object = self.top_k
        if not isinstance(top_k, Integral):
            raise SettingError(f"top_k is {top_k!r}: choose a whole number of tokens, or 0 to keep all")
        for name in ("temperature", "top_p", "min_p", "repetition_penalty"):
            value = getattr(self, name)
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise SettingError(f"{name} is far too large: choose a number below {_LARGEST}")
            if not isinstance(value, Real):
                raise SettingError(f"{name} is {value!r}: choose a number")


def probabilities(
    logits: NDArray[np.floating[Any]],
    options: SamplingOptions,
    *,
    seen: NDArray[np.intp] = _NONE,
    absent: NDArray[np.intp] = _NONE,
) -> NDArray[np.float64]:
    """The distribution that the next token is drawn from.

    Args:
        logits: (V,), finite; not modified.
        options: what changes the distribution.
        seen: ids in prompt and output so far, for the repetition penalty; how often does not matter.
        absent: ids that are never drawn, because the tokenizer does not have them.

    Returns:
        Probabilities (V,) that add up to 1. What was not kept has exactly 0.

    Raises:
        InputError: a logit is not finite.

    Source: repetition penalty, Keskar et al. 2019, "CTRL: A Conditional Transformer Language Model for
    Controllable Generation", section 4.1, as `transformers` applies it to negative logits; top-k, Fan et al.
    2018, "Hierarchical Neural Story Generation"; top-p, Holtzman et al. 2020, "The Curious Case of Neural
    Text Degeneration", section 3.1; min-p, Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling for
    Creative and Coherent LLM Outputs", section 3.
    """
    allowed = _penalised(logits, options.repetition_penalty, seen, absent)
    shares = np.zeros(len(logits))
    if options.temperature == 0.0:
        shares[allowed.argmax()] = 1.0
        return shares
    kept, weights = _weighed(allowed, options)
    shares[kept] = weights / weights.sum(dtype=np.float64)
    return shares


def sample(
    logits: NDArray[np.floating[Any]],
    options: SamplingOptions,
    rng: np.random.Generator,
    *,
    seen: NDArray[np.intp] = _NONE,
    absent: NDArray[np.intp] = _NONE,
) -> int:
    """Draw the next token from `probabilities`, which see for the arguments.

    One number u in [0, 1) is taken from `rng`. The token is the first, in the order of ids, up to which the
    probabilities add up to more than u. At temperature 0 it is the likeliest, and nothing is taken.

    Returns:
        A token id in [0, V).

    Raises:
        InputError: a logit is not finite. Nothing is taken from `rng`.
    """
    allowed = _penalised(logits, options.repetition_penalty, seen, absent)
    if options.temperature == 0.0:
        return int(allowed.argmax())
    kept, weights = _weighed(allowed, options)
    place = _first_above(weights, rng.random())
    return place if kept is None else int(kept[place])


def likeliest(logits: NDArray[np.floating[Any]], count: int) -> NDArray[np.intp]:
    """The ids of the largest logits, in ascending order of ids. Of equal logits the lower ids.

    Args:
        logits: (V,), no NaN among them; not modified.
        count: how many, >= 1; all of them if there are no more.
    """
    if count >= len(logits):
        return np.arange(len(logits))
    least = np.partition(logits, len(logits) - count)[len(logits) - count]
    return _at_least(logits, least, count)


def _penalised(
    logits: NDArray[np.floating[Any]], penalty: float, seen: NDArray[np.intp], absent: NDArray[np.intp]
) -> NDArray[np.floating[Any]]:
    """Logits with the repetition penalty, and minus infinity for ids that are never drawn."""
    if not np.isfinite(logits).all():
        raise InputError("the model's logits are not finite: its weights are unusable, train it again")
    if penalty == 1.0 and not len(absent):
        return logits
    changed = logits.copy()
    if penalty != 1.0:
        before, limits = logits[seen], np.finfo(logits.dtype)
        with np.errstate(over="ignore"):
            after = np.where(before < 0.0, before * penalty, before / penalty)
        changed[seen] = after.clip(limits.min, limits.max)
    changed[absent] = -np.inf
    return changed


def _weighed(
    logits: NDArray[np.floating[Any]], options: SamplingOptions
) -> tuple[NDArray[np.intp] | None, NDArray[np.floating[Any]]]:
    """Which ids are kept, ascending, None for all; and their weights, that of the likeliest being 1.

    The whole vocabulary is never sorted: top-k finds its smallest logit by partition, top-p sorts only those
    that weigh enough to matter.
    """
    best = logits.max()
    kept: NDArray[np.intp] | None = None
    if 0 < options.top_k < len(logits):
        kept = likeliest(logits, options.top_k)
        logits = logits[kept]
    weights = _weights(logits, best, options.temperature)
    if options.top_p < 1.0:
        inside = _nucleus(logits, weights, best, options)
        kept, weights = inside if kept is None else kept[inside], weights[inside]
    if options.min_p > 0.0:
        inside = np.flatnonzero(weights >= options.min_p)
        kept, weights = inside if kept is None else kept[inside], weights[inside]
    return kept, weights


def _weights(
    logits: NDArray[np.floating[Any]], best: np.floating[Any], temperature: float
) -> NDArray[np.floating[Any]]:
    # A tiny temperature sends all but the best to minus infinity, whose exponential is the 0 it should be.
    with np.errstate(over="ignore", under="ignore"):
        weights: NDArray[np.floating[Any]] = logits - best
        weights /= max(temperature, _TEMPERATURE_MIN)
        np.exp(weights, out=weights)
    return weights


def _nucleus(
    logits: NDArray[np.floating[Any]],
    weights: NDArray[np.floating[Any]],
    best: np.floating[Any],
    options: SamplingOptions,
) -> NDArray[np.intp]:
    """Where the fewest likeliest are that together have the share `top_p` of all weight."""
    total = float(weights.sum(dtype=np.float64))
    # All that weigh less than this have together less than the share that is left out.
    candidates = np.flatnonzero(weights >= (1.0 - options.top_p) * total / len(weights))
    # Ranked by logits, since distinct logits may underflow to one weight.
    ranked = np.sort(logits[candidates])[::-1]
    reached = np.cumsum(_weights(ranked, best, options.temperature), dtype=np.float64)
    # Rounding can leave the whole sum a hair below `top_p`.
    count = min(int(np.searchsorted(reached, options.top_p * total)) + 1, len(ranked))
    return candidates[_at_least(logits[candidates], ranked[count - 1], count)]


def _at_least(values: NDArray[np.floating[Any]], least: np.floating[Any], count: int) -> NDArray[np.intp]:
    """Where the `count` largest values are, the smallest of which is `least`; of equal ones the first."""
    places = np.flatnonzero(values >= least)
    if surplus := len(places) - count:
        equal = np.flatnonzero(values[places] == least)
        places = np.delete(places, equal[-surplus:])
    return places


def _first_above(weights: NDArray[np.floating[Any]], u: float) -> int:
    """The first place up to which the weights add up to more than the part `u` of their sum."""
    # In blocks, because a running sum over a whole vocabulary takes longer than all the rest.
    sums = np.add.reduceat(weights, np.arange(0, len(weights), _BLOCK), dtype=np.float64).cumsum()
    target = u * sums[-1]
    block = _place(sums, target)
    inside = weights[block * _BLOCK : (block + 1) * _BLOCK].cumsum(dtype=np.float64)
    return block * _BLOCK + _place(inside, target - (sums[block - 1] if block else 0.0))


def _place(running: NDArray[np.float64], target: float) -> int:
    """The first place where a running sum is above a target; where it ends, if rounding leaves it below."""
    found, last = running.searchsorted(target, side="right"), running.searchsorted(running[-1])
    return int(min(found, last))
