"""One training of ours, in a process of its own: how long its steps take.

usage: python tests/benchmarks/speed/ours.py [--sizes SIZES] [--spheres N] [--steps N] [--warm N]
           [--trace FILE]

A real `Trainer` on real text, without a run folder and without held-out text; 12 shards. The time of a step
is that from the end of the step before to its own end, as a program hears of them through `events()`: it
includes what lies between steps. Beside it stands what `StepDone` says of the step alone.

Prints one JSON object. The shares of each sphere's time are those of the whole run, the steps of warm-up
included. Exit code 2 when the text is too short for so many steps.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from crystalline.kernels.blas import arithmetic
from crystalline.training import EpochDone, StepDone, Trainer
from tests.benchmarks.speed.child import answer_of
from tests.benchmarks.speed.lifeline import end_with_parent
from tests.benchmarks.speed.sizes import SIZES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.training import SphereTime, TrainReport
    from tests.benchmarks.exact.sizes import Sizes

__all__ = ["measured"]


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a step: when it was heard of, and the messages of the whole system until then."""

    at_s: float
    messages: int
    event: StepDone


class _TooShort(Exception):
    """The text has fewer full batches than steps were asked for."""


def measured(sizes: str, spheres: int, *, steps: int, warm: int, trace: Path | None = None) -> dict[str, Any]:
    """Run this program in a process of its own and return what it found, with a trace if that is wanted.

    Raises:
        ChildError: it failed.
    """
    words = ["--sizes", sizes, "--spheres", str(spheres), "--steps", str(steps), "--warm", str(warm)]
    words += ["--trace", str(trace)] if trace is not None else []
    return answer_of([sys.executable, str(Path(__file__).resolve()), *words, "--with-parent"])


async def train(
    sizes: Sizes, spheres: int, steps: int, warm: int, trace: Path | None = None
) -> dict[str, Any]:
    """Train for `warm` + `steps` steps; the former do not count.

    Raises:
        _TooShort: the text does not have so many.
    """
    settings = sizes.train(spheres=spheres, epochs=1, steps=warm + steps, val_fraction=0.0, save_every_s=0.0)
    ends: list[_End] = []
    usage: tuple[SphereTime, ...] = ()
    async with Trainer(sizes.model, settings, sizes.corpus(), trace=trace) as trainer:
        if trainer.steps < warm + steps:
            raise _TooShort(f"the text has {trainer.steps} steps, not {warm + steps}: choose fewer")
        async for event in trainer.events():
            if isinstance(event, StepDone):
                ends.append(_End(time.perf_counter(), trainer.system.statistics()["messages"], event))
            elif isinstance(event, EpochDone):
                usage = event.spheres
        vocab_size, report = trainer.model_config.vocab_size, await trainer.fit()
    _check_full(ends, sizes)
    return {
        "way": "ours",
        "arithmetic": arithmetic(),
        "vocab_size": vocab_size,
        "parameters": report.parameters,
        "tokens_per_step": sizes.batch_size * sizes.model.seq_len,
        **_figures(ends[warm - 1 :], usage, report),
    }


def _check_full(ends: Sequence[_End], sizes: Sizes) -> None:
    """No step was smaller than the others. One window of a text may be padded.

    Raises:
        _TooShort: one was.
    """
    least = (sizes.batch_size - 1) * sizes.model.seq_len
    if any(end.event.tokens <= least for end in ends):
        raise _TooShort(f"the last batch of the text, step {len(ends)}, is smaller: choose fewer steps")


def _figures(ends: Sequence[_End], usage: Sequence[SphereTime], report: TrainReport) -> dict[str, Any]:
    """What follows from the ends of the last step that does not count and of those that do."""
    return {
        "step_s": [after.at_s - before.at_s for before, after in pairwise(ends)],
        "alone_s": [end.event.seconds for end in ends[1:]],
        "losses": [ends[at].event.loss for at in (1, -1)],
        "spheres": report.spheres,
        "shards": report.shards,
        "messages_per_step": round((ends[-1].messages - ends[0].messages) / (len(ends) - 1), 1),
        "usage": [asdict(sphere) for sphere in usage],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", choices=SIZES, default="headline")
    parser.add_argument("--spheres", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="steps that count, 1 or more")
    parser.add_argument("--warm", type=int, default=2, help="steps before them, 1 or more")
    parser.add_argument("--trace", type=Path, help="file for a trace; none by default")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    options = parser.parse_args()
    if min(options.steps, options.warm) < 1:
        parser.error("choose 1 step or more, and 1 or more of warm-up")
    if options.with_parent:
        end_with_parent()
    try:
        found = asyncio.run(
            train(SIZES[options.sizes], options.spheres, options.steps, options.warm, options.trace)
        )
    except _TooShort as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
