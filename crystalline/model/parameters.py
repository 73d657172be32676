"""All weights in one flat buffer, with named views. Gradients and moments have the same layout."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.kernels.arrays import Floats
    from crystalline.model.config import ModelConfig

__all__ = [
    "LayerParameters",
    "Layout",
    "Parameters",
    "initialise",
    "layout_of",
    "name_at",
    "tensor_count",
    "weights_sha256",
]

_INITIAL_STD = 0.02

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where each tensor lies in the flat buffer.

    Matrices come first and norm gains last, so that weight decay has one boundary; the query, key and
    value matrices of a layer are neighbours, and so are gate and up, so that each group is one matrix.

    Attributes:
        size: entries in the flat buffer.
        decay_end: entries before this index are matrices, to be decayed; from it on, norm gains.
        entries: Hugging Face tensor name -> (offset, shape), in the order of the buffer.
    """

    size: int
    decay_end: int
    entries: Mapping[str, tuple[int, Shape]]


@dataclass(frozen=True, slots=True, eq=False)
class LayerParameters:
    """One layer's views, fused where one product computes several projections.

    Attributes:
        qkv: (H*d + 2*K*d, D), the rows of query, key and value heads.
        o_proj: (D, H*d).
        gate_up: (2*F, D).
        down_proj: (D, F).
        attention_norm: (D,), gain before attention.
        mlp_norm: (D,), gain before the feed-forward layer.
    """

    qkv: Floats
    o_proj: Floats
    gate_up: Floats
    down_proj: Floats
    attention_norm: Floats
    mlp_norm: Floats


@cache
def layout_of(config: ModelConfig) -> Layout:
    """The layout of a model's flat buffer: a function of its sizes alone."""
    shapes = [*_matrix_shapes(config), *_gain_shapes(config)]
    ends = list(itertools.accumulate(math.prod(shape) for _, shape in shapes))
    offsets = [0, *ends[:-1]]
    entries = {name: (offset, shape) for (name, shape), offset in zip(shapes, offsets, strict=True)}
    gains = sum(math.prod(shape) for _, shape in _gain_shapes(config))
    return Layout(size=ends[-1], decay_end=ends[-1] - gains, entries=MappingProxyType(entries))


def tensor_count(config: ModelConfig) -> int:
    """How many tensors the layout has, without making it."""
    matrices_and_gains = 7 + 2
    return config.layers * matrices_and_gains + (2 if config.tied else 3)


def _matrix_shapes(config: ModelConfig) -> list[tuple[str, Shape]]:
    D, F, V = config.dim, config.feed_forward_dim, config.vocab_size
    queries, keys = config.heads * config.head_dim, config.key_value_heads * config.head_dim
    shapes: list[tuple[str, Shape]] = [("model.embed_tokens.weight", (V, D))]
    if not config.tied:
        shapes.append(("lm_head.weight", (V, D)))
    for prefix in _layer_prefixes(config):
        shapes += [
            (f"{prefix}.self_attn.q_proj.weight", (queries, D)),
            (f"{prefix}.self_attn.k_proj.weight", (keys, D)),
            (f"{prefix}.self_attn.v_proj.weight", (keys, D)),
            (f"{prefix}.self_attn.o_proj.weight", (D, queries)),
            (f"{prefix}.mlp.gate_proj.weight", (F, D)),
            (f"{prefix}.mlp.up_proj.weight", (F, D)),
            (f"{prefix}.mlp.down_proj.weight", (D, F)),
        ]
    return shapes


def _gain_shapes(config: ModelConfig) -> list[tuple[str, Shape]]:
    norms = ("input_layernorm", "post_attention_layernorm")
    per_layer = [f"{prefix}.{norm}.weight" for prefix in _layer_prefixes(config) for norm in norms]
    return [(name, (config.dim,)) for name in [*per_layer, "model.norm.weight"]]


def _layer_prefixes(config: ModelConfig) -> list[str]:
    return [f"model.layers.{index}" for index in range(config.layers)]


