"""`crystalline runs`: the group, and the options that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalline.cli.output import put_out

__all__ = ["Json", "Plot", "Smooth", "runs"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Draw the curves into a PNG file; needs crystalline\\[plot]."),
]
Smooth = Annotated[
    int,
    typer.Option(metavar="N", help="Draw each point as the mean of the last N; 1 draws what was recorded."),
]


def runs(ctx: typer.Context) -> None:
    """Look at training runs: list them, show one, compare several.

    A run is a folder that was --out of `crystalline train`. Its metrics.jsonl has a line for every step and
    every epoch, also while the training still goes on.
    """
    if ctx.invoked_subcommand is None:
        put_out(ctx.get_help())
