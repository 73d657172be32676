"""Hugging Face folders: every way of writing one is read, every damage is one clear error."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from crystalline.errors import ModelFolderError
from crystalline.model import TextSettings, save_model
from crystalline.model.opening import open_model
from tests.helpers.hf_folders import (
    CONFIG,
    TOKENIZER,
    change_json,
    weights_in_16_bits,
    write_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

FLAT = weights_in_16_bits(CONFIG)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path, FLAT)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_type_and_any_number_of_files_give_the_same_weights(
    tmp_path: Path, dtype: str, shards: int
) -> None:
    model = open_model(write_folder(tmp_path, FLAT, dtype=dtype, shards=shards))
    assert model.config == CONFIG
    assert np.array_equal(model.flat, FLAT)
    assert model.tokenizer_json == TOKENIZER.to_str()


def test_a_tensor_larger_than_a_piece_is_read_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystalline.model.safetensors_weights._CHUNK", 5)
    assert np.array_equal(open_model(folder).flat, FLAT)


def test_tensors_that_are_known_to_be_superfluous_are_left_aside(tmp_path: Path) -> None:
    left = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (4,), bytes(16)),
        "model.rotary_emb.inv_freq": ("F32", (4,), bytes(16)),
    }
    assert np.array_equal(open_model(write_folder(tmp_path, FLAT, extra=left)).flat, FLAT)


def test_a_copy_of_a_tied_table_is_left_aside_and_refused_where_nothing_is_tied(tmp_path: Path) -> None:
    tied = type(CONFIG)(vocab_size=CONFIG.vocab_size, dim=8, layers=1, heads=2, tied=True)
    copy = {"lm_head.weight": ("F32", (tied.vocab_size, 8), bytes(4 * 8 * tied.vocab_size))}
    flat = weights_in_16_bits(tied)
    assert np.array_equal(open_model(write_folder(tmp_path, flat, config=tied, extra=copy)).flat, flat)
    change_json(tmp_path / "config.json", tie_word_embeddings=False)
    opened = open_model(tmp_path)
    assert not opened.config.tied
    assert opened.flat.size == flat.size + 8 * tied.vocab_size


def test_links_to_files_of_other_names_are_followed(folder: Path, tmp_path: Path) -> None:
    cache, blobs = tmp_path / "snapshot", tmp_path / "blobs"
    cache.mkdir()
    blobs.mkdir()
    for number, name in enumerate(["config.json", "model.safetensors", "tokenizer.json"]):
        (folder / name).rename(blobs / str(number))
        (cache / name).symlink_to(blobs / str(number))
    assert np.array_equal(open_model(cache).flat, FLAT)


def test_a_path_that_is_no_model_is_named(folder: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"no folder .*nowhere"):
        open_model(folder / "nowhere")
    with pytest.raises(ModelFolderError, match=r"config\.json is neither a model folder nor a GGUF file"):
        open_model(folder / "config.json")


# What the settings say


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {"end_ids": (0,), "end_token": "<|endoftext|>"}),
        ({"config.json": {"eos_token_id": None}, "tokenizer_config.json": {"eos_token": None}}, {}),
        ({"config.json": {"eos_token_id": [5, 0]}}, {"end_ids": (5, 0), "end_token": "<|endoftext|>"}),
        (
            {"generation_config.json": {"eos_token_id": [7, 8]}},
            {"end_ids": (7, 8, 0), "end_token": "<|endoftext|>"},
        ),
        (
            {"tokenizer_config.json": {"add_bos_token": True, "bos_token": {"content": "a"}}},
            {
                "begin_id": TOKENIZER.token_to_id("a"),
                "begin_token": "a",
                "end_ids": (0,),
                "end_token": "<|endoftext|>",
            },
        ),
        (
            {"tokenizer_config.json": {"chat_template": "{{ x }}"}},
            {"chat_template": "{{ x }}", "end_ids": (0,), "end_token": "<|endoftext|>"},
        ),
        (
            {
                "tokenizer_config.json": {
                    "chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]
                }
            },
            {"chat_template": "d", "end_ids": (0,), "end_token": "<|endoftext|>"},
        ),
    ],
)
def test_settings_about_texts(folder: Path, files: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, changes in files.items():
        change_json(folder / name, **changes)
    assert open_model(folder).text == TextSettings(**expected)


def test_a_template_in_a_file_of_its_own_comes_first(folder: Path) -> None:
    change_json(folder / "tokenizer_config.json", chat_template="old")
    (folder / "chat_template.jinja").write_text("new")
    assert open_model(folder).text.chat_template == "new"


def test_a_tokenizer_that_puts_a_token_before_every_text_says_which(folder: Path) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    assert open_model(folder).text.begin_id == 0


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("config.json", {"eos_token_id": "0"}, r"config\.json: eos_token_id is '0', which is no token id"),
        ("config.json", {"eos_token_id": [0, 10**9]}, r"eos_token_id is 1000000000, which is no token id"),
        ("generation_config.json", {"eos_token_id": -1}, r"generation_config\.json: eos_token_id is -1"),
        ("tokenizer_config.json", {"chat_template": 5}, "chat_template must be a text, got 5"),
        ("tokenizer_config.json", {"bos_token": ["x"]}, "bos_token must be a token"),
        ("tokenizer_config.json", {"bos_token": "nothing", "add_bos_token": True}, "has no such token"),
        ("config.json", {"model_type": "mistral"}, "model_type is 'mistral'; only 'llama'"),
        ("config.json", {"rope_theta": 10**300}, "rope_theta is above"),
        ("config.json", {"num_hidden_layers": 10**12}, "too few for the"),
        ("config.json", {"hidden_size": 1, "head_dim": 2, "num_hidden_layers": 100}, "lacks tensors"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named(
    folder: Path, name: str, changes: dict[str, Any], message: str
) -> None:
    change_json(folder / name, **changes)
    with pytest.raises(ModelFolderError, match=message):
        open_model(folder)


def test_a_tokenizer_that_would_pad_or_cut_does_not(folder: Path) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.enable_padding(length=10**12)
    tokenizer.enable_truncation(1)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    opened = Tokenizer.from_str(open_model(folder).tokenizer_json)
    assert opened.encode("the cat").ids == TOKENIZER.encode("the cat").ids


def test_a_tokenizer_with_more_entries_than_the_model_is_refused(folder: Path) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.add_tokens([f"token{number}" for number in range(7)])
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    with pytest.raises(ModelFolderError, match=rf"{CONFIG.vocab_size + 1} entries but the model"):
        open_model(folder)


def test_a_tokenizer_out_of_proportion_to_the_model_is_not_even_parsed(folder: Path) -> None:
    (folder / "tokenizer.json").write_bytes(b" " * 2_000_000)
    with pytest.raises(ModelFolderError, match=r"tokenizer\.json is larger than"):
        open_model(folder)


# Damage and malice

HOSTILE_JSON = {
    "deep": b'{"a":' * 50_000,
    "a number of a million digits": b'{"vocab_size": ' + b"9" * 100_000 + b"}",
    "not a number": b'{"model_type": "llama", "rope_theta": NaN}',
    "infinite": b'{"model_type": "llama", "rope_theta": -Infinity}',
    "a list": b"[]",
    "not UTF-8": b'{"a": "\xff"}',
    "many entries": b'{"model_type": "llama", "a": [' + b"[]," * 200_000 + b"1]}",
    "huge": b" " * (9 * 1024 * 1024),
}


@pytest.mark.parametrize("content", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_json_bombs_are_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    if content.startswith(b'{"model_type"') and name != "config.json":
        content = content.replace(b'"model_type": "llama"', b'"other": 1')
    with pytest.raises(ModelFolderError, match=name):
        open_model(folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ],
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.timeout(10)
def test_a_pipe_or_a_folder_instead_of_a_file_is_named(folder: Path, name: str, make: Any) -> None:
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(ModelFolderError, match=name):
        open_model(folder)


@pytest.mark.parametrize(
    "name",
    ["../outside.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x\x00.safetensors", 3, None],
)
def test_an_index_leads_nowhere_but_into_its_folder(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    write_folder(folder, FLAT)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    weight_map = {"model.norm.weight": name}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelFolderError, match=r"index\.json names .* no file of this folder"):
        open_model(folder)


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FLAT, shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        ModelFolderError, match=r"names model-00002-of-00002\.safetensors, which is not there"
    ):
        open_model(folder)


def test_a_tensor_in_two_shards_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, FLAT, shards=2)
    (folder / "model-00002-of-00002.safetensors").write_bytes(
        (folder / "model-00001-of-00002.safetensors").read_bytes()
    )
    with pytest.raises(ModelFolderError, match=r"is in .*00001-of.* and in .*00002-of"):
        open_model(folder)


@pytest.mark.parametrize("content", [{}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": "x"}])
def test_an_index_without_a_map_is_named(folder: Path, content: Any) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match="has no weight_map"):
        open_model(folder)


def test_weights_that_no_memory_can_hold_are_one_clear_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("crystalline.model.safetensors_weights.np.empty", refuse)
    with pytest.raises(ModelFolderError, match="bytes of memory, which are not there"):
        open_model(folder)


def test_a_checkpoint_is_still_compared_with_its_manifest(folder: Path) -> None:
    (folder / "training").mkdir()
    (folder / "training" / "manifest.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="manifest"):
        open_model(folder)


def test_the_folder_that_is_written_here_opens_the_same(tmp_path: Path) -> None:
    save_model(tmp_path, CONFIG, FLAT, TOKENIZER.to_str())
    assert np.array_equal(open_model(tmp_path).flat, FLAT)
