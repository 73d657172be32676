"""A recorded run in the forms of other tools, and as one page."""

from actors.tracing.exports.html import write_html
from actors.tracing.exports.otel import write_otel
from actors.tracing.exports.sequence import sequence
from actors.tracing.exports.spans import Spans, spans
from actors.tracing.exports.timeline import timeline, write_timeline

__all__ = [
    "Spans",
    "sequence",
    "spans",
    "timeline",
    "write_html",
    "write_otel",
    "write_timeline",
]
