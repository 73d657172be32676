"""Train a model, on this project's own documents, inside a program that has other things to do.

The program counts the ticks of a clock while the model trains beside it in the same event loop, as a web
server would answer requests. At the end it says how late a tick was at the worst.

python examples/embed_training.py
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import EpochDone, TrainConfig, Trainer

TICK_S = 0.005


class Ticker:
    """The other work of this program."""

    def __init__(self) -> None:
        self.ticks = 0
        self.worst_delay_s = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self.ticks += 1
            self.worst_delay_s = max(self.worst_delay_s, loop.time() - due_s)


async def main() -> None:
    corpus = Corpus.from_paths([Path(__file__).parent.parent / "docs"])
    model = ModelConfig(vocab_size=512, dim=32, layers=2, heads=4, seq_len=32)
    settings = TrainConfig(spheres=2, epochs=3, batch_size=24)
    ticker = Ticker()
    async with Trainer(model, settings, corpus, out=None) as trainer:
        ticking = asyncio.create_task(ticker.run())
        async for event in trainer.events():
            if isinstance(event, EpochDone):
                print(f"epoch {event.epoch}: training loss {event.train_loss:.3f}, {ticker.ticks} ticks")
        report = await trainer.fit()  # the run is over: this only hands out its report
        ticking.cancel()
    print(f"{report.steps} steps in {report.wall_s:.1f} s on {report.spheres} spheres")
    print(f"meanwhile {ticker.ticks} ticks, worst delay {1000 * ticker.worst_delay_s:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
