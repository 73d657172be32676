"""The arithmetic that training needs: multiplications and additions of its matrix products. Pure.

A product of (m, k) and (k, n) matrices takes 2 m n k operations. Element-wise work is not counted, and
neither is what an implementation computes twice, or computes and throws away: this is what the result needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from crystalline.model import ModelConfig

__all__ = ["forward_flops", "training_flops"]

# Each product of the forward pass has two in the backward pass, one for either operand's gradient.
_FORWARD_AND_BACKWARD: Final = 3


def forward_flops(config: ModelConfig, seq_len: int | None = None) -> dict[str, float]:
    """Operations of a forward pass for one token, by part, all layers together.

    Args:
        config: the model's sizes.
        seq_len: tokens in a sequence, T; None means `config.seq_len`.

    Returns:
        `projections` (query, key, value and output), `attention` (scores, and the mix of values: a query
        meets its own and earlier positions, (T + 1) / 2 on average), `feed_forward` and `head`.
    """
    T = config.seq_len if seq_len is None else seq_len
    D, layers, keys = config.dim, config.layers, (T + 1) / 2
    queries_and_output = 2 * config.heads * config.head_dim
    keys_and_values = 2 * config.key_value_heads * config.head_dim
    return {
        "projections": layers * 2.0 * D * (queries_and_output + keys_and_values),
        "attention": layers * 2.0 * 2 * config.heads * config.head_dim * keys,
        "feed_forward": layers * 2.0 * 3 * D * config.feed_forward_dim,
        "head": 2.0 * D * config.vocab_size,
    }


def training_flops(config: ModelConfig, seq_len: int | None = None) -> float:
    """Operations of training for one token: forward, and twice that backward.

    Args:
        config: the model's sizes.
        seq_len: as for `forward_flops`.
    """
    return _FORWARD_AND_BACKWARD * sum(forward_flops(config, seq_len).values())
