"""Training as one writes it in numpy from the textbook: the peer without our kernels.

The same network, loss and optimizer as `crystalline.model` and `crystalline.optim`, one operation after the
other: a new array from each, separate projections, attention over the whole T x T square with a mask,
`np.add.at` for the embedding, all logits at once, and as many BLAS threads as numpy takes by itself.

Weights and gradients are dictionaries by Hugging Face's tensor names. B batch, T time, D width, H heads,
K key and value heads, d width of a head, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystalline.model import ModelConfig

__all__ = ["AdamW", "loss_and_gradient"]

Array: TypeAlias = npt.NDArray[Any]


class _Norm(NamedTuple):
    x: Array
    gain: Array
    inv_rms: Array
    out: Array


class _Layer(NamedTuple):
    """What the backward pass of a layer needs."""

    before: _Norm
    q: Array  # (B, H, T, d), turned
    k: Array  # (B, H, T, d), turned, repeated for the query heads that share it
    v: Array  # (B, H, T, d), likewise
    p: Array  # (B, H, T, T)
    context: Array  # (B, T, D)
    between: _Norm
    gate: Array  # (B, T, F)
    up: Array  # (B, T, F)


def loss_and_gradient(
    config: ModelConfig, weights: Mapping[str, Array], tokens: Array, targets: Array, *, loss_scale: float
) -> tuple[float, dict[str, Array]]:
    """Sum of the token losses in nats, and the gradient of `loss_scale` times it.

    Args:
        config: sizes.
        weights: tensors by name.
        tokens: (B, T).
        targets: (B, T); a negative one is padding, which has no loss and no gradient.
        loss_scale: such as one over the number of real tokens.
    """
    turns = _turns(config, tokens.shape[1], weights["model.norm.weight"].dtype)
    x = weights["model.embed_tokens.weight"][tokens]  # (B, T, D)
    layers = []
    for number in range(config.layers):
        x, layer = _layer(config, weights, f"model.layers.{number}.", x, turns)
        layers.append(layer)
    last = _rms_norm(x, weights["model.norm.weight"], config.norm_eps)
    head = weights["model.embed_tokens.weight" if config.tied else "lm_head.weight"]
    total, d_logits = _cross_entropy(last.out @ head.T, targets, loss_scale)

    gradient: dict[str, Array] = {}
    d_head = _weight_gradient(d_logits, last.out)
    d_x, gradient["model.norm.weight"] = _rms_norm_backward(d_logits @ head, last)
    for number in reversed(range(config.layers)):
        prefix = f"model.layers.{number}."
        d_x = _layer_backward(config, weights, prefix, layers[number], d_x, turns, gradient)
    d_embedding = np.zeros_like(weights["model.embed_tokens.weight"])
    np.add.at(d_embedding, tokens, d_x)
    if config.tied:
        gradient["model.embed_tokens.weight"] = d_embedding + d_head
    else:
        gradient |= {"model.embed_tokens.weight": d_embedding, "lm_head.weight": d_head}
    return total, gradient


def _layer(
    config: ModelConfig, weights: Mapping[str, Array], prefix: str, x: Array, turns: tuple[Array, Array]
) -> tuple[Array, _Layer]:
    group = config.heads // config.key_value_heads
    before = _rms_norm(x, weights[f"{prefix}input_layernorm.weight"], config.norm_eps)
    q = _heads(before.out @ weights[f"{prefix}self_attn.q_proj.weight"].T, config.heads)
    k = _heads(before.out @ weights[f"{prefix}self_attn.k_proj.weight"].T, config.key_value_heads)
    v = _heads(before.out @ weights[f"{prefix}self_attn.v_proj.weight"].T, config.key_value_heads)
    q, k = _turn(q, *turns), np.repeat(_turn(k, *turns), group, axis=1)
    v = np.repeat(v, group, axis=1)
    scores = q @ k.swapaxes(2, 3) / config.head_dim**0.5  # (B, H, T, T)
    mask = np.triu(np.ones(scores.shape[2:], bool), 1)
    p = _softmax(np.where(mask, -np.inf, scores))
    context = _joined(p @ v)
    x = x + context @ weights[f"{prefix}self_attn.o_proj.weight"].T

    between = _rms_norm(x, weights[f"{prefix}post_attention_layernorm.weight"], config.norm_eps)
    gate = between.out @ weights[f"{prefix}mlp.gate_proj.weight"].T
    up = between.out @ weights[f"{prefix}mlp.up_proj.weight"].T
    x = x + (gate * _sigmoid(gate) * up) @ weights[f"{prefix}mlp.down_proj.weight"].T
    return x, _Layer(before, q, k, v, p, context, between, gate, up)


def _layer_backward(
    config: ModelConfig,
    weights: Mapping[str, Array],
    prefix: str,
    layer: _Layer,
    d_x: Array,
    turns: tuple[Array, Array],
    gradient: dict[str, Array],
) -> Array:
    """The gradient of the layer's input; those of its weights go into `gradient`."""

    def projected(name: str, d_out: Array, given: Array) -> Array:
        gradient[f"{prefix}{name}.weight"] = _weight_gradient(d_out, given)
        return d_out @ weights[f"{prefix}{name}.weight"]

    sigmoid = _sigmoid(layer.gate)
    silu = layer.gate * sigmoid
    d_active = projected("mlp.down_proj", d_x, silu * layer.up)
    d_gate = d_active * layer.up * (sigmoid + silu * (1 - sigmoid))
    d_normed = projected("mlp.gate_proj", d_gate, layer.between.out)
    d_normed = d_normed + projected("mlp.up_proj", d_active * silu, layer.between.out)
    d_through, d_gain = _rms_norm_backward(d_normed, layer.between)
    gradient[f"{prefix}post_attention_layernorm.weight"] = d_gain
    d_x = d_x + d_through

    d_context = _heads(projected("self_attn.o_proj", d_x, layer.context), config.heads)
    d_p = d_context @ layer.v.swapaxes(2, 3)
    d_scores = layer.p * (d_p - np.sum(d_p * layer.p, axis=-1, keepdims=True)) / config.head_dim**0.5
    d_q = _turn_back(d_scores @ layer.k, *turns)
    d_k = _turn_back(_shared(config, d_scores.swapaxes(2, 3) @ layer.q), *turns)
    d_v = _shared(config, layer.p.swapaxes(2, 3) @ d_context)
    d_normed = projected("self_attn.q_proj", _joined(d_q), layer.before.out)
    d_normed = d_normed + projected("self_attn.k_proj", _joined(d_k), layer.before.out)
    d_normed = d_normed + projected("self_attn.v_proj", _joined(d_v), layer.before.out)
    d_through, d_gain = _rms_norm_backward(d_normed, layer.before)
    gradient[f"{prefix}input_layernorm.weight"] = d_gain
    return d_x + d_through


