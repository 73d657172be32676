"""Traces as commands open them: where they are, what is damaged, how long it takes, and how it ends."""

from __future__ import annotations

import functools
import gc
import json as json_format
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import typer

from actors import ProtocolError
from actors.tracing import Trace, TraceQueryError
from crystalline.cli.long import INTERRUPTED
from crystalline.cli.models import working
from crystalline.cli.output import put_out
from crystalline.cli.tables import printable
from crystalline.errors import InputError, RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["SUFFIX", "Answer", "leaving_reader", "place_of", "print_answer", "reading"]

SUFFIX: Final = ".trace"
"""What the name of a trace ends with, where it is looked for."""

_REMEDY: Final = "name a file that `crystalline train --trace FILE` wrote"


def place_of(path: Path) -> Path:
    """Where the trace is that a path stands for.

    Args:
        path: of a trace; or of a folder, such as a run's, which has one trace in it (`*.trace`), or beside it
            and called as the folder is. A run has no folder before its first checkpoint.

    Raises:
        InputError: there is none there, or there are several.
    """
    beside = path.absolute().with_name(f"{path.absolute().name}{SUFFIX}")
    if path.is_dir():
        inside = sorted(each for each in path.glob(f"*{SUFFIX}") if each.is_file())
        found = inside or ([beside] if beside.is_file() else [])
        if not found:
            raise RunFolderError(f"{path} has no trace in it or beside it (*{SUFFIX}): {_REMEDY}")
        if len(found) > 1:
            raise RunFolderError(f"{path} has {len(found)} traces, such as {found[0]}: name one of them")
        return found[0]
    if not path.exists() and beside.is_file():
        return beside
    if not path.exists():
        raise InputError(f"{path} does not exist: {_REMEDY}")
    if not path.is_file():
        raise InputError(f"{path} is not a file: {_REMEDY}")
    return path


@contextmanager
def reading(*paths: Path) -> Iterator[list[Trace]]:
    """Open traces, and ask them inside: with a bar on a terminal, and a clean end when a signal comes.

    What is wrong with a file that can be read in part is said on standard error.

    Args:
        paths: as for `place_of`.

    Raises:
        InputError: one of them is no trace, or has not what was asked for.
        typer.Exit: a signal came.
    """
    notes: list[str] = []
    try:
        with _interruptible(), working() as show, _telling(), _uncollected():
            places = [place_of(path) for path in paths]
            doing = f"reading {', '.join(place.name for place in places)}"
            show(doing, 0.0)
            traces = [Trace.open(place) for place in places]
            for trace in traces:
                trace.on_read = functools.partial(show, doing)
            notes += _notes(zip(places, traces, strict=True))
            yield traces
    finally:
        for note in notes:
            typer.echo(printable(note), err=True)


def _notes(opened: Iterable[tuple[Path, Trace]]) -> Iterator[str]:
    for path, trace in opened:
        if trace.damage:
            # One that was cut off is what a killed process leaves: nothing that it had written is lost.
            yield f"{'note' if trace.cut_off else 'warning'}: {trace.damage}"
        elif not trace.complete:
            how = "goes on" if trace.live else "was killed, or goes on elsewhere"
            yield f"note: {path} lacks the end of the run: its process {how}{_age(trace)}"
        if trace.partial:
            only = f"the level {trace.level}" if trace.level != "messages" else ""
            share = f"{trace.sample:.3g} of what came from outside" if trace.sample < 1 else ""
            yield f"note: {path} was told to keep only {' and '.join(filter(None, (only, share)))}"
        if trace.rotated:
            yield f"note: {path} has a gap behind its beginning: what was there was removed to save room"


def _age(trace: Trace) -> str:
    """How long ago its last event was, where that can be known: a run that hangs has none."""
    if not (trace.wall_s and trace.end_s):
        return ""
    return f"; its last event is {max(0.0, time.time() - trace.wall_s - trace.end_s):,.1f} s old"


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no cycles of garbage meanwhile: there are none, and among millions of events it takes long."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except (ProtocolError, TraceQueryError) as error:
        raise InputError(str(error)) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal be an exception inside, so that what was begun is removed; a second one ends at once."""

    def leave(number: int, _frame: object) -> NoReturn:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda again, _: os._exit(128 + again))
        raise KeyboardInterrupt(number)

    with ExitStack() as before:
        for each in (signal.SIGINT, signal.SIGTERM):
            before.callback(signal.signal, each, signal.signal(each, leave))
        try:
            yield
        except KeyboardInterrupt as stop:
            typer.echo(INTERRUPTED, err=True)
            raise typer.Exit(128 + stop.args[0]) from None


class Answer(Protocol):
    """What an analysis has found."""

    def lines(self) -> list[str]:
        """For people, the most important first."""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""


def print_answer(answer: Answer, *, json: bool) -> None:
    """Print what was found, for people or as one JSON object.

    Raises:
        OSError: standard output cannot be written.
    """
    lines = [json_format.dumps(answer.as_dict(), allow_nan=False)] if json else answer.lines()
    with leaving_reader():
        put_out("\n".join(map(printable, lines)))


@contextmanager
def leaving_reader() -> Iterator[None]:
    """Let a reader of standard output go away: one such as `head` has read enough."""
    try:
        yield
    except BrokenPipeError:
        # What the stream still holds would be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
