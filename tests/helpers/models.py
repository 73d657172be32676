"""Small models and batches for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.model import ModelConfig, Parameters, layout_of

if TYPE_CHECKING:
    import numpy.typing as npt

TIED = ModelConfig(vocab_size=23, dim=16, layers=2, heads=4, ffn_dim=20, seq_len=12)
GROUPED = ModelConfig(
    vocab_size=19, dim=24, layers=2, heads=4, kv_heads=2, ffn_dim=12, seq_len=12, tied=False
)


def random_parameters(config: ModelConfig, seed: int, dtype: npt.DTypeLike = np.float64) -> Parameters:
    """Weights large enough that every part of the network matters."""
    rng = np.random.default_rng(seed)
    return Parameters(config, (0.3 * rng.standard_normal(layout_of(config).size)).astype(dtype))


def random_batch(config: ModelConfig, seed: int, B: int, T: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Tokens and targets (B, T), none of them padding."""
    ids = np.random.default_rng(seed).integers(0, config.vocab_size, (B, T + 1), dtype=np.int32)
    return ids[:, :-1].copy(), ids[:, 1:].copy()
