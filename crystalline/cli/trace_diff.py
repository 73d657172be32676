"""`crystalline trace diff`: where two recorded runs first part."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated

import typer

from actors import tracing
from crystalline.cli.trace import Json  # noqa: TC001  (the same)
from crystalline.cli.trace_opened import print_answer, reading
from crystalline.training import MEASURED

__all__ = ["diff"]


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A trace, or the folder of a run that has one.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one, of a run with the same seed.")],
    *,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD",
            help="A field of messages that may differ, or `TAG.FIELD`; may be given several times.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Find where two runs first part.

    Times, and whose message came first, do not count. What is in the messages is compared if both runs were
    recorded with --trace-payloads; seconds that were measured, and names of folders, do not count there.

    Exit code 0: they are the same; 1: they part; 2: one of them cannot be read.
    """
    with reading(one, other) as (first, second):
        answer = tracing.diff(first, second, ignore=MEASURED | set(ignore or ()))
    print_answer(answer, json=json)
    if not answer.same:
        raise typer.Exit(1)
