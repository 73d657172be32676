"""One transformer layer: attention and a gated feed-forward, each added to the residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crystalline.kernels.attention import attention, attention_backward
from crystalline.kernels.linear import linear, linear_backward
from crystalline.kernels.rms_norm import rms_norm, rms_norm_backward
from crystalline.kernels.rotary import rotary, rotary_backward
from crystalline.kernels.swiglu import swiglu, swiglu_backward

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats
    from crystalline.model.config import ModelConfig
    from crystalline.model.parameters import LayerParameters
    from crystalline.model.workspace import BackwardBuffers, Buffers, LayerBuffers

__all__ = ["layer_activations", "layer_backward", "layer_forward"]


def layer_forward(
    config: ModelConfig, weights: LayerParameters, own: LayerBuffers, shared: Buffers, *, out: Floats
) -> None:
    """Run one layer on `own.x`.

    Args:
        config: the model's sizes.
        weights: the layer's weights.
        own: the layer's buffers; `own.x` is the input, all others are overwritten.
        shared: buffers that every layer uses in turn.
        out: (N, D), the residual stream leaving the layer. It may be `own.x`.
    """
    layer_activations(config, weights, own, shared)
    linear(shared.activated.T, weights.down_proj, out=shared.projected)
    np.add(own.middle, shared.projected, out=out)


def layer_activations(
    config: ModelConfig, weights: LayerParameters, own: LayerBuffers, shared: Buffers
) -> None:
    """Compute from `own.x` everything that the backward pass of the layer reads, and `shared.activated`."""
    rms_norm(
        own.x,
        weights.attention_norm,
        eps=config.norm_eps,
        out=own.attention_in,
        inv_rms=own.attention_inv_rms,
    )
    linear(own.attention_in, weights.qkv, out=own.qkv.T)
    heads = _split_heads(config, own.qkv, shared)
    rotary(heads.turned, shared.cos, shared.sin, scratch=shared.rotary_scratch)
    context = _grouped(config, own.context, shared)
    attention(
        heads.q,
        heads.k,
        heads.v,
        out=context,
        maxima=own.maxima,
        sums=own.sums,
        kept=own.probabilities,
        scratch=shared.scores,
    )
    linear(own.context.T, weights.o_proj, out=shared.projected)
    np.add(own.x, shared.projected, out=own.middle)

    rms_norm(own.middle, weights.mlp_norm, eps=config.norm_eps, out=own.mlp_in, inv_rms=own.mlp_inv_rms)
    linear(own.mlp_in, weights.gate_up, out=own.gate_up.T)
    gate, up = np.split(own.gate_up, 2)
    swiglu(gate, up, out=shared.activated, sigmoid=own.sigmoid)


def layer_backward(
    config: ModelConfig,
    weights: LayerParameters,
    own: LayerBuffers,
    shared: Buffers,
    d: BackwardBuffers,
    *,
    gradient: LayerParameters,
) -> None:
    """Turn `d.d_x`, the gradient of the layer's output, into that of its input; fill `gradient`.

    Args:
        config: the model's sizes.
        weights: the layer's weights, as given forward.
        own: the layer's buffers as the forward pass left them.
        shared: buffers that every layer uses in turn.
        d: gradients of activations.
        gradient: the layer's part of the gradient, overwritten.
    """
    _mlp_backward(weights, own, shared, d, gradient=gradient)
    _attention_backward(config, weights, own, shared, d, gradient=gradient)


def _mlp_backward(
    weights: LayerParameters,
    own: LayerBuffers,
    shared: Buffers,
    d: BackwardBuffers,
    *,
    gradient: LayerParameters,
) -> None:
    (silu, up), (d_gate, d_up) = np.split(own.gate_up, 2), np.split(d.d_gate_up, 2)
    # The activation itself was not kept, so the weight's gradient waits until it is computed once more.
    np.matmul(weights.down_proj.T, d.d_x.T, out=d.d_activated)
    swiglu_backward(d.d_activated, silu, up, own.sigmoid, d_gate=d_gate, d_up=d_up, out=shared.activated)
    np.matmul(d.d_x.T, shared.activated.T, out=gradient.down_proj)
    linear_backward(d.d_gate_up.T, own.mlp_in, weights.gate_up, d_x=d.d_normed, d_weight=gradient.gate_up)
    rms_norm_backward(
        d.d_normed,
        own.middle,
        weights.mlp_norm,
        own.mlp_inv_rms,
        d_x=d.d_x,
        d_gain=gradient.mlp_norm,
        scratch=d.rms_scratch,
    )


def _attention_backward(
    config: ModelConfig,
    weights: LayerParameters,
    own: LayerBuffers,
    shared: Buffers,
    d: BackwardBuffers,
    *,
    gradient: LayerParameters,
) -> None:
    linear_backward(d.d_x, own.context.T, weights.o_proj, d_x=d.d_context.T, d_weight=gradient.o_proj)
    heads, d_heads = _split_heads(config, own.qkv, shared), _split_heads(config, d.d_qkv, shared)
    attention_backward(
        _grouped(config, d.d_context, shared),
        heads.q,
        heads.k,
        heads.v,
        out=_grouped(config, own.context, shared),
        maxima=own.maxima,
        sums=own.sums,
        kept=own.probabilities,
        d_q=d_heads.q,
        d_k=d_heads.k,
        d_v=d_heads.v,
        scratch=shared.scores,
    )
    rotary_backward(d_heads.turned, shared.cos, shared.sin, scratch=shared.rotary_scratch)
    linear_backward(d.d_qkv.T, own.attention_in, weights.qkv, d_x=d.d_normed, d_weight=gradient.qkv)
    rms_norm_backward(
        d.d_normed,
        own.x,
        weights.attention_norm,
        own.attention_inv_rms,
        d_x=d.d_x,
        d_gain=gradient.attention_norm,
        scratch=d.rms_scratch,
    )


class _Heads(NamedTuple):
    turned: Floats  # (H + K, d, N), the query and key heads that rotary turns
    q: Floats  # (B, K, G, d, T)
    k: Floats  # (B, K, d, T)
    v: Floats  # (B, K, d, T)


def _split_heads(config: ModelConfig, qkv: Floats, shared: Buffers) -> _Heads:
    """Views of the fused, feature-major heads."""
    H, K, d, T = config.heads, config.key_value_heads, config.head_dim, shared.seq_len
    heads = qkv.reshape(H + 2 * K, d, -1, T)
    return _Heads(
        turned=qkv[: (H + K) * d].reshape(H + K, d, -1),
        q=_grouped(config, qkv[: H * d], shared),
        k=heads[H : H + K].transpose(2, 0, 1, 3),
        v=heads[H + K :].transpose(2, 0, 1, 3),
    )


def _grouped(config: ModelConfig, heads: Floats, shared: Buffers) -> Floats:
    """(H*d, N) as (B, K, G, d, T), a view."""
    K, T = config.key_value_heads, shared.seq_len
    return heads.reshape(K, config.heads // K, config.head_dim, -1, T).transpose(3, 0, 1, 2, 4)
