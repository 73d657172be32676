"""What the page of a trace says first: the run in numbers, and what went wrong, alike things together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.tracing.exports.page_columns import Columns
    from actors.tracing.exports.spans import Spans, WaitSpan
    from actors.tracing.reading import Trace

__all__ = ["head_of"]

_GROUPS_MAX: Final = 200
_ITEMS_MAX: Final = 1000
_TEXT_CHARS: Final = 400
_NUMBERS: Final = re.compile(r"\d+(\.\d+)?")

# Kinds of troubles, the gravest first, and what a person calls them.
_MARKS: Final = {
    "error": "error in a handler",
    "blocked": "the event loop was blocked",
    "drop": "dead letter",
    "full": "mailbox full",
    "refuse": "refused",
    "restart": "restart",
    "fault": "fault of a simulation",
}
_FAILED: Final = "a wait failed"
_LEFT: Final = "job left behind"
_GIVEN_UP: Final = "a wait was given up"
_OPEN: Final = "still waiting at the end"
_ORDER: Final = (
    *(_MARKS["error"], _LEFT, _FAILED, _MARKS["blocked"], _MARKS["drop"], _MARKS["full"]),
    *(_MARKS["refuse"], _MARKS["restart"], _MARKS["fault"], _OPEN, _GIVEN_UP),
)


@dataclass(slots=True)
class _Trouble:
    """Troubles that are alike but for the numbers in their texts."""

    what: str
    text: str
    actor: str
    kind: str
    count: int = 0
    items: list[int] = field(default_factory=list)


def head_of(trace: Trace, tables: Columns, title: str) -> dict[str, Any]:
    """What the page needs besides its columns, ready for JSON."""
    found = tables.spans
    troubles = _grouped(found)
    return {
        "title": title,
        "span_s": max(found.end_s - found.begin_s, 0.0),
        "empty": tables.text(""),
        "summary": _summary(found, len(trace), trace.wall_s),
        "warnings": _warnings(trace),
        "troubles": [
            {
                "what": each.what,
                "text": each.text,
                "actor": tables.rows[each.actor],
                "kind": each.kind,
                "items": each.items,
                "count": each.count,
            }
            for each in troubles[:_GROUPS_MAX]
        ],
        "troubles_more": max(0, len(troubles) - _GROUPS_MAX),
    }


def _summary(found: Spans, events: int, wall_s: float) -> list[tuple[str, str]]:
    marks: dict[str, int] = {}
    for mark in found.marks:
        marks[mark.kind] = marks.get(mark.kind, 0) + 1
    asks = sum(message.is_ask for message in found.messages)
    failed = sum(_failed(wait) for wait in found.waits)
    rows = {
        **_begin(found.begin_s, wall_s),
        "length": f"{found.end_s - found.begin_s:.6f} s",
        "events": f"{events:,}",
        "actors": f"{sum(name.startswith('/') for name in found.actors):,}",
        "messages": f"{len(found.messages):,}, {asks:,} of them asks",
        "jobs": f"{len(found.jobs):,}",
        "errors": f"{marks.get('error', 0):,}",
        "failed waits": f"{failed:,}",
        "waits open at the end": f"{sum(wait.end_s is None for wait in found.waits):,}",
        "jobs left behind": f"{sum(job.left_behind for job in found.jobs):,}",
        "dead letters": f"{marks.get('drop', 0):,}",
        "restarts": f"{marks.get('restart', 0):,}",
        "loop blocked": f"{marks.get('blocked', 0):,}",
    }
    return list(rows.items())


def _begin(begin_s: float, wall_s: float) -> dict[str, str]:
    """When the run began: at what time of the day, where that is known, and on the clock of the events."""
    clock = {"on the loop's clock": f"{begin_s:.6f} s"}
    if not wall_s:
        return clock
    return {"begins at": f"{datetime.fromtimestamp(wall_s + begin_s, UTC):%Y-%m-%d %H:%M:%S} UTC"} | clock


def _warnings(trace: Trace) -> list[str]:
    rotated = "The oldest events are not there any more: the trace begins in the middle of the run."
    return [*([rotated] if trace.rotated else []), *([trace.damage] if trace.damage else [])]


def _failed(wait: WaitSpan) -> bool:
    return wait.end_s is not None and wait.outcome not in {"answered", "given up", ""}


def _grouped(found: Spans) -> list[_Trouble]:
    """Troubles that are alike are one, the gravest kinds first, in each the earliest."""
    groups: dict[tuple[str, str], _Trouble] = {}
    for trouble, item in _troubles(found):
        group = groups.setdefault((trouble.what, _NUMBERS.sub("0", trouble.text)), trouble)
        group.count += 1
        if len(group.items) < _ITEMS_MAX:
            group.items.append(item)
    return sorted(groups.values(), key=lambda group: _ORDER.index(group.what))


def _troubles(found: Spans) -> Iterator[tuple[_Trouble, int]]:
    for place, mark in enumerate(found.marks):
        if mark.kind in _MARKS:
            yield _Trouble(_MARKS[mark.kind], _cut(mark.text), mark.actor, "marks"), place
    for place, job in enumerate(found.jobs):
        if job.left_behind:
            yield _Trouble(_LEFT, _cut(f"{job.name}, {job.detail}"), job.actor, "jobs"), place
    for place, wait in enumerate(found.waits):
        what = _FAILED if _failed(wait) else _OPEN if wait.end_s is None else _GIVEN_UP
        if wait.outcome != "answered":
            ended = f": {wait.outcome}" if wait.outcome else ""
            yield _Trouble(what, _cut(f"{wait.target} ({wait.reason}){ended}"), wait.actor, "waits"), place


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]} …"
