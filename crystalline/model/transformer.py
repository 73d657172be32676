"""The Llama-family transformer: one forward pass for training and inference, and its backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from crystalline.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from crystalline.kernels.embedding import embedding, embedding_backward
from crystalline.kernels.linear import linear, linear_backward
from crystalline.kernels.rms_norm import rms_norm, rms_norm_backward
from crystalline.model.layer import layer_activations, layer_backward, layer_forward

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats, Ids
    from crystalline.model.parameters import Parameters
    from crystalline.model.workspace import BackwardBuffers, Buffers, Workspace

__all__ = ["logits", "loss", "loss_and_gradient", "next_logits"]

Checkpoint = Callable[[], None]


def _carry_on() -> None:
    """The checkpoint of a caller that never abandons a computation."""


def loss_and_gradient(
    parameters: Parameters,
    gradient: Parameters,
    tokens: Ids,
    targets: Ids,
    workspace: Workspace,
    *,
    loss_scale: float,
    checkpoint: Checkpoint = _carry_on,
) -> float:
    """Sum of the token losses, and the gradient of loss_scale times that sum.

    Args:
        parameters: the weights; only read.
        gradient: overwritten in full, whatever it held.
        tokens: (B, T), ids in [0, V). Where the target is padding any id will do, if what follows it in
            the sequence is padding too.
        targets: (B, T), the id to predict at each position; negative means padding, which has no loss
            and no gradient.
        workspace: made with `training=True` for at least B sequences of T tokens.
        loss_scale: factor of the gradient, such as one over the real tokens of the global batch.
        checkpoint: called between layers in both directions. What it raises ends the computation; the
            gradient is then partly written.

    Returns:
        The unscaled sum of cross-entropies in nats, added up in float64.

    Raises:
        ValueError: shapes, ids, sizes or float types that do not fit together.
    """
    _check(parameters, tokens, workspace)
    _check_targets(parameters, tokens, targets)
    if gradient.config != parameters.config or gradient.flat.dtype != parameters.flat.dtype:
        raise ValueError(
            f"gradient and weights differ: {gradient.config}, {gradient.flat.dtype} against "
            f"{parameters.config}, {parameters.flat.dtype}"
        )
    buffers = workspace.buffers(*tokens.shape)
    d = buffers.backward
    if d is None:
        raise ValueError("a gradient needs a workspace made with training=True")
    _forward(parameters, tokens, buffers, checkpoint)
    total = _head_backward(
        parameters, gradient, targets.reshape(-1), buffers, d, loss_scale=loss_scale, checkpoint=checkpoint
    )
    layers = list(zip(parameters.layers, buffers.layers, gradient.layers, strict=True))
    for weights, own, layer_gradient in reversed(layers):
        if buffers.recompute and own is not buffers.layers[-1]:  # the last one's activations are still there
            layer_activations(parameters.config, weights, own, buffers)
        layer_backward(parameters.config, weights, own, buffers, d, gradient=layer_gradient)
        checkpoint()
    if not parameters.config.tied:
        gradient.embedding[:] = 0  # a tied table already holds its gradient as the head
    embedding_backward(d.d_x, tokens.reshape(-1), d_table=gradient.embedding, scratch=d.embedding_scratch)
    return total


def loss(
    parameters: Parameters,
    tokens: Ids,
    targets: Ids,
    workspace: Workspace,
    *,
    checkpoint: Checkpoint = _carry_on,
) -> float:
    """Sum of the token losses alone: the same bits as `loss_and_gradient` returns.

    Args:
        parameters: the weights; only read.
        tokens: (B, T), ids in [0, V).
        targets: (B, T); negative means padding.
        workspace: for at least B sequences of T tokens.
        checkpoint: called between layers; what it raises ends the computation.

    Raises:
        ValueError: shapes, ids, sizes or float types that do not fit together.
    """
    _check(parameters, tokens, workspace)
    _check_targets(parameters, tokens, targets)
    buffers = workspace.buffers(*tokens.shape)
    _forward(parameters, tokens, buffers, checkpoint)
    flat_targets, total = targets.reshape(-1), 0.0
    for rows in buffers.head_blocks:
        block = buffers.logits[: rows.stop - rows.start]
        linear(buffers.last_normed[rows], parameters.head, out=block)
        total += cross_entropy(block, flat_targets[rows])
        checkpoint()
    return total


def logits(parameters: Parameters, tokens: Ids, workspace: Workspace) -> Floats:
    """Logits at every position, (B, T, V), in a new array.

    Args:
        parameters: the weights; only read.
        tokens: (B, T), ids in [0, V).
        workspace: for at least B sequences of T tokens.

    Raises:
        ValueError: shapes, ids, sizes or float types that do not fit together.
    """
    hidden = _hidden(parameters, tokens, workspace)  # (N, D)
    out = np.empty((len(hidden), parameters.config.vocab_size), dtype=hidden.dtype)
    linear(hidden, parameters.head, out=out)
    return out.reshape(*tokens.shape, -1)


def next_logits(parameters: Parameters, tokens: Ids, workspace: Workspace) -> Floats:
    """Logits at the last position of each sequence, (B, V), in a new array.

    Args:
        parameters: the weights; only read.
        tokens: (B, T), ids in [0, V).
        workspace: for at least B sequences of T tokens.

    Raises:
        ValueError: shapes, ids, sizes or float types that do not fit together.
    """
    B, T = tokens.shape
    hidden = _hidden(parameters, tokens, workspace)[T - 1 :: T]  # (B, D)
    out = np.empty((B, parameters.config.vocab_size), dtype=hidden.dtype)
    linear(hidden, parameters.head, out=out)
    return out


def _hidden(parameters: Parameters, tokens: Ids, workspace: Workspace) -> Floats:
    """(N, D), the normalised output of the last layer; a view of the workspace."""
    _check(parameters, tokens, workspace)
    buffers = workspace.buffers(*tokens.shape)
    _forward(parameters, tokens, buffers, _carry_on)
    return buffers.last_normed


def _forward(parameters: Parameters, tokens: Ids, buffers: Buffers, checkpoint: Checkpoint) -> None:
    """From token ids to `buffers.last_normed`: the one network that training and inference run."""
    config = parameters.config
    embedding(tokens.reshape(-1), parameters.embedding, out=buffers.layers[0].x)
    outputs = [own.x for own in buffers.layers[1:]] + [buffers.last]
    for weights, own, out in zip(parameters.layers, buffers.layers, outputs, strict=True):
        layer_forward(config, weights, own, buffers, out=out)
        checkpoint()
    rms_norm(
        buffers.last,
        parameters.norm,
        eps=config.norm_eps,
        out=buffers.last_normed,
        inv_rms=buffers.last_inv_rms,
    )


def _head_backward(
    parameters: Parameters,
    gradient: Parameters,
    targets: Ids,
    buffers: Buffers,
    d: BackwardBuffers,
    *,
    loss_scale: float,
    checkpoint: Checkpoint,
) -> float:
    """Loss, gradients of head and last norm, and in `d.d_x` that of the last layer's output."""
    total = 0.0
    for rows in buffers.head_blocks:
        block = buffers.logits[: rows.stop - rows.start]
        hidden = buffers.last_normed[rows]
        linear(hidden, parameters.head, out=block)
        total += cross_entropy_backward(block, targets[rows], scale=loss_scale)
        first = rows.start == 0
        d_weight = gradient.head if first else d.d_head
        linear_backward(block, hidden, parameters.head, d_x=d.d_normed[rows], d_weight=d_weight)
        if not first:
            np.add(gradient.head, d.d_head, out=gradient.head)
        checkpoint()
    d.d_x[:] = 0
    rms_norm_backward(
        d.d_normed,
        buffers.last,
        parameters.norm,
        buffers.last_inv_rms,
        d_x=d.d_x,
        d_gain=gradient.norm,
        scratch=d.rms_scratch,
    )
    return total


def _check(parameters: Parameters, tokens: Ids, workspace: Workspace) -> None:
    """Hold the arguments to each other, where they enter."""
    if tokens.ndim != 2 or tokens.size == 0:  # noqa: PLR2004  batch and time
        raise ValueError(f"tokens must be of shape (B, T) with at least one token, got {tokens.shape}")
    if parameters.config != workspace.config:
        raise ValueError(f"the weights are of {parameters.config}, the workspace for {workspace.config}")
    if parameters.flat.dtype != workspace.dtype:
        raise ValueError(f"the weights are {parameters.flat.dtype}, the workspace {workspace.dtype}")
    vocab_size, low, high = parameters.config.vocab_size, int(tokens.min()), int(tokens.max())
    if low < 0 or high >= vocab_size:
        raise ValueError(f"token ids must lie in [0, {vocab_size}), got ids from {low} to {high}")


def _check_targets(parameters: Parameters, tokens: Ids, targets: Ids) -> None:
    if targets.shape != tokens.shape:
        raise ValueError(f"targets of shape {targets.shape} do not match tokens of shape {tokens.shape}")
    if (high := int(targets.max())) >= parameters.config.vocab_size:
        raise ValueError(f"target ids must lie below {parameters.config.vocab_size}, got {high}")
