"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.events import EVENT_KINDS, TraceEvent, Tracer
from actors.tracing.file import TraceFile, read_trace
from actors.tracing.usage import JobTimes, Usage, usage

__all__ = [
    "EVENT_KINDS",
    "JobTimes",
    "TraceEvent",
    "TraceFile",
    "Tracer",
    "Usage",
    "read_trace",
    "usage",
]
