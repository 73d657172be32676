"""Pairs of ways to compute one thing, at the sizes of a shard of 3 x 128 tokens: D 256, 8 heads, F 688."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import numpy as np

from crystalline.kernels import blocks
from crystalline.kernels.attention import (
    attention,
    attention_backward,
    attention_kept_size,
    attention_scratch_size,
)
from crystalline.kernels.rms_norm import rms_norm_backward
from crystalline.kernels.sums import sum_of_rows
from crystalline.kernels.swiglu import swiglu, swiglu_backward
from crystalline.model import ModelConfig, Parameters, Workspace, loss_and_gradient
from crystalline.optim import SLICE, AdamW, AdamWBuffers, adamw, adamw_update
from tests.benchmarks.tried.passes import rms_norm_backward_by_reductions, swiglu_by_exponentials
from tests.benchmarks.tried.query_first import attention_by_query, attention_by_query_backward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Floats = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["PAIRS", "Pair"]

B: Final = 3
T: Final = 128
N: Final = B * T
D: Final = 256
H: Final = 8
F: Final = 688
V: Final = 10_000
LAYERS: Final = 6
PARAMETERS: Final = 7_306_496
_RNG: Final = np.random.default_rng(0)
_SMALL_BLOCK_BYTES: Final = 512 * 1024
_SHORT_SLICE: Final = 65_536
_SHORT_BLOCK: Final = 32_768
_REPEATED: Final = 30
_THREADS: Final = {1: "one thread", 2: "two threads"}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two ways, each a function without arguments that has its arrays.

    Attributes:
        kept: what the engine does.
        tried: what it does not.
        kept_name: in a few words.
        tried_name: likewise.
        prepare: runs before each of them, and does not count; None when neither spoils its arrays.
    """

    kept_name: str
    kept: Callable[[], object]
    tried_name: str
    tried: Callable[[], object]
    prepare: Callable[[], object] | None = None


def _normal(*shape: int) -> Floats:
    return _RNG.standard_normal(shape, dtype=np.float32)


def _sigmoid() -> Pair:
    fresh, up, out, sigmoid = (_normal(F, N) for _ in range(4))
    gate = fresh.copy()
    return Pair(
        "sigmoid by tanh",
        partial(swiglu, gate, up, out=out, sigmoid=sigmoid),
        "sigmoid by exp",
        partial(swiglu_by_exponentials, gate, up, out=out, sigmoid=sigmoid),
        prepare=partial(np.copyto, gate, fresh),  # becomes its own silu: again and again, that is denormal
    )


def _norm() -> Pair:
    x, d_out, d_x, scratch = _normal(N, D), _normal(N, D), _normal(N, D), _normal(2, N, D)
    gain, d_gain, inv_rms = _normal(D), _normal(D), _normal(N) ** 2
    shared: dict[str, Any] = {"d_x": d_x, "d_gain": d_gain}
    return Pair(
        "rms_norm_backward by products with vectors",
        partial(rms_norm_backward, d_out, x, gain, inv_rms, scratch=scratch[0], **shared),
        "by numpy's reductions",
        partial(rms_norm_backward_by_reductions, d_out, x, gain, inv_rms, scratch=scratch, **shared),
    )


def _row_sums() -> Pair:
    block = np.abs(_normal(52, V))
    return Pair(
        "sums of rows as a product with ones",
        partial(sum_of_rows, block),
        "np.add.reduce",
        partial(np.add.reduce, block, axis=1),
    )


def _block_sizes(threads: int) -> Pair:
    calls = [_swiglu_backward() for _ in range(threads)]

    def in_small_blocks() -> None:
        with mock.patch.object(blocks, "_CACHE_BYTES", _SMALL_BLOCK_BYTES):
            _at_once(calls)

    return Pair(
        f"swiglu_backward in {_THREADS[threads]}, blocks of 2 MiB",
        partial(_at_once, calls),
        "of 512 KiB",
        in_small_blocks,
    )


def _swiglu_backward() -> Callable[[], None]:
    """As many as a shard has layers, a few times: a thread takes a while to start."""
    d_out, silu, up, sigmoid, d_gate, d_up, out = (_normal(F, N) for _ in range(7))

    def run() -> None:
        for _ in range(_REPEATED):
            swiglu_backward(d_out, silu, up, sigmoid, d_gate=d_gate, d_up=d_up, out=out)

    return run


