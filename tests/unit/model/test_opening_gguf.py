"""GGUF files: every type is read, the order of rows is ours, what is not computed here is refused by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from crystalline.errors import ModelFolderError
from crystalline.model import ModelConfig, Parameters, RopeScaling, TextSettings, initialise
from crystalline.model.gguf_config import llama3_scaling
from crystalline.model.opening import open_model
from tests.helpers.gguf_models import CONFIG, TEMPLATE, TOKENIZER, gguf_tensors, write_gguf_file

if TYPE_CHECKING:
    from pathlib import Path

FLAT = (initialise(CONFIG, 3) * 8).astype(np.float16).astype(np.float32)
TENSORS = gguf_tensors(CONFIG, FLAT)


def readable(kind: GGMLQuantizationType) -> bool:
    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


QUANTISED = [kind for kind in GGML_QUANT_SIZES if GGML_QUANT_SIZES[kind][0] > 1 and readable(kind)]


def test_the_package_knows_the_types_that_are_in_use() -> None:
    usual = {
        "Q4_0",
        "Q4_1",
        "Q5_0",
        "Q5_1",
        "Q8_0",
        "Q2_K",
        "Q3_K",
        "Q4_K",
        "Q5_K",
        "Q6_K",
        "IQ4_XS",
        "IQ2_XXS",
    }
    assert {kind.name for kind in QUANTISED} >= usual


USUAL_TEXT: dict[str, Any] = {
    "end_ids": (0,),
    "chat_template": TEMPLATE,
    "begin_token": "<|endoftext|>",
    "end_token": "<|endoftext|>",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, tied=False, layers=2),
        replace(
            CONFIG, dim=32, heads=6, kv_heads=3, head_dim=16, ffn_dim=48, vocab_size=CONFIG.vocab_size + 5
        ),
        replace(CONFIG, rope_scaling=RopeScaling(kind="linear", factor=4.0)),
    ],
    ids=["tied", "untied", "heads of another width, padded", "linear"],
)
def test_a_model_comes_back_as_it_was(path: Path, config: ModelConfig) -> None:
    flat = initialise(config, 1)
    keys: dict[str, Any] = {"llama.attention.key_length": config.head_dim}
    if config.rope_scaling:
        keys |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": config.rope_scaling.factor}
    model = open_model(write_gguf_file(path, config, tensors=gguf_tensors(config, flat), keys=keys))
    assert model.config == config
    assert np.array_equal(model.flat, flat)
    assert model.text == TextSettings(**USUAL_TEXT)


@pytest.mark.parametrize("kind", [GGMLQuantizationType.F16, GGMLQuantizationType.BF16])
def test_sixteen_bits_are_read_exactly(path: Path, kind: GGMLQuantizationType) -> None:
    flat = FLAT
    if kind == GGMLQuantizationType.BF16:
        flat = (FLAT.view(np.uint32) & 0xFFFF0000).view(np.float32)
    opened = open_model(write_gguf_file(path, tensors=gguf_tensors(CONFIG, flat), kind=kind))
    assert np.array_equal(opened.flat, flat)


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
def test_every_quantisation_gives_the_weights_of_the_package(path: Path, kind: GGMLQuantizationType) -> None:
    block, block_bytes = GGML_QUANT_SIZES[kind]
    rng = np.random.default_rng(int(kind))
    # Bytes this small make no scale that is not finite, wherever a type keeps its scales.
    raw = {
        name: rng.integers(0, 60, (len(values), values.shape[1] // block * block_bytes), dtype=np.uint8)
        for name, values in TENSORS.items()
        if values.ndim > 1
    }
    opened = open_model(write_gguf_file(path, tensors=TENSORS, kind=kind, raw=raw))
    views = Parameters(CONFIG, opened.flat).views
    for theirs, ours in {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
    }.items():
        with np.errstate(all="ignore"):
            expected = dequantize(raw[theirs], kind)
        assert np.array_equal(views[ours], expected)
        assert expected.std() > 0


def test_pieces_of_a_tensor_are_put_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf_file(path, tensors=TENSORS, kind=GGMLQuantizationType.Q8_0)
    whole = open_model(path).flat
    monkeypatch.setattr("crystalline.model.gguf_weights._CHUNK", 1)
    assert np.array_equal(open_model(path).flat, whole)
    assert np.abs(whole - FLAT).max() < 0.01


def test_rows_of_queries_and_keys_are_put_in_our_order(path: Path) -> None:
    tensors = TENSORS | {
        name: np.arange(256.0, dtype=np.float32)[: len(TENSORS[name]), None].repeat(256, axis=1)
        for name in ("blk.0.attn_q.weight", "blk.0.attn_k.weight")
    }
    views = Parameters(CONFIG, open_model(write_gguf_file(path, tensors=tensors)).flat).views
    for part, heads in (("q", 4), ("k", 2)):
        rows = views[f"model.layers.0.self_attn.{part}_proj.weight"][:, 0].reshape(heads, 64)
        for head, found in enumerate(rows):
            assert found[:32].tolist() == [64 * head + 2 * i for i in range(32)]
            assert found[32:].tolist() == [64 * head + 2 * i + 1 for i in range(32)]


# Rotary frequencies

LLAMA3 = RopeScaling(kind="llama3", factor=32.0)


def divisors_of(config: ModelConfig, scaling: RopeScaling) -> np.ndarray:
    frequencies = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    return (frequencies / scaling.slowed(frequencies)).astype(np.float32)


@pytest.mark.parametrize(
    "scaling",
    [
        LLAMA3,
        replace(LLAMA3, factor=8.0),
        replace(LLAMA3, original_seq_len=1000, high_freq_factor=7.5),
        replace(LLAMA3, original_seq_len=16),
    ],
)
def test_the_divisors_of_llama_3_become_its_scaling_again(path: Path, scaling: RopeScaling) -> None:
    config = replace(CONFIG, rope_theta=500_000.0)
    tensors = TENSORS | {"rope_freqs.weight": divisors_of(config, scaling)}
    assert open_model(write_gguf_file(path, config, tensors=tensors)).config == replace(
        config, rope_scaling=scaling
    )


def test_divisors_that_are_all_one_are_no_scaling() -> None:
    assert llama3_scaling(CONFIG, np.ones(32, np.float32)) is None


@pytest.mark.parametrize(
    "divisors",
    [
        np.linspace(1, 8, 32, dtype=np.float32),
        np.full(32, np.nan, np.float32),
        np.zeros(32, np.float32),
        np.ones(31, np.float32),
        np.full(32, 0.5, np.float32),
        np.full(32, 1e30, np.float32),
    ],
)
def test_other_divisors_are_refused(divisors: np.ndarray) -> None:
    with pytest.raises(ModelFolderError, match=r"rope_freqs\.weight is"):
        llama3_scaling(CONFIG, divisors)


# Settings


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"tokenizer.ggml.add_bos_token": True}, {"begin_id": 0}),
        (
            {"tokenizer.ggml.eos_token_id": 7, "tokenizer.ggml.eot_token_id": 9},
            {"end_ids": (7, 9), "end_token": TOKENIZER.id_to_token(7)},
        ),
        ({"tokenizer.chat_template": None}, {"chat_template": None}),
        ({"tokenizer.ggml.bos_token_id": None}, {"begin_token": ""}),
    ],
)
def test_settings_about_texts(path: Path, keys: dict[str, Any], expected: dict[str, Any]) -> None:
    found = open_model(write_gguf_file(path, tensors=TENSORS, keys=keys)).text
    assert found == TextSettings(**(USUAL_TEXT | expected))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"llama.expert_count": 8}, "llama.expert_count=8 is not supported"),
        ({"llama.attention.scale": 0.5}, "llama.attention.scale=0.5 is not supported"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type='yarn' is not supported"),
        ({"llama.rope.dimension_count": 32}, "rope.dimension_count=32 is not supported"),
        ({"llama.attention.head_count": [4]}, "heads must be a whole number"),
        ({"llama.attention.head_count_kv": 3}, "kv_heads=3 does not divide"),
        ({"llama.block_count": None}, "key llama.block_count is missing"),
        ({"llama.block_count": 10**6}, "lacks tensors"),
        ({"llama.block_count": 2}, "lacks tensor"),
        ({"llama.feed_forward_length": 128}, "has shape"),
        ({"llama.attention.layer_norm_rms_epsilon": float("nan")}, "norm_eps must be finite"),
        ({"split.count": 3}, "one of several parts"),
        ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model='t5' is not supported"),
        ({"tokenizer.ggml.pre": "tekken"}, "tokenizer.ggml.pre='tekken' is not supported"),
        ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "array of texts holds something else"),
        ({"tokenizer.ggml.tokens": ["a"] * CONFIG.vocab_size}, "'a' is there twice"),
        ({"tokenizer.ggml.tokens": [str(n) for n in range(999)]}, "999 tokens, more than"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "2 types for"),
        ({"tokenizer.ggml.token_type": [math.nan] * CONFIG.vocab_size}, "must be whole numbers"),
        ({"tokenizer.ggml.merges": ["a b"] * 9999}, "9999 merges, more than"),
        ({"tokenizer.ggml.merges": ["ab"]}, "'ab' is no merge"),
        ({"tokenizer.ggml.merges": ["a b c"]}, "'a b c' is no merge"),
        ({"tokenizer.ggml.merges": ["nothing here"]}, "is not a tokenizer"),
        ({"tokenizer.ggml.bos_token_id": 10**6}, "bos_token_id is 1000000, which is no token id"),
        ({"tokenizer.ggml.add_bos_token": 1}, "add_bos_token must be true or false"),
        (
            {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": None},
            "bos_token_id is missing",
        ),
        ({"tokenizer.chat_template": 5}, "chat_template must be a text"),
    ],
)
def test_what_is_wrong_or_not_supported_is_named(path: Path, keys: dict[str, Any], message: str) -> None:
    write_gguf_file(path, tensors=TENSORS, keys=keys)
    with pytest.raises(ModelFolderError, match=message) as caught:
        open_model(path)
    assert str(path) in str(caught.value)


def test_another_architecture_is_refused_by_name(path: Path) -> None:
    write_gguf_file(path, tensors=TENSORS, architecture="qwen2")
    with pytest.raises(ModelFolderError, match=r"general\.architecture is 'qwen2'; only 'llama'"):
        open_model(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"blk.0.attn_q.bias": np.ones(256, np.float32)}, "has tensor 'blk.0.attn_q.bias'"),
        ({"output_norm.weight": np.ones(255, np.float32)}, "output_norm.weight has shape"),
        ({"output_norm.weight": np.full(256, np.inf, np.float32)}, "holds a value that is not finite"),
        ({"output_norm.weight": np.ones(256, np.int32)}, "is of type I32, which cannot be read"),
        ({"rope_freqs.weight": np.ones((2, 2), np.float32)}, "must be a short row"),
        ({"rope_freqs.weight": np.ones(70_000, np.float32)}, "must be a short row"),
    ],
)
def test_a_tensor_that_does_not_belong_is_named(path: Path, changed: dict[str, Any], message: str) -> None:
    write_gguf_file(path, tensors=TENSORS | changed)
    with pytest.raises(ModelFolderError, match=message):
        open_model(path)


def test_a_missing_tensor_is_named(path: Path) -> None:
    tensors = {name: values for name, values in TENSORS.items() if name != "output_norm.weight"}
    write_gguf_file(path, tensors=tensors | {"rope_freqs.weight": np.ones(32, np.float32)})
    with pytest.raises(ModelFolderError, match=r"lacks tensor output_norm\.weight"):
        open_model(path)


def test_rows_that_are_no_whole_blocks_are_named(path: Path) -> None:
    config = replace(CONFIG, dim=48, head_dim=16, ffn_dim=64)
    keys = {"llama.attention.key_length": 16}
    write_gguf_file(path, config, tensors=gguf_tensors(config, initialise(config, 0)), keys=keys)
    content, name = bytearray(path.read_bytes()), b"token_embd.weight"
    kind_at = content.index(name) + len(name) + 4 + 2 * 8  # behind the number of dimensions, and two of them
    assert content[kind_at] == GGMLQuantizationType.F32
    content[kind_at] = GGMLQuantizationType.Q8_0
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"rows of 48, no whole blocks of Q8_0 \(32\)"):
        open_model(path)


def test_tensors_in_one_place_are_named(path: Path) -> None:
    """Else a small file could ask for any number of layers, which all lie in the same bytes."""
    write_gguf_file(path, tensors=TENSORS)
    content, name = bytearray(path.read_bytes()), b"blk.0.attn_v.weight"
    offset_at = content.index(name) + len(name) + 4 + 2 * 8 + 4  # behind dimensions, and the type
    content[offset_at : offset_at + 8] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"lies in the place of"):
        open_model(path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_is_cut_is_named(path: Path, kept: float) -> None:
    content = write_gguf_file(path, tensors=TENSORS).read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelFolderError, match=r"model\.gguf"):
        open_model(path)


def test_a_vocabulary_that_would_take_far_more_memory_than_the_file_is_refused(tmp_path: Path) -> None:
    entries = 40_000
    config = ModelConfig(vocab_size=entries, dim=2, layers=1, heads=1, ffn_dim=1, seq_len=8)
    keys = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [f"t{number}" for number in range(entries)],
        "tokenizer.ggml.scores": [0.0] * entries,
        "tokenizer.ggml.token_type": [4] * entries,  # each of them added by itself
    }
    tensors = gguf_tensors(config, initialise(config, 0))
    path = write_gguf_file(tmp_path / "added.gguf", config, tensors=tensors, keys=keys)
    with pytest.raises(ModelFolderError, match=r"added\.gguf.*40000 of them not plain ones, would take"):
        open_model(path)
    keys["tokenizer.ggml.token_type"] = [1] * entries
    assert open_model(write_gguf_file(path, config, tensors=tensors, keys=keys)).config.vocab_size == entries