class Parameters:
    """Named and fused views of one flat buffer: of weights, of a gradient, or of a moment.

    Args:
        config: the model's sizes.
        flat: (layout.size,) contiguous, of any float type; it may be read-only, then so are the views.

    Attributes:
        config: as given.
        layout: `layout_of(config)`.
        flat: as given, not copied.
        views: Hugging Face tensor name -> view of its shape.
        embedding: (V, D).
        head: (V, D); the same memory as `embedding` in a tied model.
        norm: (D,), gain of the last norm.
        layers: the fused views of each layer.

    Raises:
        ValueError: `flat` is not one contiguous row of `layout.size` entries.
    """

    __slots__ = ("config", "embedding", "flat", "head", "layers", "layout", "norm", "views")

    def __init__(self, config: ModelConfig, flat: Floats) -> None:
        layout = layout_of(config)
        if flat.shape != (layout.size,) or not flat.flags.c_contiguous:
            raise ValueError(
                f"the flat buffer must be contiguous of shape {(layout.size,)}, got {flat.shape}, "
                f"strides {flat.strides}"
            )
        self.config, self.layout, self.flat = config, layout, flat
        self.views: dict[str, Floats] = {
            name: flat[offset : offset + math.prod(shape)].reshape(shape)
            for name, (offset, shape) in layout.entries.items()
        }
        self.embedding = self.views["model.embed_tokens.weight"]
        self.head = self.embedding if config.tied else self.views["lm_head.weight"]
        self.norm = self.views["model.norm.weight"]
        self.layers = tuple(self._layer(prefix) for prefix in _layer_prefixes(config))

    def _layer(self, prefix: str) -> LayerParameters:
        return LayerParameters(
            qkv=self._fused(*(f"{prefix}.self_attn.{part}_proj.weight" for part in "qkv")),
            o_proj=self.views[f"{prefix}.self_attn.o_proj.weight"],
            gate_up=self._fused(f"{prefix}.mlp.gate_proj.weight", f"{prefix}.mlp.up_proj.weight"),
            down_proj=self.views[f"{prefix}.mlp.down_proj.weight"],
            attention_norm=self.views[f"{prefix}.input_layernorm.weight"],
            mlp_norm=self.views[f"{prefix}.post_attention_layernorm.weight"],
        )

    def _fused(self, *names: str) -> Floats:
        """The rows of neighbouring matrices as one matrix."""
        rows = sum(self.views[name].shape[0] for name in names)
        offset, (_, columns) = self.layout.entries[names[0]]
        return self.flat[offset : offset + rows * columns].reshape(rows, columns)


def initialise(config: ModelConfig, seed: int) -> npt.NDArray[np.float32]:
    """Fresh weights, a function of sizes and seed alone.

    Matrices are normal with deviation 0.02; the two projections that write into the residual stream are
    scaled by 1 / sqrt(2 * layers), so that the stream's variance does not grow with depth; gains are 1.

    Args:
        config: the model's sizes.
        seed: any integer from 0.

    Source: Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
    """
    layout = layout_of(config)
    flat = np.ones(layout.size, dtype=np.float32)
    matrices = flat[: layout.decay_end]
    np.random.default_rng(seed).standard_normal(out=matrices, dtype=np.float32)
    matrices *= np.float32(_INITIAL_STD)
    shrink = np.float32(1.0 / math.sqrt(2 * config.layers))
    for name, view in Parameters(config, flat).views.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            np.multiply(view, shrink, out=view)
    return flat


def weights_sha256(flat: npt.NDArray[Any]) -> str:
    """SHA-256, in hexadecimal, of the flat buffer as little-endian float32.

    Two models are the same to the last bit exactly when these are equal.
    """
    return hashlib.sha256(np.ascontiguousarray(flat, dtype="<f4").data).hexdigest()


def name_at(layout: Layout, index: int) -> str:
    """Which tensor a flat index lies in, for error messages.

    Raises:
        IndexError: the index is outside the buffer.
    """
    if not 0 <= index < layout.size:
        raise IndexError(f"index {index} is outside the flat buffer of {layout.size} entries")
    return next(name for name, (offset, shape) in layout.entries.items() if index < offset + math.prod(shape))
