from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
from tokenizers import Tokenizer

from crystalline.errors import ModelFolderError
from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    initialise,
    load_model,
    load_tokenizer_json,
    logits,
    safetensors_weights,
    save_model,
    weights_sha256,
)
from crystalline.model.safetensors_weights import room_for
from tests.helpers.models import GROUPED, TIED, random_batch
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = "the cat sat on the mat, and that was that: 数学"


@pytest.fixture(scope="module")
def tokenizer_json() -> str:
    return small_tokenizer(TEXT, 270).to_str()


@pytest.fixture
def folder(tmp_path: Path, tokenizer_json: str) -> Path:
    save_model(tmp_path, GROUPED, initialise(GROUPED, 0), tokenizer_json)
    return tmp_path


def rewrite_json(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    path.write_bytes(safetensors.numpy.save(tensors))


@pytest.mark.parametrize("config", [TIED, GROUPED], ids=["tied", "grouped-untied"])
def test_what_was_saved_is_loaded_to_the_last_bit(
    config: ModelConfig, tmp_path: Path, tokenizer_json: str
) -> None:
    flat = initialise(config, 5)
    save_model(tmp_path, config, flat, tokenizer_json)
    loaded_config, loaded = load_model(tmp_path)
    assert loaded_config == config
    assert weights_sha256(loaded) == weights_sha256(flat)
    tokens, _ = random_batch(config, 0, 2, 5)
    workspace = Workspace(config, 2, training=False)
    ours, theirs = (logits(Parameters(config, w), tokens, workspace) for w in (flat, loaded))
    assert np.array_equal(ours, theirs)


def test_the_tokenizer_is_saved_with_the_model(folder: Path, tokenizer_json: str) -> None:
    ours = Tokenizer.from_str(tokenizer_json).encode(TEXT).ids
    assert Tokenizer.from_str(load_tokenizer_json(folder)).encode(TEXT).ids == ours


def test_the_files_are_those_that_transformers_reads(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["eos_token_id"] == 0
    with safetensors.safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        assert tensors.metadata() == {"format": "pt"}
        assert "model.layers.1.self_attn.q_proj.weight" in tensors.keys()  # noqa: SIM118  it is not a dict


def test_only_float32_is_saved(tmp_path: Path, tokenizer_json: str) -> None:
    with pytest.raises(ValueError, match="float64"):
        save_model(tmp_path, TIED, initialise(TIED, 0).astype(np.float64), tokenizer_json)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    for load in (load_model, load_tokenizer_json):
        with pytest.raises(ModelFolderError, match=r"no folder .*nowhere"):
            load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelFolderError, match=f"has no {name}"):
        load_model(folder)


def test_a_missing_tokenizer_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelFolderError, match=r"has no tokenizer\.json"):
        load_tokenizer_json(folder)


JUNK = [b"", b"\x00\xff\xfe" * 50, b"{", b"[1, 2]", b'"text"', b"[" * 100_000]


@pytest.mark.parametrize("content", JUNK, ids=["empty", "binary", "cut", "list", "string", "deep"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_full_of_something_else_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match=name):
        load_model(folder)


@pytest.mark.parametrize("content", JUNK[:5], ids=["empty", "binary", "cut", "list", "string"])
def test_a_tokenizer_full_of_something_else_is_named(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"tokenizer\.json"):
        load_tokenizer_json(folder)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_weights_file_is_named(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ModelFolderError, match=r"model\.safetensors"):
        load_model(folder)


def test_a_header_that_is_junk_in_a_file_of_the_right_size_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors cannot be read as safetensors"):
        load_model(folder)


def test_sizes_are_checked_before_memory_is_taken(folder: Path) -> None:
    rewrite_json(folder, vocab_size=10**15, num_hidden_layers=10**12)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors holds \d+ bytes"):
        load_model(folder)


def test_a_config_of_another_model_is_refused_with_its_path(folder: Path) -> None:
    rewrite_json(folder, model_type="gpt2")
    with pytest.raises(ModelFolderError, match=r"config\.json: model_type is 'gpt2'"):
        load_model(folder)


NORM = "model.norm.weight"


def test_a_missing_tensor_is_named(folder: Path) -> None:
    rewrite_tensors(folder, lambda tensors: tensors.update(padding=tensors.pop(NORM)))
    with pytest.raises(ModelFolderError, match=f"lacks tensor {NORM}"):
        load_model(folder)


def test_an_unexpected_tensor_is_named(folder: Path) -> None:
    rewrite_tensors(folder, lambda tensors: tensors.update(surprise=np.zeros(3, np.float32)))
    with pytest.raises(ModelFolderError, match="has unexpected tensor surprise"):
        load_model(folder)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(folder: Path) -> None:
    rewrite_tensors(folder, lambda tensors: tensors.update({NORM: np.ones(25, np.float32)}))
    with pytest.raises(ModelFolderError, match=rf"{NORM} has shape \(25,\), .* \(24,\)"):
        load_model(folder)


@pytest.mark.parametrize(("dtype", "name"), [(np.float64, "F64"), (np.int32, "I32")])
@pytest.mark.parametrize("tensors_changed", [1, 100])
def test_a_tensor_of_another_type_is_named(
    folder: Path, dtype: type, name: str, tensors_changed: int
) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        for tensor in list(tensors)[:tensors_changed]:
            tensors[tensor] = tensors[tensor].astype(dtype)

    rewrite_tensors(folder, change)
    with pytest.raises(ModelFolderError, match=rf"tensor \S+ is '{name}', which is not supported"):
        load_model(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(folder: Path, value: float) -> None:
    def change(tensors: dict[str, np.ndarray]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][2, 3] = value

    rewrite_tensors(folder, change)
    with pytest.raises(
        ModelFolderError, match=r"tensor model\.layers\.1\.mlp\.up_proj\.weight .* not finite"
    ):
        load_model(folder)


def test_no_byte_flipped_in_the_header_ends_in_anything_but_a_clear_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    header_bytes = 8 + int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    messages = []
    for position in rng.integers(0, header_bytes, 60):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            load_model(folder)
        except ModelFolderError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all("model.safetensors" in message for message in messages)


def test_a_file_that_goes_away_while_it_is_opened_is_our_error(
    tmp_path: Path, tokenizer_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removing(config: ModelConfig, where: str) -> np.ndarray:
        (tmp_path / "model.safetensors").unlink()
        return room_for(config, where)

    save_model(tmp_path, TIED, initialise(TIED, 0), tokenizer_json)
    monkeypatch.setattr(safetensors_weights, "room_for", removing)
    with pytest.raises(ModelFolderError, match=r"model\.safetensors cannot be read \(No such file"):
        load_model(tmp_path)
