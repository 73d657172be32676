"""A run, told in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.tracing import TraceEvent

__all__ = ["tell", "tell_event"]

EVENTS_MAX: Final = 120

PHRASES: Final[Mapping[str, str]] = {
    "send": "sends {type} to {detail}",
    "receive": "begins with {type} from {detail}",
    "done": "is done with {type}",
    "reply": "answers {detail} with {type}",
    "drop": "has a dead letter, {type}: {detail}",
    "refuse": "refuses {type}: {detail}",
    "wait": "waits for {type}: {detail}",
    "wait_end": "waits no longer for {type}: {detail}",
    "job": "hands the job {type} over",
    "job_end": "is done with the job {type} {detail}",
    "state": "is now {type} {detail}",
    "start": "starts, a {type}",
    "end": "has ended: {detail}",
    "restart": "will be started again {detail}",
    "watch": "watches {type}",
    "unwatch": "watches {type} no more",
    "snapshot": "leaves {type} to its next life",
    "restore": "gets {type} from the life before",
    "fault": "!! {detail}",
}


def tell_event(event: TraceEvent) -> str:
    """One event as a line: when, who, what, and which message was the cause."""
    who = f"{event.actor}#{event.incarnation}" if event.incarnation else event.actor
    phrase = PHRASES.get(event.kind, f"{event.kind} {{type}} {{detail}}")
    what = phrase.format(type=event.type, detail=event.detail).strip()
    numbers = [f"message {event.msg_id}"] if event.msg_id else []
    numbers += [f"because of {event.cause_id}"] if event.cause_id not in {0, event.msg_id} else []
    return f"{event.time_s:10.3f} s  {who} {what}" + (f"  [{', '.join(numbers)}]" if numbers else "")


def tell(run: str, problems: Iterable[str], events: list[TraceEvent]) -> str:
    """The problems of a run with this name, and the last of the events that led to them."""
    lines = [f"{run}:", *(f"  - {problem}" for problem in problems), "what happened:"]
    if len(events) > EVENTS_MAX:
        lines.append(f"  ... {len(events) - EVENTS_MAX} events before")
    return "\n".join([*lines, *(tell_event(event) for event in events[-EVENTS_MAX:])])