def _rms_norm(x: Array, gain: Array, eps: float) -> _Norm:
    inv_rms = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)  # (B, T, 1)
    return _Norm(x, gain, inv_rms, x * inv_rms * gain)


def _rms_norm_backward(d_out: Array, norm: _Norm) -> tuple[Array, Array]:
    x_hat, d_hat = norm.x * norm.inv_rms, d_out * norm.gain
    d_x = norm.inv_rms * (d_hat - x_hat * np.mean(d_hat * x_hat, axis=-1, keepdims=True))
    return d_x, np.sum(d_out * x_hat, axis=(0, 1))


def _cross_entropy(logits: Array, targets: Array, loss_scale: float) -> tuple[float, Array]:
    """The sum over real tokens, and loss_scale times its gradient (B, T, V)."""
    p, real = _softmax(logits), targets >= 0
    at = (*np.indices(targets.shape), np.maximum(targets, 0))
    total = float(-np.sum(np.log(p[at]), where=real, dtype=np.float64))
    p[at] -= 1
    return total, p * (real * loss_scale).astype(p.dtype)[..., None]


def _softmax(x: Array) -> Array:
    exponentials = np.exp(x - np.max(x, axis=-1, keepdims=True))
    out: Array = exponentials / np.sum(exponentials, axis=-1, keepdims=True)
    return out


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _weight_gradient(d_out: Array, given: Array) -> Array:
    """(out, in) of a projection that is `given @ weight.T`."""
    return d_out.reshape(-1, d_out.shape[-1]).T @ given.reshape(-1, given.shape[-1])


def _heads(x: Array, heads: int) -> Array:
    """(B, T, heads * d) as (B, heads, T, d)."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _joined(x: Array) -> Array:
    """(B, heads, T, d) as (B, T, heads * d)."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def _shared(config: ModelConfig, x: Array) -> Array:
    """(B, H, T, d) summed over the query heads that share a key and value head: (B, K, T, d)."""
    out: Array = x.reshape(x.shape[0], config.key_value_heads, -1, *x.shape[2:]).sum(axis=2)
    return out


def _turns(config: ModelConfig, T: int, dtype: npt.DTypeLike) -> tuple[Array, Array]:
    """Cosine and sine (T, d / 2) of the rotary angles."""
    rates = config.rope_theta ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    angles = np.outer(np.arange(T), rates)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def _turn(x: Array, cos: Array, sin: Array) -> Array:
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def _turn_back(x: Array, cos: Array, sin: Array) -> Array:
    return _turn(x, cos, -sin)


class AdamW:
    """Clipping by the global norm, then Adam with decoupled weight decay, a tensor at a time.

    Args:
        weights: replaced, a tensor at a time, by each step.
        lr: learning rate.
        weight_decay: of matrices; gains of norms are not decayed.
        clip: largest norm of the gradient.
    """

    def __init__(self, weights: dict[str, Array], *, lr: float, weight_decay: float, clip: float) -> None:
        self.weights, self.lr, self.weight_decay, self.clip = weights, lr, weight_decay, clip
        self.steps = 0
        self._m = {name: np.zeros_like(tensor) for name, tensor in weights.items()}
        self._v = {name: np.zeros_like(tensor) for name, tensor in weights.items()}

    def step(self, gradient: Mapping[str, Array]) -> None:
        """Take a step."""
        self.steps += 1
        norm = sum(float(np.sum(g.astype(np.float64) ** 2)) for g in gradient.values()) ** 0.5
        scale = min(1.0, self.clip / (norm + 1e-6))
        for name, w in self.weights.items():
            g = gradient[name] * scale
            self._m[name] = m = 0.9 * self._m[name] + 0.1 * g
            self._v[name] = v = 0.95 * self._v[name] + 0.05 * g * g
            m_hat, v_hat = m / (1 - 0.9**self.steps), v / (1 - 0.95**self.steps)
            decay = self.weight_decay if w.ndim > 1 else 0.0
            self.weights[name] = w * (1 - self.lr * decay) - self.lr * m_hat / (np.sqrt(v_hat) + 1e-8)
