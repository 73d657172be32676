"""Whether the default run learns: what `crystalline train` does without options, about two minutes of work.

usage: python tests/benchmarks/default_run.py

The built-in text, the default sizes and settings, a run folder in a temporary place. Prints one JSON object:
losses in nats per token, seconds in all, tokens per second of training. Exit code 1 unless the loss on
held-out text falls in each of three epochs or more, in the first below that of knowing nothing, and ends at
least 1.5 nats below that of the unigram distribution of the training text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import EpochDone, TrainConfig, Trainer

EPOCHS = 3
GOAL_NATS = 1.5


async def measure(out: Path) -> dict[str, object]:
    """Train once with the defaults."""
    begun_s = time.perf_counter()
    async with Trainer(ModelConfig(), TrainConfig(), Corpus.builtin(), out=out) as trainer:
        epochs = [event async for event in trainer.events() if isinstance(event, EpochDone)]
        report, nothing_known = await trainer.fit(), math.log(trainer.model_config.vocab_size)
    losses = [epoch.val_loss for epoch in epochs if epoch.val_loss is not None]
    assert report.unigram_loss is not None, "the defaults hold text out"
    falls = len(losses) >= EPOCHS and all(
        after < before for before, after in pairwise([nothing_known, *losses])
    )
    below = report.unigram_loss - losses[-1]
    return {
        "epochs": report.epochs,
        "val_losses": [round(loss, 4) for loss in losses],
        "unigram_loss": round(report.unigram_loss, 4),
        "nats_below_unigram": round(below, 4),
        "goal_nats": GOAL_NATS,
        "goal_reached": falls and below >= GOAL_NATS,
        "seconds": round(time.perf_counter() - begun_s, 1),
        "tokens_per_s": round(report.tokens_per_s),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = asyncio.run(measure(Path(place, "out")))
    print(json.dumps(found))
    sys.exit(0 if found["goal_reached"] else 1)


if __name__ == "__main__":
    main()
