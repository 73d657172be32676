"""One process of ours that reads a prompt and goes on with it: how long its steps take.

usage: python tests/benchmarks/generation/ours.py MODEL [--weights float32|int8] [--threads N] [work]

Prints one JSON object: seconds of each prefill, of each step with one stream and with eight, through the
engine alone; and of whole requests, one and eight at once, through a `Generator`, sampled. Beside them the
bytes of weights that a step reads, and how fast this process read memory right before each step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
from threadpoolctl import threadpool_limits

from crystalline.inference import Engine, Generator, TextModel
from crystalline.inference.crew import Crew
from crystalline.kernels.blas import arithmetic
from tests.benchmarks.generation.work import Work, add_work, work_of
from tests.benchmarks.speed.lifeline import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable


_ARRAY_BYTES: Final = 256 * 1024 * 1024
_ROW: Final = 1024  # entries


class Reading:
    """All threads read memory at once, each its own part: the limit of a step that reads every weight once.

    Args:
        threads: that read.
    """

    def __init__(self, threads: int) -> None:
        floats = _ARRAY_BYTES // 4 // threads
        self._parts = [np.ones(floats // _ROW * _ROW, np.float32).reshape(-1, _ROW) for _ in range(threads)]
        self._x = np.ones(_ROW, np.float32)
        self._results = [np.empty(len(part), np.float32) for part in self._parts]
        self._crew = Crew(threads)

    def gbps(self) -> float:
        """Read everything once; 1e9 bytes a second."""
        return sum(part.nbytes for part in self._parts) / spent_s(lambda: self._crew.run(self._read)) / 1e9

    def _read(self, rank: int) -> None:
        # A product that only reads: one call, and no more than a result a row to write.
        np.dot(self._parts[rank], self._x, out=self._results[rank])


def spent_s(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    begun_s = time.perf_counter()
    call()
    return time.perf_counter() - begun_s


def of_engine(engine: Engine, work: Work, reading: Reading) -> dict[str, list[float]]:
    """Seconds of prefills and steps, and how fast memory was read before each step of one stream."""
    prompt = work.ids(work.prefill)
    engine.prefill(0, prompt)  # what is compiled, and memory that was never used, do not count
    prefill_s = [spent_s(partial(engine.prefill, 0, prompt)) for _ in range(work.prefills)]
    found: dict[str, list[float]] = {"prefill_s": prefill_s, "reading_gbps": []}
    for name, streams in (("one_s", 1), ("eight_s", work.streams)):
        slots = list(range(streams))
        for slot in slots:
            engine.prefill(slot, work.ids(work.prompt))
        seconds = []
        for token in work.ids(work.warm + work.steps):
            if streams == 1:
                found["reading_gbps"].append(reading.gbps())
            seconds.append(spent_s(partial(engine.decode, slots, [token] * streams)))
        found[name] = seconds[work.warm :]
    del found["reading_gbps"][: work.warm]
    return found


async def of_generator(model: TextModel, work: Work, **settings: Any) -> dict[str, float]:
    """Tokens a second of one request, and of all streams together, each drawn."""
    found = {}
    endless = replace(model, text=replace(model.text, end_ids=()))  # every request has all its tokens
    async with Generator(endless, slots=work.streams, context=work.context, **settings) as generator:

        async def request(seed: int) -> int:
            done = await generator.complete(
                work.ids(work.prompt), tokens=work.drawn, seed=seed, deadline_s=600.0
            )
            return len(done.ids)

        await request(0)
        for name, streams in (("one_tokens_per_s", 1), ("eight_tokens_per_s", work.streams)):
            begun_s = time.perf_counter()
            drawn = await asyncio.gather(*(request(seed) for seed in range(streams)))
            found[name] = sum(drawn) / (time.perf_counter() - begun_s)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--weights", choices=("float32", "int8"), default="float32")
    add_work(parser)
    options = parser.parse_args()
    if options.with_parent:
        end_with_parent()
    work, model = work_of(options), TextModel.load(options.model)
    with threadpool_limits(1, user_api="blas"):
        with Engine(
            model.parameters,
            slots=work.streams,
            context=work.context,
            threads=options.threads,
            weights=options.weights,
        ) as engine:
            found: dict[str, Any] = of_engine(engine, work, Reading(options.threads))
            about = {"backend": engine.backend, "weight_bytes": engine.weight_bytes}
        found |= asyncio.run(of_generator(model, work, weights=options.weights, threads=options.threads))
    print(json.dumps({**found, **about, "arithmetic": arithmetic()}))


if __name__ == "__main__":
    main()
