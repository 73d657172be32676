"""Train with a trace that keeps payloads; then have one sphere do its part again, in this plain script.

The trace has what the sphere was sent and what it answered; its weights are computed once more. While nothing
is changed, all gradients have the recorded bits. Then one number of a kernel's result is changed by a
millionth from step 3 on: the replay says at which message that shows first, in which tensor, and by how much.

    python examples/replay_sphere.py
    python examples/replay_sphere.py --debug     and stop in the debugger before that message
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

from actors.tracing import Trace, TraceOptions
from crystalline.data import Corpus
from crystalline.model import ModelConfig, loss_and_gradient
from crystalline.training import TrainConfig, Trainer, replay_sphere, work
from crystalline.training.messages import ComputeShards

CHANGED_FROM = 3
TEXT = Path(__file__).parent.parent / "docs" / "tutorial.md"


async def train(run: Path, trace: Path) -> None:
    config = ModelConfig(vocab_size=512, dim=32, layers=1, heads=4, seq_len=32)
    settings = TrainConfig(spheres=3, steps=5, batch_size=24, val_fraction=0.002)
    options = TraceOptions(trace, payloads="whole")
    async with Trainer(config, settings, Corpus.from_paths([TEXT]), out=run, trace=options) as trainer:
        await trainer.fit()


class ChangedKernel:
    """What `loss_and_gradient` does, but for one number, from a step on."""

    def __init__(self) -> None:
        self.step = 0
        self.first_changed = 0

    def note(self, number: int, message: Any) -> None:
        """Called before each message: where we are."""
        if isinstance(message, ComputeShards):
            self.step = message.step
            if message.step == CHANGED_FROM:
                self.first_changed = number

    def __call__(self, weights: Any, gradient: Any, *args: Any, **options: Any) -> float:
        loss = loss_and_gradient(weights, gradient, *args, **options)
        if self.step >= CHANGED_FROM:
            gradient.flat[1000] *= 1.000001
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description="Record a run, and play one sphere again.")
    parser.add_argument("--debug", action="store_true", help="stop before the message that differs")
    debug = parser.parse_args().debug
    with tempfile.TemporaryDirectory() as folder:
        run, file = Path(folder) / "run", Path(folder) / "run.trace"
        asyncio.run(train(run, file))
        trace = Trace.open(file)
        print(replay_sphere(trace, run, 1))
        kernel = ChangedKernel()
        with patch.object(work, "loss_and_gradient", kernel):
            print(replay_sphere(trace, run, 1, on_message=kernel.note))
            if debug:
                replay_sphere(trace, run, 1, on_message=kernel.note, stop_at=kernel.first_changed)


if __name__ == "__main__":
    main()
