"""Weights of a GGUF file, of any of its types, into one flat float32 buffer."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from crystalline.errors import ModelFolderError
from crystalline.model.parameters import Parameters, layout_of, tensor_count
from crystalline.model.safetensors_weights import room_for
from crystalline.model.strict_json import REMEDY, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.model.config import ModelConfig
    from crystalline.model.gguf_header import GgufTensor

__all__ = ["EMBEDDING", "OUTPUT", "ROPE_DIVISORS", "read_divisors", "read_gguf_weights"]

EMBEDDING: Final = "token_embd.weight"
OUTPUT: Final = "output.weight"
ROPE_DIVISORS: Final = "rope_freqs.weight"

_TOP = {
    "model.embed_tokens.weight": EMBEDDING,
    "lm_head.weight": OUTPUT,
    "model.norm.weight": "output_norm.weight",
}
_IN_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_CHUNK = 1024 * 1024  # entries that are converted at a time, about
_DIVISORS_MAX = 64 * 1024  # half the width of a head


def read_gguf_weights(
    stream: BinaryIO,
    file_bytes: int,
    config: ModelConfig,
    tensors: Mapping[str, GgufTensor],
    where: str,
) -> npt.NDArray[np.float32]:
    """The weights, after all names, types, shapes and places have been checked.

    The rows of query and key projections come in the order of llama.cpp's rotary, neighbours in pairs,
    and are brought into that of Hugging Face, halves in pairs.

    Args:
        stream: the file.
        file_bytes: its size.
        config: the model's sizes.
        tensors: from the file's header.
        where: names the file in errors.

    Returns:
        (layout.size,), in the layout of `config`.

    Raises:
        ModelFolderError: a tensor is missing, unexpected, of another shape, of a type that cannot be read,
            lies outside the file or in the place of another one, or holds a value that is not finite.
    """
    if len(tensors) < tensor_count(config):
        # Counted first: the layout of absurdly many layers would itself take memory.
        raise ModelFolderError(
            f"{where} lacks tensors: it has {len(tensors)} of {tensor_count(config)}: {REMEDY}"
        )
    expected = {gguf_name(name): (name, shape) for name, (_, shape) in layout_of(config).entries.items()}
    for name in sorted(expected.keys() - tensors.keys()):
        raise ModelFolderError(f"{where} lacks tensor {name}: {REMEDY}")
    for name in sorted(tensors.keys() - expected.keys() - {ROPE_DIVISORS}):
        raise ModelFolderError(f"{where} has tensor {shown(name)}: such a model is not supported")
    ends = {
        name: _checked_end(tensors[name], shape, file_bytes, f"{where}: tensor {name}")
        for name, (_, shape) in expected.items()
    }
    # Else the memory would not be bounded by the file: a thousand layers can be said to lie in one place.
    for before, name in itertools.pairwise(sorted(ends, key=lambda name: tensors[name].begin)):
        if tensors[name].begin < ends[before]:
            raise ModelFolderError(f"{where}: tensor {name} lies in the place of {before}: {REMEDY}")
    flat = room_for(config, where)
    views = Parameters(config, flat).views
    for name, (ours, _) in expected.items():
        width = config.head_dim if name.endswith(("attn_q.weight", "attn_k.weight")) else 0
        _fill(views[ours], stream, tensors[name], f"{where}: tensor {name}", head_dim=width)
    return flat


def gguf_name(name: str) -> str:
    """llama.cpp's name of a tensor that has this name with Hugging Face."""
    if name in _TOP:
        return _TOP[name]
    layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
    return f"blk.{layer}.{_IN_LAYER[part]}.weight"


def read_divisors(
    stream: BinaryIO, file_bytes: int, tensor: GgufTensor, where: str
) -> npt.NDArray[np.float32]:
    """The tensor `rope_freqs.weight`, (d/2,).

    Raises:
        ModelFolderError: it is not of that form, or lies outside the file.
    """
    what = f"{where}: tensor {ROPE_DIVISORS}"
    if len(tensor.shape) != 1 or tensor.shape[0] > _DIVISORS_MAX:
        raise ModelFolderError(f"{what} has shape {tensor.shape}, it must be a short row: {REMEDY}")
    _checked_end(tensor, tensor.shape, file_bytes, what)
    found = np.empty((1, *tensor.shape), dtype=np.float32)
    _fill(found, stream, tensor, what, head_dim=0)
    divisors: npt.NDArray[np.float32] = found[0]
    return divisors


def _checked_end(tensor: GgufTensor, shape: tuple[int, ...], file_bytes: int, what: str) -> int:
    """The byte after a tensor's last one."""
    if tensor.shape != shape:
        raise ModelFolderError(
            f"{what} has shape {shown(tensor.shape)}, but the file's keys ask for {shape}: {REMEDY}"
        )
    try:
        kind, block, block_bytes = _type_of(tensor.kind)
    except _Unreadable as error:
        raise ModelFolderError(f"{what} is of type {error}, which cannot be read: convert it again") from None
    if shape[-1] % block:
        raise ModelFolderError(
            f"{what} has rows of {shape[-1]}, no whole blocks of {kind.name} ({block}): {REMEDY}"
        )
    end = tensor.begin + math.prod(shape) // block * block_bytes
    if end > file_bytes:
        raise ModelFolderError(f"{what} ends at {end}, beyond the {file_bytes} bytes of the file: {REMEDY}")
    return end


class _Unreadable(Exception):
    """A type that the package does not turn into float32."""


@cache
def _type_of(number: int) -> tuple[GGMLQuantizationType, int, int]:
    """The type, the weights in one of its blocks, and the bytes of one."""
    try:
        kind = GGMLQuantizationType(number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        dequantize(np.zeros((1, block_bytes), dtype=np.uint8), kind)  # the package does not list what it can
    except (ValueError, KeyError, NotImplementedError):
        names = {each.value: each.name for each in GGMLQuantizationType}
        raise _Unreadable(names.get(number, str(number))) from None
    return kind, block, block_bytes


def _fill(
    view: npt.NDArray[np.float32], stream: BinaryIO, tensor: GgufTensor, what: str, *, head_dim: int
) -> None:
    """Convert a tensor into `view`, some rows at a time; `head_dim` is 0 where rows stay in their order."""
    kind, block, block_bytes = _type_of(tensor.kind)
    rows_of = view.reshape(-1, view.shape[-1])
    columns = rows_of.shape[1]
    row_bytes = columns // block * block_bytes
    group = head_dim or 1
    step = max(1, _CHUNK // (columns * group)) * group
    stream.seek(tensor.begin)
    for start in range(0, len(rows_of), step):
        part = rows_of[start : start + step]
        raw = stream.read(len(part) * row_bytes)
        if len(raw) != len(part) * row_bytes:
            raise ModelFolderError(f"{what} ends too early, the file became shorter: {REMEDY}")
        stored = np.frombuffer(raw, dtype=np.uint8).reshape(len(part), row_bytes)
        with np.errstate(all="ignore"):  # what overflows is found below
            values = dequantize(stored, kind).reshape(part.shape)
        if head_dim:
            pairs = values.reshape(-1, head_dim // 2, 2, columns)
            part.reshape(-1, 2, head_dim // 2, columns)[...] = pairs.swapaxes(1, 2)
        else:
            part[...] = values
        if not np.isfinite(part).all():
            raise ModelFolderError(f"{what} holds a value that is not finite: {REMEDY}")
