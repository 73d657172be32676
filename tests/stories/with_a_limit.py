"""The training of `hanging_job.py` in a program of one's own, which gives each job one second."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path

from crystalline.data import Corpus
from crystalline.errors import TrainingError
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, Trainer

import_module("hanging_job")  # that is enough: from now on a job hangs


async def main() -> None:
    model = ModelConfig(dim=16, layers=1, heads=2, vocab_size=300, seq_len=16)
    settings = TrainConfig(epochs=1, batch_size=24, spheres=3, job_timeout_s=1.0)
    corpus = Corpus.from_paths([Path("notes.txt")])
    async with Trainer(model, settings, corpus, trace=Path("limited.trace")) as trainer:
        try:
            await trainer.fit()
        except TrainingError as error:
            print(error, *getattr(error, "__notes__", ()), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
