"""`crystalline trace`: the group, and the arguments that its commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crystalline.cli.output import put_out

__all__ = ["File", "Force", "Json", "Out", "trace"]

File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A trace, or the folder of a run that has one in it or beside it.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
Out = Annotated[
    Path, typer.Option(metavar="FILE", help="Where to write it; `-` is standard output.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file in --out.")]


def trace(ctx: typer.Context) -> None:
    """Look into a recorded run: what was slow, stuck, lost, and why.

    A trace is what `crystalline train --trace FILE` records, or `ActorSystem(trace=FILE)` in a program. It
    can be read while it is being written, and after the process was killed.

    The file may come first: `crystalline trace FILE why X`. Alone it is summarised.
    """
    if ctx.invoked_subcommand is None:
        put_out(ctx.get_help())
