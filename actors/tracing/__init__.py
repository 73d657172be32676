"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.events import EVENT_KINDS, TraceEvent, Tracer
from actors.tracing.file import TraceFile, read_trace

__all__ = ["EVENT_KINDS", "TraceEvent", "TraceFile", "Tracer", "read_trace"]
