"""From what a system was told about its trace to the tracer that does it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from actors.tracing.file import TraceFile
from actors.tracing.options import TraceOptions
from actors.tracing.payloads import pack_arguments, pack_payload
from actors.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TraceLike", "open_tracer"]

# None or False for no trace, True for memory alone, a path for a file as well.
TraceLike: TypeAlias = "Path | str | bool | TraceOptions | Tracer | None"


def open_tracer(clock: Callable[[], float], *, trace: TraceLike, real: bool) -> Tracer | None:
    """Return what keeps the events, None when nobody wants them.

    Args:
        clock: of the events, in seconds.
        trace: what is wanted.
        real: whether the clock is one of the real world, so that the time of day can be told from it.

    Raises:
        FileExistsError: there is a file that is no trace.
        OSError: the file cannot be written.
    """
    if trace is None or isinstance(trace, Tracer):
        return trace
    if isinstance(trace, bool):
        return Tracer(clock) if trace else None
    options = trace if isinstance(trace, TraceOptions) else TraceOptions(path=trace)
    file = None
    if options.path is not None:
        clock_s = clock() if real else None
        file = TraceFile(
            Path(options.path),
            bytes_max=options.bytes_max,
            clock_s=clock_s,
            level=options.level,
            sample=options.sample,
        )
    if options.payloads == "none":
        return Tracer(clock, file=file, options=options)
    return Tracer(
        clock,
        file=file,
        options=options,
        pack=functools.partial(pack_payload, mode=options.payloads),
        pack_arguments=functools.partial(pack_arguments, mode=options.payloads),
    )
