"""A run, told in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.tracing.answers.words import tell_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.tracing import TraceEvent

__all__ = ["tell", "tell_event"]

EVENTS_MAX: Final = 120


def tell(run: str, problems: Iterable[str], events: list[TraceEvent]) -> str:
    """The problems of a run with this name, and the last of the events that led to them."""
    lines = [f"{run}:", *(f"  - {problem}" for problem in problems), "what happened:"]
    if len(events) > EVENTS_MAX:
        lines.append(f"  ... {len(events) - EVENTS_MAX} events before")
    return "\n".join([*lines, *(tell_event(event) for event in events[-EVENTS_MAX:])])
