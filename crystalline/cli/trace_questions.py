"""`crystalline trace summary`, `why`, `critical`, `stuck`: questions that are answered in words."""

from __future__ import annotations

from typing import Annotated

import typer

from actors import tracing
from crystalline.cli.trace import File, Json  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.trace_opened import print_answer, reading

__all__ = ["critical", "stuck", "summary", "why"]


def summary(file: File, *, json: Json = False) -> None:
    """Say who was busy, who waited, and what went wrong.

    What stands out comes first. Then messages and their rates, queues, the times of handlers and jobs, how
    each actor spent its time, and the longest waits.
    """
    with reading(file) as (trace,):
        answer = tracing.summarise(trace)
    print_answer(answer, json=json)


def why(
    file: File,
    symptom: Annotated[
        str,
        typer.Argument(
            metavar="SYMPTOM",
            help="An actor's path or name, a message's number, an error's name or part of its text.",
        ),
    ],
    *,
    json: Json = False,
) -> None:
    """Tell how something came about, back to its root.

    Each line is one link of the chain of causes: who waited for whom, since when, for how long, and what it
    was doing meanwhile.
    """
    with reading(file) as (trace,):
        answer = tracing.why(trace, symptom)
    print_answer(answer, json=json)


def critical(
    file: File,
    *,
    epoch: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of this epoch.", show_default="the last that ended"),
    ] = None,
    message: Annotated[
        int | None, typer.Option(metavar="N", help="Of the answer to the message of this number.")
    ] = None,
    json: Json = False,
) -> None:
    """Say what would have had to be faster, and what it would gain.

    The critical path leads from the end of an epoch, or of one message, back to its beginning through
    everything that had to be waited for.
    """
    with reading(file) as (trace,):
        answer = tracing.critical(trace, epoch=epoch, message=message)
    print_answer(answer, json=json)


def stuck(file: File, *, json: Json = False) -> None:
    """Show every wait that was open at the end, as a tree.

    The oldest comes first. Below each stands what it waits for in its turn, down to whoever waits for nobody.
    """
    with reading(file) as (trace,):
        answer = tracing.stuck(trace)
    print_answer(answer, json=json)
