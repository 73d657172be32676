"""Training in a program of one's own, in which a job of sphere-1 waits for a lock that nobody gives back."""

from __future__ import annotations

import asyncio
import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalline.data import Corpus
from crystalline.errors import TrainingError
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, Trainer
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from crystalline.training.messages import ComputeShards

FIRST_SHARD, STEP = 4, 5  # of twelve shards, which three spheres share: sphere-1 has 4 to 7
lock = threading.Lock()
whole = ShardWork.compute


@functools.wraps(whole)  # in a trace it has the name of what it stands for
def compute_behind_a_lock(work: ShardWork, token: Any, weights: Any, request: ComputeShards) -> Sums:
    if (request.lo, request.step) == (FIRST_SHARD, STEP):
        lock.acquire()  # and never released: the next life of the sphere will wait for it
    return whole(work, token, weights, request)


ShardWork.compute = compute_behind_a_lock  # type: ignore[method-assign]  # that is what hangs


async def main() -> None:
    model = ModelConfig(dim=16, layers=1, heads=2, vocab_size=300, seq_len=16)
    settings = TrainConfig(epochs=1, batch_size=24, spheres=3, job_timeout_s=1.0)
    corpus = Corpus.from_paths([Path("notes.txt")])
    lock.acquire()
    async with Trainer(model, settings, corpus, trace=Path("hang.trace")) as trainer:
        try:
            await trainer.fit()
        except TrainingError as error:
            print(f"TrainingError: {error}")
            print(*getattr(error, "__notes__", ()), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
