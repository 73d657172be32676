"""GGUF files, written with the package of the format's makers, as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from crystalline.model import ModelConfig, Parameters
from crystalline.model.gguf_weights import gguf_name
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from tokenizers import Tokenizer

TOKENIZER = small_tokenizer("the cat sat on the mat, and that was that 1999 times: 数学", 290)
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
# Rows of 256 are whole blocks of every type.
CONFIG = ModelConfig(
    vocab_size=TOKENIZER.get_vocab_size(),
    dim=256,
    layers=1,
    heads=4,
    kv_heads=2,
    ffn_dim=256,
    seq_len=32,
    rope_theta=500.0,
    norm_eps=1e-6,
)


def permuted(view: npt.NDArray[Any], heads: int) -> npt.NDArray[Any]:
    """Rows of a query or key projection in the order of llama.cpp: feature i beside feature i + d/2."""
    rows, columns = view.shape
    return view.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(view.shape)


def gguf_tensors(config: ModelConfig, flat: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors under llama.cpp's names."""
    found = {gguf_name(name): view for name, view in Parameters(config, flat).views.items()}
    for name, view in found.items():
        if name.endswith("attn_q.weight"):
            found[name] = permuted(view, config.heads)
        elif name.endswith("attn_k.weight"):
            found[name] = permuted(view, config.key_value_heads)
    return found


def write_gguf_file(
    path: Path,
    config: ModelConfig = CONFIG,
    *,
    tensors: Mapping[str, npt.NDArray[Any]],
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    raw: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    keys: Mapping[str, Any] | None = None,
    tokenizer: Tokenizer = TOKENIZER,
    architecture: str = "llama",
) -> Path:
    """Write a file.

    Args:
        path: where.
        config: the sizes that the keys speak of.
        tensors: name -> values, rows first; gains are always kept as float32.
        kind: type of the matrices.
        raw: name -> blocks of `kind`, instead of values.
        keys: added to, or instead of, the usual ones: numbers, truth values, texts, lists; None leaves a key
            out.
        tokenizer: byte-level BPE.
        architecture: as the file has it.
    """
    writer = GGUFWriter(path, architecture)
    for key, value in (usual_keys(config, tokenizer) | dict(keys or {})).items():
        _add_key(writer, key, value)
    for name, values in tensors.items():
        if raw and name in raw:
            writer.add_tensor(name, raw[name], raw_dtype=kind)
        elif values.ndim == 1 or kind == GGMLQuantizationType.F32:
            writer.add_tensor(name, np.ascontiguousarray(values))
        else:
            writer.add_tensor(name, quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def usual_keys(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """What llama.cpp's converter writes for a model of the Llama family with a byte-level tokenizer."""
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    types = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    merges = [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    return {
        "llama.block_count": config.layers,
        "llama.context_length": config.seq_len,
        "llama.embedding_length": config.dim,
        "llama.feed_forward_length": config.feed_forward_dim,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "llama.rope.freq_base": config.rope_theta,
        "llama.rope.dimension_count": config.head_dim,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [int(each) for each in types],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _add_key(writer: GGUFWriter, key: str, value: Any) -> None:
    if value is None or (isinstance(value, list) and not value):
        return
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
