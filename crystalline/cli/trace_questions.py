"""`crystalline trace summary`, `why`, `critical`, `stuck`, `diff`: questions that are answered in words."""

from __future__ import annotations

import json as json_format
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import Annotated, Any, Protocol

import typer

from actors import tracing
from crystalline.cli.trace import File, Json  # noqa: TC001  (the same)
from crystalline.cli.trace_opened import print_lines, reading

__all__ = ["critical", "diff", "stuck", "summary", "why"]


class _Answer(Protocol):
    """What an analysis finds."""

    def lines(self) -> list[str]:
        """For people, the most important first."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""


def _print(answer: _Answer, *, json: bool) -> None:
    print_lines([json_format.dumps(answer.as_dict(), allow_nan=False)] if json else answer.lines())


def summary(file: File, *, json: Json = False) -> None:
    """Say who was busy, who waited, and what went wrong.

    What stands out comes first. Then messages and their rates, queues, the times of handlers and jobs, how
    each actor spent its time, and the longest waits.
    """
    with reading(file) as (trace,):
        answer = tracing.summarise(trace)
    _print(answer, json=json)


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
    _print(answer, json=json)


def critical(
    file: File,
    *,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", help="Of this epoch.", show_default="the longest one")
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
    _print(answer, json=json)


def stuck(file: File, *, json: Json = False) -> None:
    """Show every wait that was open at the end, as a tree.

    The oldest comes first. Below each stands what it waits for in its turn, down to whoever waits for nobody.
    """
    with reading(file) as (trace,):
        answer = tracing.stuck(trace)
    _print(answer, json=json)


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A trace, or the folder of a run that has one.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one, of a run with the same seed.")],
    *,
    json: Json = False,
) -> None:
    """Find where two runs first part.

    Times and orders that may differ from run to run do not count. What the messages held is compared if both
    runs were recorded with --trace-payloads.

    Exit code 0: they are the same; 1: they part; 2: one of them cannot be read.
    """
    with reading(one, other) as (first, second):
        answer = tracing.diff(first, second)
    _print(answer, json=json)
    if answer.parted:
        raise typer.Exit(1)
