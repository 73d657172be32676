"""How fast a real training is, on the machine as it is."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crystalline.bench.flops import training_flops
from crystalline.training import StepDone, TrainConfig, Trainer

if TYPE_CHECKING:
    from crystalline.bench.sizes import BenchSizes
    from crystalline.data import Corpus

__all__ = ["Speed", "speed_of"]

_STEPS_MIN, _STEPS_MAX = 2, 200
# Buffers are allocated in the first step.
_WARM: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What was measured at one model's sizes.

    Attributes:
        name: of the sizes.
        spheres: that trained.
        parameters: of the model.
        steps: that counted.
        tokens_per_s: median over these steps.
        flops_per_token: operations of matrix products that a token needs.
    """

    name: str
    spheres: int
    parameters: int
    steps: int
    tokens_per_s: float
    flops_per_token: float

    @property
    def gflops(self) -> float:
        """Useful operations per second, in units of 1e9."""
        return self.tokens_per_s * self.flops_per_token / 1e9


async def speed_of(name: str, sizes: BenchSizes, corpus: Corpus, *, spheres: int, seconds: float) -> Speed:
    """Train for a while and tell how fast that was. Keeps no files but the tokens of the text.

    Cancelling it ends the training, as leaving a `Trainer` does.

    Args:
        name: what to call the sizes.
        sizes: what to train.
        corpus: the text.
        spheres: how many train.
        seconds: after which no step is begun; two steps are waited for in any case.

    Raises:
        InputError: the machine has too little memory, or the text is too short.
    """
    train = TrainConfig(
        spheres=spheres,
        batch_size=sizes.batch_size,
        epochs=_STEPS_MAX,
        steps=_STEPS_MAX,
        val_fraction=0.0,
    )
    rates: list[float] = []
    async with Trainer(sizes.model, train, corpus) as trainer:
        begun_s = time.monotonic()
        async for event in trainer.events():
            if not isinstance(event, StepDone) or event.step <= _WARM:
                continue
            rates.append(event.tokens / event.seconds)
            if len(rates) >= _STEPS_MIN and time.monotonic() - begun_s >= seconds:
                await trainer.stop()
        config = trainer.model_config
    return Speed(
        name=name,
        spheres=spheres,
        parameters=config.parameter_count(),
        steps=len(rates),
        tokens_per_s=statistics.median(rates),
        flops_per_token=training_flops(config),
    )
