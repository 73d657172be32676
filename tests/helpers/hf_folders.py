"""Model folders as others write them: in 16 bits, in shards, with settings of all kinds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.model import ModelConfig, Parameters, initialise, save_model
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

TEXT = "the cat sat on the mat, and that was that: 数学"
TOKENIZER = small_tokenizer(TEXT, 270)
# As many have it: an embedding with more rows than the tokenizer has entries.
CONFIG = ModelConfig(
    vocab_size=TOKENIZER.get_vocab_size() + 6,
    dim=24,
    layers=2,
    heads=4,
    kv_heads=2,
    ffn_dim=12,
    seq_len=32,
    head_dim=8,
    tied=False,
)


def weights_in_16_bits(config: ModelConfig, seed: int = 0) -> npt.NDArray[np.float32]:
    """Weights that float16 and bfloat16 both hold exactly."""
    drawn = np.random.default_rng(seed).integers(-128, 128, initialise(config, 0).size)
    return (drawn / 256).astype(np.float32)


def stored(array: npt.NDArray[np.float32], dtype: str) -> bytes:
    """The bytes of an array in a type of safetensors."""
    if dtype == "BF16":
        return (np.ascontiguousarray(array).view(np.uint32) >> 16).astype("<u2").tobytes()
    return array.astype({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[dtype]).tobytes()


def safetensors_bytes(tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """A file, written by hand: name -> dtype, shape, content."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [position, position + len(content)],
        }
        position += len(content)
    return with_header(json.dumps(header).encode(), b"".join(content for _, _, content in tensors.values()))


def with_header(header: bytes, content: bytes = b"") -> bytes:
    """A file with any header at all."""
    return len(header).to_bytes(8, "little") + header + content


def write_folder(
    folder: Path,
    flat: npt.NDArray[np.float32],
    *,
    config: ModelConfig = CONFIG,
    dtype: str = "F32",
    shards: int = 1,
    extra: Mapping[str, tuple[str, tuple[int, ...], bytes]] | None = None,
) -> Path:
    """Write a folder; `extra` are tensors that the model does not need."""
    save_model(folder, config, flat, TOKENIZER.to_str())
    tensors = {
        name: (dtype, view.shape, stored(view, dtype))
        for name, view in Parameters(config, flat).views.items()
    }
    tensors |= dict(extra or {})
    if shards == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors))
        return folder
    (folder / "model.safetensors").unlink()
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = dict(list(tensors.items())[shard::shards])
        (folder / name).write_bytes(safetensors_bytes(part))
        weight_map |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def change_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object in a file, which is made if it is not there."""
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))
