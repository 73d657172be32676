"""Small training runs for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, Trainer

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.training import Event, TrainReport

MODEL = ModelConfig(vocab_size=290, dim=16, layers=1, heads=2, ffn_dim=32, seq_len=16)
CORPUS = Corpus.from_text(
    "".join(f"the {i * i % 23} quick foxes jump over {i * 7 % 31} lazy dogs.\n" for i in range(80))
)
SKEWED = Corpus.from_text("na" * 2 + " na" * 1500)
SHORT = Corpus.from_text("a text that does not fill a batch of training, but more than one window of it")


def settings(**changes: Any) -> TrainConfig:
    """Settings of a run of two epochs and ten steps on `CORPUS`."""
    usual: dict[str, Any] = {
        "spheres": 2,
        "shards": 12,
        "epochs": 2,
        "steps": None,
        "batch_size": 12,
        "lr": 1e-2,
        "warmup": 2,
        "weight_decay": 0.1,
        "clip": 1.0,
        "val_fraction": 0.1,
        "seed": 0,
        "save_every": 0,
        "epoch_timeout_s": 60.0,
        "job_timeout_s": 30.0,
    }
    return TrainConfig(**{**usual, **changes})


def trainer_of(
    train: TrainConfig, *, model: ModelConfig = MODEL, corpus: Corpus = CORPUS, **options: Any
) -> Trainer:
    """A trainer for a small run."""
    return Trainer(model, train, corpus, **options)


async def report_of(
    train: TrainConfig,
    *,
    model: ModelConfig = MODEL,
    corpus: Corpus = CORPUS,
    out: Path | None = None,
) -> TrainReport:
    """Train to the end."""
    async with Trainer(model, train, corpus, out=out) as trainer:
        return await trainer.fit()


async def events_of(trainer: Trainer) -> list[Event]:
    """Everything that an open trainer tells, to the end of its training."""
    return [event async for event in trainer.events()]


def restarts_of(trainer: Trainer) -> dict[str, int]:
    """Path of every sphere that was restarted -> how often. A child of a restarted sphere begins anew."""
    pending, found = list(trainer.system.tree()), {}
    while pending:
        node = pending.pop()
        pending += node.children
        if node.incarnation > 1:
            found[node.path] = node.incarnation - 1
    return found
