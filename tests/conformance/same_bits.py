"""Trains one model in many ways, and compares the hashes of the weights.

usage: python tests/conformance/same_bits.py [--headline] [--spheres 1,2,4] [--steps K] [--json]

Each number of spheres is tried undisturbed, with a sphere killed in the middle of a job in each epoch,
stopped at a random step and resumed from the checkpoint in a new trainer, and both. With `--headline` the
sizes are those of `crystalline train` without options, on the built-in text, for K steps; else they are those
of the tests. The hash to find is that of a plain loop without actors.

Prints a table, or with `--json` one JSON object. The exit code is 1 if a hash differs, or if a sphere was
killed and not started again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig
from tests.helpers.plain_training import train_plainly
from tests.helpers.same_bits import Cell, run_cell
from tests.helpers.training import CORPUS, MODEL, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

SPHERES = (1, 2, 3, 4, 5, 8, 12, 13, 25)
HEADLINE_SPHERES = (1, 2, 4)
HEADLINE_STEPS = 6
SHOWN = 16


class Row(NamedTuple):
    """One way to train, and what it came to; `kills` has an entry an epoch, `stopped` is a step or None."""

    spheres: int
    killed: bool
    resumed: bool
    weights_sha256: str
    kills: list[str]
    stopped: int | None
    epochs: int
    seconds: float

    def ok(self, expected: str) -> bool:
        return self.weights_sha256 == expected and len(self.kills) == (self.epochs if self.killed else 0)


def main(words: list[str] | None = None) -> int:
    """Do what the command line says, or `words` in its place; return the exit code."""
    args = _arguments(words)
    if args.headline:
        model, corpus = ModelConfig(), Corpus.builtin()
        train = TrainConfig(steps=args.steps or HEADLINE_STEPS)
    else:
        model, corpus, train = MODEL, CORPUS, settings(steps=args.steps)
    numbers = args.spheres or (HEADLINE_SPHERES if args.headline else SPHERES)
    expected = train_plainly(model, replace(train, spheres=1), corpus).hashes[-1]
    rows = asyncio.run(_rows(model, train, corpus, numbers))
    ok = all(row.ok(expected) for row in rows)
    if args.json:
        print(json.dumps(_result(model, train, expected, rows, ok=ok)))
    else:
        Console().print(_table(expected, rows))
    return 0 if ok else 1


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--headline", action="store_true", help="the sizes of `crystalline train`")
    parser.add_argument("--spheres", type=_numbers, help="how many, with commas between")
    parser.add_argument("--steps", type=int, help="at most so many optimizer steps")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser.parse_args(words)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


async def _rows(model: ModelConfig, train: TrainConfig, corpus: Corpus, numbers: Sequence[int]) -> list[Row]:
    cells = [Cell(*way) for way in itertools.product(numbers, (False, True), (False, True))]
    return [await _row(model, train, corpus, cell) for cell in cells]


async def _row(model: ModelConfig, train: TrainConfig, corpus: Corpus, cell: Cell) -> Row:
    begun_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = await run_cell(model, train, corpus, cell, Path(folder))
    return Row(
        *cell,
        weights_sha256=found.sha256,
        kills=[f"{path} in {job} of step {step}" for step, job, path in found.kills.values()],
        stopped=found.parts[0].steps if cell.resumed else None,
        epochs=found.parts[-1].epochs,
        seconds=round(time.perf_counter() - begun_s, 1),
    )


def _result(
    model: ModelConfig, train: TrainConfig, expected: str, rows: list[Row], *, ok: bool
) -> dict[str, Any]:
    return {
        "parameters_at_most": model.parameter_count(),
        "batch_size": train.batch_size,
        "plain_loop": expected,
        "hashes": sorted({row.weights_sha256 for row in rows}),
        "ok": ok,
        "runs": [row._asdict() for row in rows],
    }


def _table(expected: str, rows: list[Row]) -> Table:
    table = Table("spheres", "killed", "stopped after step", "weights_sha256", "s")
    table.add_row("plain loop", "", "", expected[:SHOWN], "")
    for row in rows:
        same = "" if row.ok(expected) else "  DIFFERS"
        stopped = "" if row.stopped is None else str(row.stopped)
        sha256 = row.weights_sha256[:SHOWN] + same
        table.add_row(str(row.spheres), "\n".join(row.kills), stopped, sha256, str(row.seconds))
    return table


if __name__ == "__main__":
    sys.exit(main())
