"""A GGUF file has what llama.cpp looks for, and gives back what was written."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tokenizers import Tokenizer

from crystalline.errors import OutputError
from crystalline.model import LoadedModel, Parameters, RopeScaling, TextSettings, weights_sha256
from crystalline.model import export_gguf as module
from crystalline.model.export_gguf import GgufType, write_gguf
from crystalline.model.opening import open_model
from tests.helpers.small_models import (
    SCALED,
    TEMPLATE,
    TEXT,
    chat_model,
    listing,
    llama3_tokenizer,
    sentencepiece_model,
    small_model,
)
from tests.helpers.tokenizers import END_OF_TEXT

if TYPE_CHECKING:
    from pathlib import Path

MODELS: dict[str, LoadedModel] = {
    "ours": small_model(),
    "untied": small_model(tied=False),
    "all heads": small_model(kv_heads=4),
    "narrow heads": small_model(head_dim=6),
    "chat": chat_model(),
    "linear": small_model(rope_scaling=RopeScaling(kind="linear", factor=4.0)),
    "llama3": small_model(llama3_tokenizer(), rope_scaling=SCALED, rope_theta=500_000.0, norm_eps=1e-6),
    "sentencepiece": sentencepiece_model(),
    "padded": small_model(vocab_size=512),
    "odd rows": small_model(dim=48, ffn_dim=40),
}
KINDS: tuple[GgufType, ...] = ("f32", "f16", "q8_0")


def keys(path: Path) -> dict[str, Any]:
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def types(path: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(path).tensors}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_f32_gives_back_every_bit(tmp_path: Path, model: LoadedModel) -> None:
    write_gguf(tmp_path / "m.gguf", model, "f32")
    found = open_model(tmp_path / "m.gguf")
    assert found.config == model.config
    assert weights_sha256(found.flat) == weights_sha256(model.flat)
    assert_same_texts(found, model)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_error_is_bounded_and_not_made_twice(tmp_path: Path, model: LoadedModel, kind: GgufType) -> None:
    write_gguf(tmp_path / "one.gguf", model, kind, name="same")
    found = open_model(tmp_path / "one.gguf")
    write_gguf(tmp_path / "two.gguf", found, kind, name="same")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()
    before, after = Parameters(model.config, model.flat), Parameters(found.config, found.flat)
    for name, view in before.views.items():
        largest = np.abs(view).max()
        # Half a step of float16 next to the largest value; or half of 127 steps up to it, whose length is a
        # float16 as well.
        bound = largest * {"f32": 0.0, "f16": 2.0**-11, "q8_0": 1 / 254 + 2.0**-11}[kind]
        assert np.abs(after.views[name] - view).max() <= (0.0 if view.ndim == 1 else bound), name


def assert_same_texts(found: LoadedModel, model: LoadedModel) -> None:
    """The same ids for any text, the same settings; only what begins a text may be filled in."""
    ours, theirs = (Tokenizer.from_str(each.tokenizer_json) for each in (model, found))
    for text in (TEXT, "", " x", "<|endoftext|> a <tool> b", "kadumi  so\n\n12"):
        ids = [each.encode(text, add_special_tokens=False).ids for each in (ours, theirs)]
        assert ids[0] == ids[1], text
        assert ours.decode(ids[0]) == theirs.decode(ids[0])
    assert found.text.begin_id == model.text.begin_id
    assert found.text.end_ids == model.text.end_ids
    assert found.text.chat_template == model.text.chat_template
    assert found.text.end_token == model.text.end_token
    if model.text.begin_token:
        assert found.text.begin_token == model.text.begin_token


def test_the_settings_are_where_llama_cpp_looks_for_them(tmp_path: Path) -> None:
    model = chat_model()
    write_gguf(tmp_path / "m.gguf", model, "q8_0", name="talker")
    found = keys(tmp_path / "m.gguf")
    expected = {
        "general.architecture": "llama",
        "general.name": "talker",
        "general.file_type": 7,
        "general.quantization_version": 2,
        "llama.vocab_size": model.config.vocab_size,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "llama.block_count": 2,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 8,
        "llama.rope.freq_base": 10_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.bos_token_id": 360,
        "tokenizer.ggml.eos_token_id": 361,
        "tokenizer.ggml.eot_token_id": 0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.chat_template": TEMPLATE,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["tokenizer.ggml.tokens"][360:363] == ["<|im_start|>", "<|im_end|>", "<tool>"]
    assert found["tokenizer.ggml.token_type"][359:363] == [1, 3, 3, 4]


def test_where_nothing_begins_a_text_the_end_of_the_one_before_does(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", small_model(), "f32")
    found = keys(tmp_path / "m.gguf")
    assert found["tokenizer.ggml.bos_token_id"] == found["tokenizer.ggml.eos_token_id"] == 0
    assert found["tokenizer.ggml.add_bos_token"] is False


def test_norms_are_exact_and_matrices_as_asked(tmp_path: Path) -> None:
    for kind, matrix in (("f32", "F32"), ("f16", "F16"), ("q8_0", "Q8_0")):
        write_gguf(tmp_path / kind, small_model(), kind)  # type: ignore[arg-type]  # they are of the type
        for name, found in types(tmp_path / kind).items():
            assert found == ("F32" if "norm" in name else matrix), name


def test_rows_that_cannot_be_cut_into_blocks_are_float16(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", small_model(dim=48, ffn_dim=64), "q8_0")
    found = types(tmp_path / "m")
    assert found["blk.0.ffn_down.weight"] == "Q8_0"
    assert found["blk.0.attn_q.weight"] == found["token_embd.weight"] == "F16"
    assert Counter(found.values()) == {"Q8_0": 2, "F16": 2 * 6 + 1, "F32": 5}


def test_the_frequencies_of_llama3_are_divided_as_the_model_does(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m", small_model(rope_scaling=SCALED), "f16")
    (divisors,) = (each for each in GGUFReader(tmp_path / "m").tensors if each.name == "rope_freqs.weight")
    assert divisors.data.dtype == np.float32
    assert divisors.data[0] == 1.0, "the quickest turn as they did"
    assert divisors.data[-1] == 8.0, "the slowest are divided by the whole factor"
    assert np.all(np.diff(divisors.data) >= 0)


def test_a_name_for_others_and_the_progress(tmp_path: Path) -> None:
    parts: list[float] = []
    write_gguf(tmp_path / "m", small_model(), "f32", progress=parts.append)
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert "general.name" not in keys(tmp_path / "m")


@settings(max_examples=200, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        (2, 64),
        elements=st.floats(-1e6, 1e6, width=32) | st.floats(-(2.0**-17), 2.0**-17, width=32) | st.just(0.0),
    )
)
def test_eight_bits_are_the_same_the_second_time(values: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    once = module._held("t", values, GGMLQuantizationType.Q8_0)
    again = module._held("t", dequantize(once, GGMLQuantizationType.Q8_0), GGMLQuantizationType.Q8_0)
    assert np.array_equal(once, again)


@pytest.mark.parametrize(("kind", "value"), [("f16", 7e4), ("q8_0", 1e7)])
def test_a_weight_that_is_too_large_is_refused(tmp_path: Path, kind: GgufType, value: float) -> None:
    model = small_model()
    model.flat[7] = value
    with pytest.raises(OutputError, match=r"tensor token_embd.weight has a value too large"):
        write_gguf(tmp_path / "m", model, kind)
    assert listing(tmp_path) == []


def test_a_model_that_ends_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="names no token that ends a text"):
        write_gguf(tmp_path / "m", small_model(text=TextSettings()), "f32")
    assert listing(tmp_path) == []


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_gguf(tmp_path / "m", small_model(), "f32")
    assert (tmp_path / "m").read_text() == "mine"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", failing)
    with pytest.raises(OSError, match="No space left"):
        write_gguf(tmp_path / "m", small_model(), "f32")
    assert listing(tmp_path) == []


def test_more_ends_than_llama_cpp_has_names_for_lose_the_last(tmp_path: Path) -> None:
    model = small_model(text=TextSettings(end_ids=(0, 5, 6, 7), end_token=END_OF_TEXT))
    write_gguf(tmp_path / "m", model, "f32")
    assert open_model(tmp_path / "m").text == replace(model.text, end_ids=(0, 5, 6), begin_token=END_OF_TEXT)
