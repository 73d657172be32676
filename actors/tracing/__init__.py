"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.events import EVENT_KINDS, TraceEvent, TraceQueryError, Tracer
from actors.tracing.file import TraceFile, read_trace
from actors.tracing.payloads import ArrayDigest, Fields, Payload, pack_arguments, pack_payload, read_payload
from actors.tracing.reading import Trace
from actors.tracing.usage import JobTimes, Usage, usage

__all__ = [
    "EVENT_KINDS",
    "ArrayDigest",
    "Fields",
    "JobTimes",
    "Payload",
    "Trace",
    "TraceEvent",
    "TraceFile",
    "TraceQueryError",
    "Tracer",
    "Usage",
    "pack_arguments",
    "pack_payload",
    "read_payload",
    "read_trace",
    "usage",
]
