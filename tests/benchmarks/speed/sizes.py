"""The sizes at which the speed of training is compared."""

from __future__ import annotations

from typing import Final

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from tests.benchmarks.exact import sizes as exact
from tests.benchmarks.lag import HEADLINE

__all__ = ["SIZES"]

SIZES: Final = {
    "headline": exact.Sizes(HEADLINE, 36, Corpus.builtin),
    "tiny": exact.Sizes(ModelConfig(vocab_size=4096, dim=64, layers=2, heads=4), 36, Corpus.builtin),
    "large": exact.Sizes(ModelConfig(vocab_size=10_000, dim=512, layers=8, heads=8), 36, Corpus.builtin),
    "long": exact.Sizes(
        ModelConfig(vocab_size=10_000, dim=256, layers=6, heads=8, ffn_dim=688, seq_len=512),
        12,
        Corpus.builtin,
    ),
    "toy": exact.SIZES["tiny"],
}
"""`headline` is the model of `lag.py`; `toy` shows that a benchmark works, and nothing else."""
