"""Events with causes (law 10): the record of a run, the questions that it answers, and its other forms."""

import importlib
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.events import EVENT_KINDS, TraceEvent, TraceQueryError
from actors.tracing.file import TraceFile
from actors.tracing.opening import TraceLike, open_tracer
from actors.tracing.options import TraceOptions
from actors.tracing.payloads import ArrayDigest, Fields, Payload, pack_arguments, pack_payload, read_payload
from actors.tracing.reading import Trace, read_trace
from actors.tracing.tracer import Sink, Tracer
from actors.tracing.usage import JobTimes, Usage, usage

if TYPE_CHECKING:
    from actors.tracing.answers.critical import CriticalPath, critical
    from actors.tracing.answers.diff import Difference, diff
    from actors.tracing.answers.stuck import Stuck, stuck
    from actors.tracing.answers.summary import Summary, summarise
    from actors.tracing.answers.why import Why, why
    from actors.tracing.exports.html import write_html
    from actors.tracing.exports.otel import write_otel
    from actors.tracing.exports.sequence import sequence
    from actors.tracing.exports.spans import Spans, spans
    from actors.tracing.exports.timeline import timeline, write_timeline

__all__ = [
    "EVENT_KINDS",
    "ArrayDigest",
    "CriticalPath",
    "Difference",
    "Fields",
    "JobTimes",
    "Payload",
    "Sink",
    "Spans",
    "Stuck",
    "Summary",
    "Trace",
    "TraceEvent",
    "TraceFile",
    "TraceLike",
    "TraceOptions",
    "TraceQueryError",
    "Tracer",
    "Usage",
    "Why",
    "critical",
    "diff",
    "open_tracer",
    "pack_arguments",
    "pack_payload",
    "read_payload",
    "read_trace",
    "sequence",
    "spans",
    "stuck",
    "summarise",
    "timeline",
    "usage",
    "why",
    "write_html",
    "write_otel",
    "write_timeline",
]

# What a program that only runs has no use for is imported when it is asked for.
_LATER: Final = {
    "actors.tracing.answers": {
        "CriticalPath",
        "Difference",
        "Stuck",
        "Summary",
        "Why",
        "critical",
        "diff",
        "stuck",
        "summarise",
        "why",
    },
    "actors.tracing.exports": {
        "Spans",
        "sequence",
        "spans",
        "timeline",
        "write_html",
        "write_otel",
        "write_timeline",
    },
}


def __getattr__(name: str) -> Any:
    for package, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(package), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
