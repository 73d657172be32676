"""How likely the model found a token, before sampling changes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.inference.request import TokenLogprob
from crystalline.inference.sampling import likeliest

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["token_logprob"]


def token_logprob(
    logits: NDArray[np.floating[Any]], token: int, count: int, *, absent: NDArray[np.intp]
) -> TokenLogprob:
    """The log-probability of a token, and those of the likeliest ones.

    They are of the softmax of the logits as the model gave them: without repetition penalty, temperature,
    top-k, top-p and min-p.

    Args:
        logits: (V,), finite; not modified.
        token: the one that was drawn.
        count: how many of the likeliest to name, >= 0. Of equally likely ones the lower id comes first.
        absent: ids that do not count: their probability is 0, and they are not named.
    """
    if len(absent):
        logits = logits.copy()
        logits[absent] = -np.inf
    best = logits.max()
    with np.errstate(under="ignore"):
        log_total = float(np.log(np.exp(logits - best).sum(dtype=np.float64)))
    named = likeliest(logits, count) if count else np.empty(0, np.intp)
    ranked = [int(i) for i in named[np.argsort(-logits[named], kind="stable")] if logits[i] > -np.inf]
    by_id = {i: float(logits[i]) - float(best) - log_total for i in (token, *ranked)}
    return TokenLogprob(token, by_id[token], tuple((i, by_id[i]) for i in ranked))
