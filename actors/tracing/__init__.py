"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.events import EVENT_KINDS, TraceEvent, TraceQueryError
from actors.tracing.file import TraceFile
from actors.tracing.opening import TraceLike, open_tracer
from actors.tracing.options import TraceOptions
from actors.tracing.otel import write_otel
from actors.tracing.payloads import ArrayDigest, Fields, Payload, pack_arguments, pack_payload, read_payload
from actors.tracing.reading import Trace, read_trace
from actors.tracing.sequence import sequence
from actors.tracing.spans import Spans, spans
from actors.tracing.timeline import timeline, write_timeline
from actors.tracing.tracer import Sink, Tracer
from actors.tracing.usage import JobTimes, Usage, usage

__all__ = [
    "EVENT_KINDS",
    "ArrayDigest",
    "Fields",
    "JobTimes",
    "Payload",
    "Sink",
    "Spans",
    "Trace",
    "TraceEvent",
    "TraceFile",
    "TraceLike",
    "TraceOptions",
    "TraceQueryError",
    "Tracer",
    "Usage",
    "open_tracer",
    "pack_arguments",
    "pack_payload",
    "read_payload",
    "read_trace",
    "sequence",
    "spans",
    "timeline",
    "usage",
    "write_otel",
    "write_timeline",
]
