from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import ModelFolderError, SettingError
from crystalline.model import ModelConfig, RopeScaling, layout_of

HEADLINE = ModelConfig(vocab_size=10_000, dim=256, layers=6, heads=8)


def test_sizes_left_out_follow_from_the_others() -> None:
    config = HEADLINE
    assert (config.kv_heads, config.ffn_dim, config.head_dim) == (8, 688, 32)
    assert config.parameter_count() == layout_of(config).size
    assert 7.2e6 < config.parameter_count() < 7.4e6


def scalings() -> st.SearchStrategy[RopeScaling]:
    linear = st.builds(RopeScaling, kind=st.just("linear"), factor=st.floats(0.5, 64.0))
    llama3 = st.builds(
        RopeScaling,
        kind=st.just("llama3"),
        factor=st.floats(1.0, 64.0),
        low_freq_factor=st.floats(0.5, 1.5),
        high_freq_factor=st.floats(2.0, 8.0),
        original_seq_len=st.integers(16, 8192),
    )
    return linear | llama3


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    kv_heads, group, half = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return ModelConfig(
        vocab_size=draw(st.integers(1, 40)),
        dim=kv_heads * group * 2 * half,
        head_dim=draw(st.sampled_from([2, 4, 6]) | st.none()),  # type: ignore[arg-type]  # None: of dim
        rope_scaling=draw(st.none() | scalings()),
        layers=draw(st.integers(1, 3)),
        heads=kv_heads * group,
        kv_heads=kv_heads,
        ffn_dim=draw(st.integers(1, 30) | st.none()),
        seq_len=draw(st.integers(1, 9)),
        rope_theta=draw(st.floats(1.0, 1e6)),
        norm_eps=draw(st.floats(1e-9, 1e-3)),
        tied=draw(st.booleans()),
    )


@given(configs())
def test_the_parameter_count_is_the_size_of_the_layout(config: ModelConfig) -> None:
    assert config.parameter_count() == layout_of(config).size


@given(configs())
def test_a_config_survives_the_hugging_face_spelling(config: ModelConfig) -> None:
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    "name",
    ["vocab_size", "dim", "layers", "heads", "kv_heads", "ffn_dim", "seq_len", "rope_theta", "norm_eps"],
)
@pytest.mark.parametrize("value", [0, -3, "8", True, float("nan"), float("inf")])
def test_an_impossible_setting_is_named_with_its_value(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=rf"{name} .*{value}"):
        ModelConfig(**{name: value})


def test_a_size_must_be_whole() -> None:
    with pytest.raises(SettingError, match=r"dim .*256\.0"):
        ModelConfig(dim=256.0)  # type: ignore[arg-type]  # the mistake under test


def test_tied_is_true_or_false() -> None:
    with pytest.raises(SettingError, match=r"tied .*1"):
        ModelConfig(tied=1)  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 100, "heads": 8}, "heads=8 does not divide dim=100; .* 1, 2, 4, 5, 10"),
        ({"dim": 24, "heads": 8}, "dim=24 over heads=8 .* width 3"),
        ({"heads": 8, "kv_heads": 3}, "kv_heads=3 does not divide heads=8; .* 1, 2, 4, 8"),
        ({"heads": 4, "kv_heads": 8}, "kv_heads=8 does not divide heads=4"),
    ],
)
def test_sizes_that_do_not_fit_together_are_both_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        ModelConfig(**settings)  # type: ignore[arg-type]  # all of them are integers


def test_special_token_ids_are_null_unless_given() -> None:
    plain, given_ids = ModelConfig().to_hf(), ModelConfig().to_hf(bos_token_id=1, eos_token_id=2)
    assert (plain["bos_token_id"], plain["eos_token_id"]) == (None, None)
    assert (given_ids["bos_token_id"], given_ids["eos_token_id"]) == (1, 2)


def test_the_newer_spelling_of_the_rotary_base_is_read() -> None:
    content = ModelConfig().to_hf()
    del content["rope_theta"]
    content["rope_parameters"] = {"rope_type": "default", "rope_theta": 500.0}
    assert ModelConfig.from_hf(content) == replace(ModelConfig(), rope_theta=500.0)


def test_absent_optional_keys_mean_what_transformers_means() -> None:
    content = ModelConfig().to_hf()
    for key in ("num_key_value_heads", "rms_norm_eps", "tie_word_embeddings", "rope_theta", "head_dim"):
        del content[key]
    assert ModelConfig.from_hf(content) == ModelConfig(norm_eps=1e-6, tied=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
        ({"rope_scaling": {"factor": 2.0}}, "rope_type=None is not supported"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "rope_type='yarn' is not supported"),
        ({"rope_scaling": {"type": ["linear"]}}, "rope_type=.* is not supported"),
        ({"rope_scaling": {"type": "linear"}}, "rope scaling lacks the key 'factor'"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "factor must be a number"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor must be from"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "lacks the key 'low_freq_factor'"),
        ({"rope_parameters": 3}, "rope_parameters must be an object"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu' is not supported"),
        ({"attention_bias": True}, "attention_bias=True is not supported"),
        ({"mlp_bias": True}, "mlp_bias=True is not supported"),
        ({"pretraining_tp": 2}, "pretraining_tp=2 is not supported"),
        ({"quantization_config": {"bits": 4}}, "quantization_config=.* is not supported"),
        ({"head_dim": 31}, "head_dim is 31, .* even width"),
        ({"head_dim": [64]}, "head_dim must be a whole number"),
        ({"vocab_size": 10**400}, "vocab_size is above"),
        ({"rope_theta": 10**400}, "rope_theta is above"),
        ({"hidden_size": "256"}, "dim must be a whole number"),
        ({"num_attention_heads": 7, "head_dim": None}, "heads=7 does not divide dim=256"),
        ({"rope_theta": None}, "rope_theta must be a number"),
    ],
)
def test_a_config_that_cannot_be_computed_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelFolderError, match=message):
        ModelConfig.from_hf(HEADLINE.to_hf() | change)


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings"])
def test_a_missing_key_is_named(key: str) -> None:
    content = ModelConfig().to_hf()
    del content[key]
    with pytest.raises(ModelFolderError, match=f"'{key}' is missing"):
        ModelConfig.from_hf(content)
