"""One run in a process of its own, with its resident memory after every step.

usage: python tests/benchmarks/resident/child.py SIZES SPHERES STEPS OUT RECOMPUTE

OUT is the run folder; empty for a run without files. RECOMPUTE is 1 or 0. Prints one JSON object: bytes
resident when the modules are loaded and when the trainer is open, after each step, and at the most; those
that were planned; the median seconds of a step; and which libraries computed. With 0 steps the text is
prepared, so that another process finds it in the cache. Ends when its standard input does, as it does when
whoever started it has died.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from crystalline.kernels.blas import arithmetic
from crystalline.training import StepDone, Trainer
from crystalline.training.footprint import peak_rss_bytes
from tests.benchmarks.exact.sizes import SIZES
from tests.benchmarks.soaking.memory import resident_kib

if TYPE_CHECKING:
    from tests.benchmarks.exact.sizes import Sizes

_ORPHANED = 3


def resident() -> int:
    """Bytes that are resident now."""
    return int(resident_kib() * 1024)


def end_with_parent() -> None:
    """Return when standard input ends, and end the process."""
    while os.read(0, 1024):
        pass
    os._exit(_ORPHANED)


async def measure(
    sizes: Sizes, spheres: int, steps: int, out: Path | None, *, recompute: bool
) -> dict[str, Any]:
    """Train for so many steps."""
    train = sizes.train(
        spheres=spheres, epochs=1000, steps=max(steps, 1), val_fraction=0.01, recompute=recompute
    )
    gc.collect()
    found: dict[str, Any] = {"interpreter": resident()}
    after_step: list[int] = []
    seconds: list[float] = []
    async with Trainer(sizes.model, train, sizes.corpus(), out=out) as trainer:
        if not steps:
            return found
        found["opened"] = resident()
        async for event in trainer.events():
            if isinstance(event, StepDone):
                after_step.append(resident())
                seconds.append(event.seconds)
                progress(event)
        await trainer.fit()
        planned = asdict(trainer.footprint)
    peak = max(peak_rss_bytes(), *after_step)  # the kernel counts the highest mark only now and then
    return {
        **found,
        "after_step": after_step,
        "peak": peak,
        "planned": planned,
        "step_s": statistics.median(seconds),
        "arithmetic": arithmetic(),
    }


def progress(event: StepDone) -> None:
    """Where it is, for whoever looks on."""
    if sys.stderr.isatty():
        end = "\n" if event.step == event.steps else ""
        print(f"\rstep {event.step} of {event.steps}", end=end, file=sys.stderr)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    sizes, spheres, steps, out, recompute = sys.argv[1:]
    found = measure(
        SIZES[sizes], int(spheres), int(steps), Path(out) if out else None, recompute=recompute == "1"
    )
    print(json.dumps(asyncio.run(found)))


if __name__ == "__main__":
    main()
