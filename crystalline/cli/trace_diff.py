"""`crystalline trace diff`: where two recorded runs first part."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from actors import tracing
from crystalline.cli.trace import Json  # noqa: TC001  (the same)
from crystalline.cli.trace_opened import print_answer, reading
from crystalline.training import MEASURED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["comparable", "diff", "differing"]

_FIELD: Final = re.compile(r"^(\w+)=(.*)$", flags=re.MULTILINE)  # a repr has no line breaks


def diff(
    one: Annotated[Path, typer.Argument(metavar="A", help="A trace, or the folder of a run that has one.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one, of a run with the same seed.")],
    *,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG.FIELD", help="A field of messages that may differ; may be given several times."
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
        ignored = MEASURED | set(ignore or ())
        found = tracing.diff(comparable(first, ignored), comparable(second, ignored))
    print_answer(_Answer(found), json=json)
    if not found.same:
        raise typer.Exit(1)


class _Answer:
    """A difference, and the fields of the message that differ, as --ignore takes them."""

    def __init__(self, found: tracing.Difference) -> None:
        self._found = found
        parting = found.parting
        self._fields: list[str] = []
        if parting is not None and parting.a is not None and parting.b is not None:
            self._fields = differing(parting.a, parting.b)

    def lines(self) -> list[str]:
        where, *rest = self._found.lines()
        return [where, *([f"they differ in {', '.join(self._fields)}"] if self._fields else []), *rest]

    def as_dict(self) -> dict[str, Any]:
        return {**self._found.as_dict(), "message_fields": self._fields}


def differing(one: tracing.TraceEvent, other: tracing.TraceEvent) -> list[str]:
    """The fields that two `comparable` events do not agree in, each as `tag.field`."""
    if not (one.payload and other.payload) or one.type != other.type:
        return []
    first, second = (dict(_FIELD.findall(event.payload.decode())) for event in (one, other))
    return [f"{one.type}.{name}" for name in first if first[name] != second.get(name)]


def comparable(trace: tracing.Trace, ignored: Collection[str]) -> tracing.Trace:
    """The same events, their payloads such that those which are equal say the same.

    Args:
        trace: as it was recorded; with arrays as hashes or whole, which makes no difference then.
        ignored: fields that do not count, each as `tag.field`.

    Raises:
        ProtocolError: a payload is damaged.
    """
    return tracing.Trace.of(_comparable(trace, frozenset(ignored)))


def _comparable(trace: tracing.Trace, ignored: frozenset[str]) -> Iterator[tracing.TraceEvent]:
    for event in trace:
        if event.payload:
            payload = tracing.read_payload(event.payload)
            values = payload.fields.values.items()
            kept = (f"{name}={value!r}\n" for name, value in values if f"{payload.tag}.{name}" not in ignored)
            yield event._replace(payload="".join(kept).encode(errors="backslashreplace"))
        else:
            yield event
