"""Training as a plain loop: the oracle for what Root and the spheres must compute, to the last bit.

No actors, no threads, no messages, no shared memory, nothing from `crystalline.training`: the gradient of
each shard by itself, added up in the order of the tree, clipped, and one optimizer step a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from crystalline.data import (
    Windows,
    batch_indices,
    cut_into_shards,
    epoch_order,
    prepare_tokens,
    steps_per_epoch,
)
from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    initialise,
    layout_of,
    loss,
    loss_and_gradient,
    weights_sha256,
)
from crystalline.optim import (
    AdamW,
    AdamWBuffers,
    adamw_update,
    clip_scale,
    global_norm,
    learning_rate,
    slice_bounds,
    sum_of_squares,
)

if TYPE_CHECKING:
    from crystalline.data import Corpus
    from crystalline.training import TrainConfig

Array = npt.NDArray[Any]


@dataclass
class PlainRun:
    """What a run computed. Entry s of `hashes` is of the weights after s steps.

    `losses`, `norms` and `tokens` have an entry a step, `train_losses` and `val_losses` one an epoch.
    """

    hashes: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    train_losses: list[float] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)


def train_plainly(model: ModelConfig, train: TrainConfig, corpus: Corpus) -> PlainRun:
    """Train; `train.spheres`, `save_every` and the timeouts are ignored."""
    prepared = prepare_tokens(corpus, model.vocab_size, None)
    config = replace(model, vocab_size=prepared.tokenizer.get_vocab_size())
    windows = Windows(prepared.tokens, model.seq_len, train.val_fraction)
    return train_on_windows(config, train, windows, slice_bounds(layout_of(config).size))


def train_on_windows(
    config: ModelConfig, train: TrainConfig, windows: Windows, slices: list[tuple[int, int]]
) -> PlainRun:
    """The same on text that is tokens already, with the norm added up over these slices."""
    with threadpool_limits(limits=1, user_api="blas"), np.errstate(all="ignore"):
        return _Plain(config, train, windows, slices).run()


class _Plain:
    def __init__(
        self, config: ModelConfig, train: TrainConfig, windows: Windows, slices: list[tuple[int, int]]
    ) -> None:
        self.config = config
        self.train = train
        self.windows = windows
        self.slices = slices
        self.workspace = Workspace(self.config, train.batch_size)
        flat = initialise(self.config, train.seed)
        self.buffers = AdamWBuffers(flat, np.zeros_like(flat), np.zeros_like(flat))
        self.found = PlainRun(hashes=[weights_sha256(flat)])
        whole = steps_per_epoch(len(self.windows.train), train.batch_size) * train.epochs
        self.steps = whole if train.steps is None else min(whole, train.steps)

    def run(self) -> PlainRun:
        step = epoch = 0
        while step < self.steps:
            epoch += 1
            begun = step
            order = self.windows.train[epoch_order(len(self.windows.train), self.train.seed, epoch)]
            for at in range(steps_per_epoch(len(order), self.train.batch_size)):
                if step == self.steps:
                    break
                self.step(step := step + 1, batch_indices(order, at, self.train.batch_size))
            weighted = np.multiply(self.found.losses, self.found.tokens)[begun:]
            self.found.train_losses.append(float(weighted.sum() / sum(self.found.tokens[begun:])))
            if len(self.windows.validation):
                self.found.val_losses.append(self.validate())
        return self.found

    def step(self, step: int, indices: Array) -> None:
        inputs, targets = self.windows.batch(indices)
        tokens = int((targets >= 0).sum())
        shards = cut_into_shards(np.where(targets >= 0, inputs, -1), self.train.shards)
        total = 0.0
        gradients: list[Array | None] = []
        for rows in shards:
            gradients.append(None)
            if len(rows):
                gradient = Parameters(self.config, np.empty(layout_of(self.config).size, np.float32))
                weights = Parameters(self.config, self.buffers.weights)
                total += loss_and_gradient(
                    weights, gradient, inputs[rows], targets[rows], self.workspace, loss_scale=1.0 / tokens
                )
                gradients[-1] = gradient.flat
        gradient_sum = tree_of(gradients)
        assert gradient_sum is not None
        self.found.losses.append(total / tokens)
        self.found.tokens.append(tokens)
        self.update(step, gradient_sum)

    def update(self, step: int, gradient: Array) -> None:
        norm = global_norm(sum_of_squares(gradient[lo:hi]) for lo, hi in self.slices)
        rate = learning_rate(
            step - 1, peak=self.train.lr, warmup_steps=self.train.warmup, total_steps=self.steps
        )
        new = AdamWBuffers(*(np.empty_like(buffer) for buffer in self.buffers))
        adamw_update(
            new,
            self.buffers,
            gradient,
            step=step,
            hyper=AdamW(learning_rate=rate, weight_decay=self.train.weight_decay),
            gradient_scale=clip_scale(norm, self.train.clip),
            decay_end=layout_of(self.config).decay_end,
        )
        self.buffers = new
        self.found.norms.append(norm)
        self.found.hashes.append(weights_sha256(new.weights))

    def validate(self) -> float:
        weights = Parameters(self.config, self.buffers.weights)
        total = tokens = 0.0
        for window in self.windows.validation:
            inputs, targets = self.windows.batch(np.array([window]))
            total += loss(weights, inputs, targets, self.workspace)
            tokens += int((targets >= 0).sum())
        return total / tokens


def tree_of(gradients: list[Array | None]) -> Array | None:
    """The sum in the order of the tree: each half by itself, then left + right."""
    if len(gradients) == 1:
        return gradients[0]
    middle = len(gradients) // 2
    left, right = tree_of(gradients[:middle]), tree_of(gradients[middle:])
    if left is None or right is None:
        return right if left is None else left
    return np.add(left, right)
