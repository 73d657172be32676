"""The sizes at which speed is measured, and a text to measure it on."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Final

from crystalline.model import ModelConfig
from crystalline.training import TrainConfig

__all__ = ["SIZES", "BenchSizes", "synthetic_text"]

_WORDS, _DISTINCT = 60_000, 20_000


@dataclass(frozen=True, slots=True)
class BenchSizes:
    """A model, and how many sequences a step of it has."""

    model: ModelConfig
    batch_size: int


SIZES: Final = {
    "small": BenchSizes(ModelConfig(vocab_size=1024, dim=64, layers=2, heads=4), TrainConfig().batch_size),
    "default": BenchSizes(ModelConfig(), TrainConfig().batch_size),
    "headline": BenchSizes(
        ModelConfig(vocab_size=10_000, dim=256, layers=6, heads=8, ffn_dim=688, seq_len=128), 36
    ),
}
"""By name: one that is mostly overhead, what `crystalline train` has without options, and a larger one."""


def synthetic_text() -> str:
    """Words of a language of its own, always the same: enough of them for any vocabulary in `SIZES`."""
    rng = random.Random(0)
    syllables = ["".join(pair) for pair in itertools.product("bcdfghjklmnprstvwz", "aeiou")]
    lexicon = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(_DISTINCT)]
    weights = [1.0 / (rank + 1) ** 0.5 for rank in range(_DISTINCT)]
    return " ".join(rng.choices(lexicon, weights=weights, k=_WORDS))
