"""The arithmetic of training, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from crystalline.bench import SIZES, forward_flops, training_flops
from crystalline.model import ModelConfig


def test_the_parts_of_a_small_model() -> None:
    config = ModelConfig(vocab_size=10, dim=4, layers=2, heads=2, kv_heads=1, ffn_dim=6, seq_len=3)
    assert forward_flops(config) == {
        "projections": 2 * 2 * (4 * 4 + 2 * 4 * 2 + 4 * 4),  # q, k and v, o; heads are 2 wide
        "attention": 2 * 2 * (2 * 4 * 2),  # scores and mix, 4 features each, 1 + 2 + 3 keys for 3 queries
        "feed_forward": 2 * 2 * (3 * 4 * 6),
        "head": 2 * 4 * 10,
    }
    assert training_flops(config) == 3 * (192 + 64 + 288 + 80)


def test_the_headline_needs_45_million_a_token() -> None:
    weights = 6 * (4 * 256 * 256 + 3 * 256 * 688) + 256 * 10_000
    assert weights == 7_303_168
    assert training_flops(SIZES["headline"].model) == 6 * weights + 6 * 6 * 2 * 256 * 64.5
    assert training_flops(SIZES["headline"].model) == pytest.approx(45e6, rel=1e-3)


def test_shorter_sequences_need_less_attention_and_nothing_else() -> None:
    config = ModelConfig(seq_len=127)
    whole, half = forward_flops(config), forward_flops(config, 63)
    assert whole["attention"] == 2 * half["attention"]
    assert {**whole, "attention": 0} == {**half, "attention": 0}
