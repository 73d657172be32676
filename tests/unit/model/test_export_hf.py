"""A folder in Hugging Face layout gives back what was written, to the last bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer, processors

from crystalline.errors import OutputError
from crystalline.model import LoadedModel, ModelConfig, RopeScaling, TextSettings, weights_sha256
from crystalline.model import export_hf as module
from crystalline.model.export_hf import HF_FILES, write_hf
from crystalline.model.opening import open_model
from tests.helpers.small_models import (
    SCALED,
    TEMPLATE,
    chat_model,
    listing,
    llama3_tokenizer,
    sentencepiece_model,
    small_model,
)

if TYPE_CHECKING:
    from pathlib import Path

MODELS: dict[str, LoadedModel] = {
    "ours": small_model(),
    "untied": small_model(tied=False),
    "narrow heads": small_model(head_dim=6),
    "chat": chat_model(),
    "linear": small_model(rope_scaling=RopeScaling(kind="linear", factor=4.0)),
    "llama3": small_model(llama3_tokenizer(), rope_scaling=SCALED, rope_theta=500_000.0, norm_eps=1e-6),
    "sentencepiece": sentencepiece_model(),
    "padded": small_model(vocab_size=512),
}


def content_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_is_written_is_opened(tmp_path: Path, model: LoadedModel) -> None:
    write_hf(tmp_path / "out", model)
    found = open_model(tmp_path / "out")
    assert found.config == model.config
    assert weights_sha256(found.flat) == weights_sha256(model.flat)
    assert found.text == model.text
    if model.text.begin_id is None:
        assert found.tokenizer_json == model.tokenizer_json
    assert listing(tmp_path / "out") == sorted(HF_FILES)


@pytest.mark.parametrize("model", [chat_model(), sentencepiece_model()], ids=["chat", "sentencepiece"])
@pytest.mark.parametrize("cut", [False, True])
def test_the_tokenizer_itself_begins_a_text_where_the_model_wants_it(
    tmp_path: Path,
    model: LoadedModel,
    cut: bool,  # noqa: FBT001  (a case, not a setting)
) -> None:
    """So that those begin it who go by the tokenizer alone; whatever it does behind that, it still does."""
    tokenizer = Tokenizer.from_str(model.tokenizer_json)
    if cut:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    write_hf(tmp_path / "out", replace(model, tokenizer_json=tokenizer.to_str()))
    found = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    plain = tokenizer.encode("kadumi so", add_special_tokens=False).ids
    assert found.encode("kadumi so").ids == [model.text.begin_id, *plain]
    assert found.encode("kadumi so", add_special_tokens=False).ids == plain


def test_written_twice_every_byte_is_the_same(tmp_path: Path) -> None:
    write_hf(tmp_path / "one", chat_model())
    write_hf(tmp_path / "two", open_model(tmp_path / "one"))
    for name in HF_FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_settings_are_where_others_look_for_them(tmp_path: Path) -> None:
    write_hf(tmp_path / "out", chat_model(rope_scaling=SCALED))
    begin, end, over = 360, 361, 0
    config = content_of(tmp_path / "out" / "config.json")
    assert (config["bos_token_id"], config["eos_token_id"]) == (begin, [end, over])
    assert config["rope_scaling"]["rope_type"] == "llama3"
    assert config["head_dim"] == 8
    assert content_of(tmp_path / "out" / "generation_config.json") == {
        "bos_token_id": begin,
        "eos_token_id": [end, over],
    }
    tokenizer = content_of(tmp_path / "out" / "tokenizer_config.json")
    assert (tokenizer["bos_token"], tokenizer["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer["chat_template"], tokenizer["add_bos_token"]) == (TEMPLATE, True)


def test_a_model_that_ends_nowhere_names_no_token(tmp_path: Path) -> None:
    write_hf(tmp_path / "out", small_model(text=TextSettings()))
    assert content_of(tmp_path / "out" / "config.json")["eos_token_id"] is None
    assert open_model(tmp_path / "out").text == TextSettings()


def test_float16_rounds_to_its_eleven_bits(tmp_path: Path) -> None:
    model = small_model()
    write_hf(tmp_path / "out", model, dtype="float16")
    found = open_model(tmp_path / "out")
    assert np.array_equal(found.flat, model.flat.astype(np.float16).astype(np.float32))
    assert np.abs(found.flat - model.flat).max() <= np.abs(model.flat).max() * 2.0**-11
    exact, half = ((tmp_path / "out" / "model.safetensors").stat().st_size, 2 * model.flat.size)
    assert half < exact < half + 8192
    write_hf(tmp_path / "again", found, dtype="float16")
    weights = [(tmp_path / each / "model.safetensors").read_bytes() for each in ("out", "again")]
    assert weights[0] == weights[1]


def test_a_weight_beyond_float16_is_refused(tmp_path: Path) -> None:
    model = small_model()
    model.flat[7] = 70_000.0
    with pytest.raises(OutputError, match="too large for float16"):
        write_hf(tmp_path / "out", model, dtype="float16")
    assert listing(tmp_path) == []


def test_others_may_read_it(tmp_path: Path) -> None:
    write_hf(tmp_path / "out", small_model())
    modes = {(tmp_path / "out" / name).stat().st_mode for name in HF_FILES}
    assert len(modes) == 1


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("out", "link"):
        with pytest.raises(OutputError, match="exists"):
            write_hf(tmp_path / name, small_model())
    assert listing(tmp_path / "out") == []


@pytest.mark.parametrize("name", HF_FILES)
def test_what_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def failing(path: Path) -> None:
        if path.name == name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "sync", failing)
    with pytest.raises(OSError, match="No space left"):
        write_hf(tmp_path / "out", small_model())
    assert listing(tmp_path) == []


def test_a_config_that_names_nothing_special_has_no_scaling(tmp_path: Path) -> None:
    write_hf(tmp_path / "out", small_model())
    assert content_of(tmp_path / "out" / "config.json")["rope_scaling"] is None
    assert ModelConfig.from_hf(content_of(tmp_path / "out" / "config.json")) == small_model().config


def test_what_ends_a_text_is_found_by_its_name(tmp_path: Path) -> None:
    """The token that the settings call the end is first, whichever order the ids came in."""
    model = chat_model()
    turned = replace(model, text=replace(model.text, end_ids=model.text.end_ids[::-1]))
    write_hf(tmp_path / "out", turned)
    assert open_model(tmp_path / "out").text.end_ids == model.text.end_ids
