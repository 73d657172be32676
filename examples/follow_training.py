"""Train a model, and have it talk meanwhile: a generator follows the checkpoints of the run beside it.

Both live in one program and one actor system. Each time there are newer weights the same prompt is continued
with the same seed: at first scraps between line ends, then, slowly, what looks like words. A request that
runs while the weights change ends with those that it began with.

python examples/follow_training.py
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from crystalline.data import Corpus
from crystalline.inference import Generator, SamplingOptions, TextModel
from crystalline.model import ModelConfig
from crystalline.training import Saved, TrainConfig, Trainer

PROMPT = "The actor "
CAREFUL = SamplingOptions(temperature=0.5)


async def say(generator: Generator) -> None:
    """Have the prompt continued, and print by which weights, and how."""
    answer = await generator.complete(PROMPT, tokens=24, options=CAREFUL, seed=1, overflow="slide")
    print(f"{answer.weights or 'the first of all':>16}: {PROMPT + answer.text!r}")


async def main() -> None:
    config = ModelConfig(vocab_size=512, dim=32, layers=2, heads=4, seq_len=32)
    settings = TrainConfig(spheres=2, steps=600, batch_size=24, lr=5e-3, warmup=10, save_every=150)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        async with Trainer(config, settings, Corpus.builtin(), out=run) as trainer:
            await talk_about(trainer, run)


async def talk_about(trainer: Trainer, run: Path) -> None:
    """Train, and have a generator speak whenever there are newer weights."""
    async with AsyncExitStack() as stack:
        generator: Generator | None = None
        async for event in trainer.events():
            if not isinstance(event, Saved):
                continue
            if generator is None:  # there is a model now
                model = await asyncio.to_thread(TextModel.load, run)
                generator = await stack.enter_async_context(
                    Generator(model, system=trainer.system, follow=run, follow_s=0.05, backend="numpy")
                )
            await follows(generator, Path(event.folder).name)
            await say(generator)
        report = await trainer.fit()  # the run is over: this only hands out its report
        said = generator.statistics().tokens if generator is not None else 0
        print(f"{report.steps} steps were trained, and {said} tokens said meanwhile")


async def follows(generator: Generator, checkpoint: str) -> None:
    """Return when new requests are answered with this checkpoint, or with a newer one."""
    async with asyncio.timeout(20.0):
        for _ in itertools.count():
            if generator.weights >= checkpoint:
                return
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
