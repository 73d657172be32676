"""Steps whose jobs compute nothing: what is left is messages, threads, bookkeeping and lines of metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import numpy as np

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import StepDone, TrainConfig, Trainer, prepare
from crystalline.training.reduce import covering_nodes
from crystalline.training.work import ShardWork, Sums
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actors import JobToken
    from crystalline.training.messages import (
        ApplySlices,
        ComputeShards,
        EvaluateShards,
        NodeSum,
        ReduceSlices,
    )

__all__ = ["EmptyWork", "intervals_of", "text_of"]

MODEL: Final = ModelConfig(vocab_size=290, dim=2, layers=1, heads=1, ffn_dim=2, seq_len=128)
SLICES: Final = 28
"""As many as at headline sizes, so that every sphere has some of the update."""
BATCH: Final = 36
BYTES_PER_STEP: Final = 12_000
"""Of text: rather more than a step takes."""

Array = np.ndarray[Any, Any]


class EmptyWork(ShardWork):
    """Jobs that end at once, with results of the right shapes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.slices = [(0, 0)] * SLICES

    def compute(self, _token: JobToken, _weights: Any, request: ComputeShards) -> Sums:
        nodes = [(node, self.gradients.take()) for node in covering_nodes(request.run, self.tree)]
        return Sums(np.ones(len(request.shards)), nodes, 0.0)

    def evaluate(self, _token: JobToken, _weights: Any, request: EvaluateShards) -> Array:
        return np.ones(len(request.shards))

    def combine(self, _token: JobToken, nodes: Sequence[NodeSum], run: tuple[int, int]) -> Any:
        sums = [(node, nodes[0].gradient) for node in covering_nodes(run, self.tree)]
        return sums, [], 0.0

    def reduce(self, _token: JobToken, _target: Any, request: ReduceSlices) -> tuple[Array, float]:
        return np.ones(request.hi - request.lo), 0.0

    def apply(
        self, _token: JobToken, _target: Any, _current: Any, _request: ApplySlices
    ) -> tuple[str, float]:
        return "", 0.0


def text_of(steps: int) -> Corpus:
    """So much that all steps are of one epoch: at the end of each, a checkpoint is written."""
    return Corpus.from_text(words(BYTES_PER_STEP * steps))


async def intervals_of(spheres: int, corpus: Corpus, steps: int, warm: int, out: Path) -> list[float]:
    """Milliseconds from each step's end to that of the next, without the first ones.

    Args:
        spheres: of the tree.
        corpus: `text_of` all steps.
        steps: that count.
        warm: steps before them.
        out: run folder, which must not be there: each step writes its line of metrics.
    """
    train = TrainConfig(
        spheres=spheres, epochs=1, steps=steps + warm, batch_size=BATCH, val_fraction=0.0, save_every_s=0.0
    )
    with mock.patch.object(prepare, "ShardWork", EmptyWork):
        async with Trainer(MODEL, train, corpus, out=out) as trainer:
            assert trainer.steps == steps + warm, f"the text has {trainer.steps} steps, not {steps + warm}"
            ends_s = [time.perf_counter() async for event in trainer.events() if isinstance(event, StepDone)]
    return [(end - begin) * 1e3 for begin, end in zip(ends_s[warm - 1 :], ends_s[warm:], strict=False)]