def _slices(threads: int) -> Pair:
    """AdamW on all parameters, as many of them in each thread."""
    old, new = (AdamWBuffers(*(np.square(_normal(PARAMETERS)) for _ in range(3))) for _ in range(2))
    gradient = _normal(PARAMETERS)

    def update(lo: int, hi: int, length: int) -> None:
        for begin in range(lo, hi, length):
            end = min(begin + length, hi)
            part = new.part(begin, end), old.part(begin, end), gradient[begin:end]
            adamw_update(*part, step=3, hyper=AdamW(learning_rate=1e-3))

    def way(length: int) -> Callable[[], None]:
        bounds = [PARAMETERS * thread // threads for thread in range(threads + 1)]
        return partial(_at_once, [partial(update, lo, hi, length) for lo, hi in pairwise(bounds)])

    short = way(_SHORT_SLICE)

    def in_short_blocks() -> None:
        with mock.patch.object(adamw, "_BLOCK", _SHORT_BLOCK):
            short()

    return Pair(
        f"AdamW in {_THREADS[threads]}, slices of 1 MiB",
        way(SLICE),
        "of 256 KiB in blocks of 128 KiB",
        in_short_blocks,
    )


def _at_once(calls: Sequence[Callable[[], None]]) -> None:
    """Run each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Attention:
    """Attention, forward and backward, in three ways on the same arrays."""

    def __init__(self) -> None:
        self._forward = [_heads() for _ in range(3)]  # q, k, v
        self._out, self._d_out, self._d_q, self._d_k, self._d_v = (_heads() for _ in range(5))
        self._kept = _normal(attention_kept_size(B, H, 1, T, 4))
        self._of_rows = {name: _normal(B, H, 1, T) for name in ("maxima", "sums")}
        self._scratch = _normal(attention_scratch_size(B, H, 1, D // H, T, 4))
        self._square, self._d_scores = _normal(B, H, T, T), _normal(H, T, T)

    def kept(self) -> None:
        """As the engine does it."""
        self._run(self._kept)

    def again(self) -> None:
        """The probabilities are computed once more in the backward pass."""
        self._run(self._kept[:0])

    def query_first(self) -> None:
        """The other layout, with numpy's reductions."""
        attention_by_query(*self._forward, out=self._out, probabilities=self._square)
        attention_by_query_backward(
            self._d_out,
            *self._forward,
            out=self._out,
            probabilities=self._square,
            d_q=self._d_q,
            d_k=self._d_k,
            d_v=self._d_v,
            d_scores=self._d_scores,
        )

    def _run(self, kept: Floats) -> None:
        q, k, v = self._forward
        shared: dict[str, Any] = {
            **self._of_rows,
            "out": self._out[:, :, None],
            "kept": kept,
            "scratch": self._scratch,
        }
        attention(q[:, :, None], k, v, **shared)
        attention_backward(
            self._d_out[:, :, None],
            q[:, :, None],
            k,
            v,
            **shared,
            d_q=self._d_q[:, :, None],
            d_k=self._d_k,
            d_v=self._d_v,
        )


def _attention_kept() -> Pair:
    ways = _Attention()
    return Pair("attention that keeps its probabilities", ways.kept, "computes them twice", ways.again)


def _attention_layout() -> Pair:
    ways = _Attention()
    return Pair("attention with keys before queries", ways.kept, "queries before keys", ways.query_first)


def _heads() -> Floats:
    """(B, H, d, T), a view of feature-major memory as the layers have it."""
    return _normal(H, D // H, B, T).transpose(2, 0, 1, 3)


def _layouts() -> Pair:
    """The six products of a feed-forward layer, forward and backward."""
    x, out = _normal(N, D), _normal(N, D)
    gate_up, down, d_gate_up, d_down = (_normal(*shape) for shape in 2 * [(2 * F, D), (D, F)])

    def products(hidden: Floats, activated: Floats, d_hidden: Floats, d_activated: Floats) -> None:
        """Hidden ones (N, 2F) and activated ones (N, F), in either memory order."""
        np.matmul(x, gate_up.T, out=hidden)
        np.matmul(activated, down.T, out=out)
        np.matmul(x, down, out=d_activated)
        np.matmul(x.T, activated, out=d_down)
        np.matmul(d_hidden, gate_up, out=out)
        np.matmul(d_hidden.T, x, out=d_gate_up)

    feature_major = [_normal(features, N).T for features in 2 * [2 * F, F]]
    token_major = [_normal(N, features) for features in 2 * [2 * F, F]]
    return Pair(
        "products of a feed-forward layer, features first",
        partial(products, *feature_major),
        "tokens first",
        partial(products, *token_major),
    )


def _recompute() -> Pair:
    """A shard of a model with all its layers."""
    config = ModelConfig(vocab_size=V, dim=D, layers=LAYERS, heads=H, ffn_dim=F, seq_len=T)
    weights, gradient = (Parameters(config, 0.02 * _normal(PARAMETERS)) for _ in range(2))
    inputs, targets = _RNG.integers(0, V, (2, B, T), dtype=np.int32)

    def way(*, recompute: bool) -> Callable[[], object]:
        workspace = Workspace(config, B, recompute=recompute)
        return partial(loss_and_gradient, weights, gradient, inputs, targets, workspace, loss_scale=1e-3)

    return Pair(
        "a shard that keeps its activations", way(recompute=False), "with --recompute", way(recompute=True)
    )


def _gradient_sums() -> Pair:
    """Two shards' gradients: added as a whole, or tensor by tensor while each is still in the cache."""
    total, other = _normal(PARAMETERS), _normal(PARAMETERS)
    tensor = _normal(2 * F * D)

    def by_tensor() -> None:
        for lo in range(0, PARAMETERS - len(tensor), len(tensor)):
            part = total[lo : lo + len(tensor)]
            np.add(part, tensor, out=part)

    return Pair(
        "sum of two gradients as a whole",
        partial(np.add, total, other, out=total),
        "tensor by tensor out of the cache",
        by_tensor,
    )


PAIRS: Final[dict[str, Callable[[], Pair]]] = {
    "sigmoid": _sigmoid,
    "norm": _norm,
    "row-sums": _row_sums,
    "blocks": partial(_block_sizes, 2),
    "blocks-one-thread": partial(_block_sizes, 1),
    "slices": partial(_slices, 2),
    "slices-one-thread": partial(_slices, 1),
    "attention-kept": _attention_kept,
    "attention-layout": _attention_layout,
    "layouts": _layouts,
    "gradient-sums": _gradient_sums,
    "recompute": _recompute,
}
"""By name, what makes a pair."""
