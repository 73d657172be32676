"""Events with causes: a ring buffer in memory and, if wanted, a file (law 10)."""

from actors.tracing.critical import CriticalPath, critical
from actors.tracing.diff import Difference, diff
from actors.tracing.events import EVENT_KINDS, TraceEvent, TraceQueryError
from actors.tracing.file import TraceFile
from actors.tracing.html import write_html
from actors.tracing.opening import TraceLike, open_tracer
from actors.tracing.options import TraceOptions
from actors.tracing.otel import write_otel
from actors.tracing.payloads import ArrayDigest, Fields, Payload, pack_arguments, pack_payload, read_payload
from actors.tracing.reading import Trace, read_trace
from actors.tracing.sequence import sequence
from actors.tracing.spans import Spans, spans
from actors.tracing.stuck import Stuck, stuck
from actors.tracing.summary import Summary, summarise
from actors.tracing.timeline import timeline, write_timeline
from actors.tracing.tracer import Sink, Tracer
from actors.tracing.usage import JobTimes, Usage, usage
from actors.tracing.why import Why, why

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
