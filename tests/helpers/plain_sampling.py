"""The distribution of the next token once more: no tricks, in plain Python, as its definition reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crystalline.inference import SamplingOptions

__all__ = ["plain_probabilities"]


def plain_probabilities(
    logits: Sequence[float],
    options: SamplingOptions,
    seen: Collection[int] = (),
    absent: Collection[int] = (),
) -> dict[int, float]:
    """The tokens that are kept, and their probabilities."""
    penalised = {i: float(x) for i, x in enumerate(logits) if i not in absent}
    for i in set(seen) & penalised.keys():
        x = penalised[i]
        penalised[i] = x * options.repetition_penalty if x < 0 else x / options.repetition_penalty
    ranked = sorted(penalised, key=lambda i: (-penalised[i], i))
    if options.temperature == 0:
        return {ranked[0]: 1.0}
    best = penalised[ranked[0]]
    mass = {i: math.exp((x - best) / options.temperature) for i, x in penalised.items()}
    if options.top_k > 0:
        ranked = ranked[: options.top_k]
    if options.top_p < 1:
        total, reached, nucleus = sum(mass[i] for i in ranked), 0.0, []
        for i in ranked:
            nucleus.append(i)
            reached += mass[i] / total
            if reached >= options.top_p:
                break
        ranked = nucleus
    ranked = [i for i in ranked if mass[i] >= options.min_p * mass[ranked[0]]]
    total = sum(mass[i] for i in ranked)
    return {i: mass[i] / total for i in ranked}
