"""A model written as a GGUF file, which llama.cpp and what is built on it open.

The layout follows llama.cpp's own converter for the Llama architecture: names of tensors and settings, the
order of rows in query and key matrices, norms in float32, and what becomes of a matrix that cannot be
quantised.

Not imported by `crystalline.model`: most who use a model never write one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, RopeScalingType
from gguf.quants import quant_shape_to_byte_shape, quantize

from crystalline.errors import OutputError
from crystalline.model.atomic import beside, sync
from crystalline.model.gguf_tokens import gguf_tokens
from crystalline.model.gguf_weights import gguf_name
from crystalline.model.parameters import Parameters
from crystalline.model.special_ids import special_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crystalline.model.config import ModelConfig
    from crystalline.model.loaded import LoadedModel

__all__ = ["GgufType", "write_gguf"]

GgufType = Literal["f32", "f16", "q8_0"]
Array = np.ndarray[Any, np.dtype[Any]]

_F32, _F16, _Q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0
_MATRICES: Final = {"f32": _F32, "f16": _F16, "q8_0": _Q8_0}
_FILE_TYPES: Final = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}
_Q8_0_ROW: Final = 32  # values that share a scale
_QUANTISATION_VERSION: Final = 2


def write_gguf(
    path: Path,
    model: LoadedModel,
    kind: GgufType,
    *,
    name: str = "",
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a model as a file that is there as a whole or not at all.

    Args:
        path: where to; must not exist, its folder must.
        model: what to write.
        kind: how matrices are held: float32; float16; or 8 bits with a scale for every 32 values, and
            float16 where the rows of a matrix cannot be cut into 32. Norms are float32.
        name: of the model, as others show it; "" for none.
        progress: called with the part that is written, from 0 to 1.

    Raises:
        OutputError: there is something of this name, or llama.cpp has not what the model has: its
            tokenizer, a text without an end, weights too large for `kind`. Nothing was written.
        OSError: it cannot be written, or the disk is full; nothing is left of it.
    """
    if path.exists() or path.is_symlink():
        raise OutputError(f"{path} exists: choose another name, or delete it")
    with beside(path) as fresh:
        writer = GGUFWriter(fresh / path.name, "llama")
        try:
            _add_settings(writer, model, kind, name)
            _add_tokens(writer, model)
            _write(writer, model, kind, progress)
        finally:
            writer.close()
        sync(fresh / path.name)
        (fresh / path.name).rename(path)
    sync(path.parent)


def _add_settings(writer: GGUFWriter, model: LoadedModel, kind: GgufType, name: str) -> None:
    config = model.config
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(_FILE_TYPES[kind])
    if kind == "q8_0":
        writer.add_quantization_version(_QUANTISATION_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.seq_len)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.feed_forward_dim)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    scaling = config.rope_scaling
    if scaling is not None and scaling.kind == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling.factor)
    if scaling is not None and scaling.kind == "llama3":
        # What else there is to it stands in the tensor of `_frequencies`.
        writer.add_rope_scaling_orig_ctx_len(int(scaling.original_seq_len))


def _add_tokens(writer: GGUFWriter, model: LoadedModel) -> None:
    tokens, ids = gguf_tokens(model.tokenizer_json, model.config.vocab_size), special_ids(model)
    if not ids.ends:
        raise OutputError(
            "this model names no token that ends a text, and llama.cpp would take some other token for it: "
            "name one in generation_config.json, or export the model as hf"
        )
    writer.add_tokenizer_model(tokens.model)
    writer.add_tokenizer_pre(tokens.pre)
    writer.add_token_list(tokens.tokens)
    writer.add_token_types(tokens.types)
    writer.add_token_merges(tokens.merges)
    writer.add_token_scores(tokens.scores)
    writer.add_add_space_prefix(tokens.space_prefix)
    # Where no token begins a text, llama.cpp would take some other token for it. In training a text begins
    # behind the end of the one before.
    writer.add_bos_token_id(ids.ends[0] if ids.begin is None else ids.begin)
    for add, end in zip(
        (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id), ids.ends, strict=False
    ):
        add(end)
    writer.add_add_bos_token(model.text.begin_id is not None)
    writer.add_add_eos_token(False)
    if model.text.chat_template is not None:
        writer.add_chat_template(model.text.chat_template)


def _write(
    writer: GGUFWriter, model: LoadedModel, kind: GgufType, progress: Callable[[float], None] | None
) -> None:
    """The names first, then the weights one by one: never more than one of them is there twice."""
    total = 0
    for name, values in _tensors(model):
        shape, held = values.shape, _type_of(values, kind)
        if held is _Q8_0:
            shape = quant_shape_to_byte_shape(shape, held)
        dtype = {_F32: np.float32, _F16: np.float16, _Q8_0: np.uint8}[held]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        total += size
        writer.add_tensor_info(name, shape, np.dtype(dtype), size, raw_dtype=held)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done = 0
    for name, values in _tensors(model):
        raw = _held(name, values, _type_of(values, kind))
        writer.write_tensor_data(raw)
        done += raw.nbytes
        if progress is not None:
            progress(done / total)
    writer.flush()


def _tensors(model: LoadedModel) -> Iterator[tuple[str, Array]]:
    """Names and values as llama.cpp has them."""
    config = model.config
    if config.rope_scaling is not None and config.rope_scaling.kind == "llama3":
        yield "rope_freqs.weight", _frequencies(config)
    for name, view in Parameters(config, model.flat).views.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            yield gguf_name(name), _interleaved(view, config.head_dim)
        else:
            yield gguf_name(name), view


def _interleaved(matrix: Array, head_dim: int) -> Array:
    """Rows of each head in their order: they turn neighbours, we turn row i with row i + d/2."""
    rows, columns = matrix.shape
    halves = matrix.reshape(rows // head_dim, 2, head_dim // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)


def _frequencies(config: ModelConfig) -> Array:
    """By how much each rotary frequency is divided, (d/2,)."""
    plain = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    slowed = plain if config.rope_scaling is None else config.rope_scaling.slowed(plain)
    return (plain / slowed).astype(np.float32)


def _type_of(values: Array, kind: GgufType) -> GGMLQuantizationType:
    if values.ndim == 1:
        return _F32
    if kind == "q8_0" and values.shape[-1] % _Q8_0_ROW:
        return _F16
    return _MATRICES[kind]


def _held(name: str, values: Array, held: GGMLQuantizationType) -> Array:
    """The bytes of a tensor, in blocks of rows so that little memory is taken beside them.

    Raises:
        OutputError: a value is too large.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        raw = quantize(values, held)
    if held is _Q8_0:
        blocks = raw.reshape(-1, _Q8_0_ROW + 2)
        scales = blocks[:, :2].copy().view(np.float16)[:, 0]
        # All in such a block is 0, whatever stands in it; so it is written the same a second time.
        blocks[scales == 0, 2:] = 0
    else:
        scales = raw
    if not np.isfinite(scales).all():
        raise OutputError(f"tensor {name} has a value too large for {held.name}: choose f32")
    return raw
