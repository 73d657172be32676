"""Every buffer that a forward and backward pass needs, carved from one allocation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crystalline.kernels.attention import attention_kept_size, attention_scratch_size
from crystalline.kernels.rms_norm import rms_norm_scratch_shape
from crystalline.kernels.rotary import rotary_scratch_size, rotary_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystalline.kernels.arrays import Floats
    from crystalline.model.config import ModelConfig

__all__ = ["BackwardBuffers", "Buffers", "LayerBuffers", "Workspace"]

# Logits are the largest tensor. The head runs over blocks of tokens of at most this many logits, 32 MiB
# in float32; fewer blocks are faster, because each one after the first adds to the head's whole gradient.
_LOGITS_MAX = 8 * 1024 * 1024

_CACHE_LINE_BYTES = 64

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayerBuffers:
    """What one layer computes forward; in training it is kept for the layer's backward pass.

    With recomputation every layer keeps its own `x` only, and all else is shared.
    """

    x: Floats  # (N, D) the residual stream entering the layer
    attention_in: Floats  # (N, D) normalised
    attention_inv_rms: Floats  # (N,)
    qkv: Floats  # (H*d + 2*K*d, N) feature-major: time is contiguous for rotary and attention
    maxima: Floats  # (B, K, G, T) of attention's scores
    sums: Floats  # (B, K, G, T) of their exponentials
    probabilities: Floats  # of attention, without entries where they are too many
    context: Floats  # (H*d, N) feature-major
    middle: Floats  # (N, D) the residual stream after attention
    mlp_in: Floats  # (N, D) normalised
    mlp_inv_rms: Floats  # (N,)
    gate_up: Floats  # (2*F, N) feature-major: gate and up are each contiguous
    sigmoid: Floats  # (F, N)


@dataclass(frozen=True, slots=True, eq=False)
class BackwardBuffers:
    """Gradients of activations, shared by all layers."""

    d_x: Floats  # (N, D) gradient of the residual stream
    d_normed: Floats  # (N, D)
    d_qkv: Floats  # like qkv
    d_context: Floats  # like context
    d_gate_up: Floats  # like gate_up
    d_activated: Floats  # (F, N)
    d_head: Floats  # (V, D), or empty when the head needs one block of tokens only
    rms_scratch: Floats  # (rows of one block, D)
    embedding_scratch: Floats  # (2, N, D)


@dataclass(frozen=True, slots=True, eq=False)
class Buffers:
    """Views of a workspace for one batch of B sequences of T tokens, N = B * T."""

    layers: tuple[LayerBuffers, ...]
    recompute: bool  # the layers share what the backward pass reads
    backward: BackwardBuffers | None  # None unless the workspace is for training
    seq_len: int  # T
    cos: Floats  # (d/2, N) of each token's position
    sin: Floats  # (d/2, N)
    projected: Floats  # (N, D) what a layer's half adds to the residual stream
    activated: Floats  # (F, N)
    last: Floats  # (N, D) the residual stream leaving the last layer
    last_normed: Floats  # (N, D)
    last_inv_rms: Floats  # (N,)
    logits: Floats  # (tokens in one block of the head, V)
    rotary_scratch: Floats
    scores: Floats  # scratch of attention
    head_blocks: tuple[slice, ...]  # cover the N tokens in order


class Workspace:
    """Buffers for at most `batch` sequences of at most `seq_len` tokens, allocated once.

    A smaller batch uses the front of the same memory. Contents mean nothing between calls, so one
    workspace serves any number of weights, one call at a time.

    Args:
        config: the model's sizes.
        batch: most sequences in one call.
        seq_len: most tokens in one sequence; None means `config.seq_len`.
        dtype: float32 or float64; the parameters must have the same.
        training: whether the backward pass will run. Without it all layers share one set of buffers.
        recompute: keep only each layer's input, and compute a layer once more when its backward pass comes:
            far less memory for many layers, about a fifth more arithmetic, the same bits.

    Source of recomputation: Chen et al. 2016, "Training deep nets with sublinear memory cost".

    Raises:
        ValueError: a size below 1, `seq_len` above `config.seq_len`, or another dtype.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        seq_len: int | None = None,
        *,
        dtype: npt.DTypeLike = np.float32,
        training: bool = True,
        recompute: bool = False,
    ) -> None:
        seq_len = config.seq_len if seq_len is None else seq_len
        if batch < 1 or not 1 <= seq_len <= config.seq_len:
            raise ValueError(
                f"a workspace needs batch >= 1 and 1 <= seq_len <= {config.seq_len} (the model's), got "
                f"batch={batch}, seq_len={seq_len}"
            )
        self.config, self.batch, self.seq_len = config, batch, seq_len
        self.training, self.recompute = training, recompute
        self.dtype: np.dtype[np.floating[Any]] = _float_dtype(dtype)
        cos, sin = rotary_tables(seq_len, config.head_dim, config.rope_theta, config.rope_scaling)
        # Decided for the largest batch: a smaller one must find room in the same memory. It changes no bit.
        self._keeps_probabilities = training and not recompute and self._probabilities(batch, seq_len) > 0
        self._cos: Floats = cos.astype(self.dtype)
        self._sin: Floats = sin.astype(self.dtype)
        self._flat = _aligned_empty(self._entries(batch, seq_len), self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._flat.nbytes + self._cos.nbytes + self._sin.nbytes

    def buffers(self, B: int, T: int) -> Buffers:
        """Views for one batch. They overlap those of every other call.

        Raises:
            ValueError: the batch is larger than the workspace.
        """
        if not (1 <= B <= self.batch and 1 <= T <= self.seq_len):
            raise ValueError(
                f"a batch of shape {(B, T)} does not fit a workspace made for {(self.batch, self.seq_len)}"
            )
        config, arena = self.config, _Arena(self._flat)
        own, inner = _input_shapes(config, B, T), self._layer_shapes(B, T)
        if not self.training:
            layers = (LayerBuffers(**arena.take_all(own | inner)),) * config.layers
        elif self.recompute:
            reused = arena.take_all(inner)
            layers = tuple(LayerBuffers(**arena.take_all(own), **reused) for _ in range(config.layers))
        else:
            layers = tuple(LayerBuffers(**arena.take_all(own | inner)) for _ in range(config.layers))
        backward = _backward_shapes(config, B, T, self.dtype.itemsize)
        shared = arena.take_all(_shared_shapes(config, B, T, self.dtype.itemsize))
        for name, table in (("cos", self._cos), ("sin", self._sin)):
            shared[name].reshape(-1, B, T)[:] = table[:, None, :T]
        return Buffers(
            layers=layers,
            seq_len=T,
            recompute=self.recompute,
            backward=BackwardBuffers(**arena.take_all(backward)) if self.training else None,
            head_blocks=tuple(_head_blocks(config, B * T)),
            **shared,
        )

    def _entries(self, B: int, T: int) -> int:
        """Entries of the whole arena. Grows with B and with T, so that smaller batches fit."""
        itemsize = self.dtype.itemsize
        own = _padded_total(_input_shapes(self.config, B, T), itemsize)
        inner = _padded_total(self._layer_shapes(B, T), itemsize)
        shared = _padded_total(_shared_shapes(self.config, B, T, itemsize), itemsize)
        if not self.training:
            return own + inner + shared
        inputs, sets = self.config.layers, 1 if self.recompute else self.config.layers
        backward = _padded_total(_backward_shapes(self.config, B, T, itemsize), itemsize)
        return inputs * own + sets * inner + shared + backward

    def _layer_shapes(self, B: int, T: int) -> dict[str, Shape]:
        kept = self._probabilities(B, T) if self._keeps_probabilities else 0
        return _layer_shapes(self.config, B, T) | {"probabilities": (kept,)}

    def _probabilities(self, B: int, T: int) -> int:
        K = self.config.key_value_heads
        return attention_kept_size(B, K, self.config.heads // K, T, self.dtype.itemsize)


def _input_shapes(config: ModelConfig, B: int, T: int) -> dict[str, Shape]:
    return {"x": (B * T, config.dim)}


def _layer_shapes(config: ModelConfig, B: int, T: int) -> dict[str, Shape]:
    N, D, F, K = B * T, config.dim, config.feed_forward_dim, config.key_value_heads
    return {
        "attention_in": (N, D),
        "attention_inv_rms": (N,),
        "qkv": ((config.heads + 2 * K) * config.head_dim, N),
        "maxima": (B, K, config.heads // K, T),
        "sums": (B, K, config.heads // K, T),
        "context": (config.heads * config.head_dim, N),
        "middle": (N, D),
        "mlp_in": (N, D),
        "mlp_inv_rms": (N,),
        "gate_up": (2 * F, N),
        "sigmoid": (F, N),
    }


def _shared_shapes(config: ModelConfig, B: int, T: int, itemsize: int) -> dict[str, Shape]:
    N, D, K = B * T, config.dim, config.key_value_heads
    return {
        "projected": (N, D),
        "activated": (config.feed_forward_dim, N),
        "last": (N, D),
        "last_normed": (N, D),
        "last_inv_rms": (N,),
        "logits": (min(N, _head_rows(config)), config.vocab_size),
        "cos": (config.head_dim // 2, N),
        "sin": (config.head_dim // 2, N),
        "rotary_scratch": (rotary_scratch_size(config.heads + K, config.head_dim, N, itemsize),),
        "scores": (attention_scratch_size(B, K, config.heads // K, config.head_dim, T, itemsize),),
    }


def _backward_shapes(config: ModelConfig, B: int, T: int, itemsize: int) -> dict[str, Shape]:
    N, D, F = B * T, config.dim, config.feed_forward_dim
    layer = _layer_shapes(config, B, T)
    return {
        "d_x": (N, D),
        "d_normed": (N, D),
        "d_qkv": layer["qkv"],
        "d_context": layer["context"],
        "d_gate_up": layer["gate_up"],
        "d_activated": (F, N),
        "d_head": (config.vocab_size if _head_rows(config) < N else 0, D),
        "rms_scratch": rms_norm_scratch_shape(N, D, itemsize),
        "embedding_scratch": (2, N, D),
    }


def _head_rows(config: ModelConfig) -> int:
    return max(1, _LOGITS_MAX // config.vocab_size)


def _head_blocks(config: ModelConfig, N: int) -> Iterator[slice]:
    rows = _head_rows(config)
    return (slice(start, min(start + rows, N)) for start in range(0, N, rows))


def _float_dtype(dtype: npt.DTypeLike) -> np.dtype[np.float32] | np.dtype[np.float64]:
    if np.dtype(dtype) == np.float32:
        return np.dtype(np.float32)
    if np.dtype(dtype) == np.float64:
        return np.dtype(np.float64)
    raise ValueError(f"a workspace is float32 or float64, got {np.dtype(dtype)}")


class _Arena:
    """Hands out consecutive parts of one flat array, each at a cache line."""

    def __init__(self, flat: Floats) -> None:
        self._flat, self._used = flat, 0

    def take_all(self, shapes: dict[str, Shape]) -> dict[str, Floats]:
        return {name: self._take(shape) for name, shape in shapes.items()}

    def _take(self, shape: Shape) -> Floats:
        start, entries = self._used, math.prod(shape)
        self._used += _padded(entries, self._flat.itemsize)
        return self._flat[start : start + entries].reshape(shape)


def _padded(entries: int, itemsize: int) -> int:
    per_line = _CACHE_LINE_BYTES // itemsize
    return -(-entries // per_line) * per_line


def _padded_total(shapes: dict[str, Shape], itemsize: int) -> int:
    return sum(_padded(math.prod(shape), itemsize) for shape in shapes.values())


def _aligned_empty(entries: int, dtype: np.dtype[np.floating[Any]]) -> Floats:
    """Uninitialised entries that begin at a cache line."""
    raw = np.empty(entries * dtype.itemsize + _CACHE_LINE_BYTES, dtype=np.uint8)
    skipped = -raw.ctypes.data % _CACHE_LINE_BYTES
    aligned: Floats = raw[skipped : skipped + entries * dtype.itemsize].view(dtype)
    return aligned
