"""Questions about a recorded run: functions from a `Trace` to an answer, for people and for programs."""

from actors.tracing.answers.critical import CriticalPath, critical
from actors.tracing.answers.diff import Difference, diff
from actors.tracing.answers.stuck import Stuck, stuck
from actors.tracing.answers.summary import Summary, summarise
from actors.tracing.answers.why import Why, why

__all__ = [
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
]
