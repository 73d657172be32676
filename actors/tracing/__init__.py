"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.events import EVENT_KINDS, TraceEvent, TraceQueryError
from actors.tracing.file import TraceFile
from actors.tracing.options import TraceOptions
from actors.tracing.reading import Trace, read_trace
from actors.tracing.tracer import Sink, Tracer
from actors.tracing.usage import JobTimes, Usage, usage

__all__ = [
    "EVENT_KINDS",
    "JobTimes",
    "Sink",
    "Trace",
    "TraceEvent",
    "TraceFile",
    "TraceOptions",
    "TraceQueryError",
    "Tracer",
    "Usage",
    "read_trace",
    "usage",
]
