"""Steps whose jobs compute nothing: what is left is messages, threads, bookkeeping and metrics."""

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

    from actors import JobToken
    from crystalline.training.messages import (
        ApplySlices,
        ComputeShards,
        EvaluateShards,
        NodeSum,
        ReduceSlices,
    )

__all__ = ["EmptyWork", "intervals_of"]

MODEL: Final = ModelConfig(vocab_size=290, dim=2, layers=1, heads=1, ffn_dim=2, seq_len=16)
SLICES: Final = 28
"""As many as at headline sizes, so that every sphere has some of the update."""
BATCH: Final = 36

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


async def intervals_of(spheres: int, steps: int, warm: int) -> list[float]:
    """Milliseconds from each step's end to that of the next, without the first ones."""
    train = TrainConfig(
        spheres=spheres, epochs=1000, steps=steps + warm, batch_size=BATCH, val_fraction=0.0, save_every_s=0.0
    )
    corpus = Corpus.from_text(words(60_000))
    with mock.patch.object(prepare, "ShardWork", EmptyWork):
        async with Trainer(MODEL, train, corpus) as trainer:
            ends_s = [time.perf_counter() async for event in trainer.events() if isinstance(event, StepDone)]
    return [(end - begin) * 1e3 for begin, end in zip(ends_s[warm - 1 :], ends_s[warm:], strict=False)]
