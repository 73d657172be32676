"""Events in words: how every answer about a trace names things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.tracing.events import TraceEvent

__all__ = ["PHRASES", "clipped", "event_dict", "message_name", "tell_event"]

TEXT_CHARS_MAX: Final = 200

PHRASES: Final[Mapping[str, str]] = {
    "send": "sends {type} to {detail}",
    "receive": "begins with {type} from {detail}",
    "done": "is done with {type}",
    "error": "fails with {type}: {detail}",
    "reply": "answers {detail} with {type}",
    "drop": "has a dead letter, {type}: {detail}",
    "refuse": "is refused {type}: {detail}",
    "full": "finds no room for {type}: {detail}",
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
    "blocked": "has blocked the event loop: {detail}",
}


def tell_event(event: TraceEvent) -> str:
    """One event as a line: when, who, what, and which message was the cause."""
    who = f"{event.actor}#{event.incarnation}" if event.incarnation else event.actor
    phrase = PHRASES.get(event.kind, "{kind} {type} {detail}")
    what = phrase.format(kind=event.kind, type=event.type, detail=event.detail).strip()
    numbers = [f"message {event.msg_id}"] if event.msg_id else []
    numbers += [f"because of {event.cause_id}"] if event.cause_id not in {0, event.msg_id} else []
    return f"{event.time_s:10.3f} s  {who} {what}" + (f"  [{', '.join(numbers)}]" if numbers else "")


def message_name(msg_id: int, tag: str) -> str:
    """A message by its number, with its tag where that is known."""
    return f"message {msg_id} ({tag})" if tag else f"message {msg_id}"


def clipped(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The first line of a text, not longer than that."""
    line = text.partition("\n")[0].strip()
    return line if len(line) <= chars_max else f"{line[: chars_max - 3]}..."


def event_dict(event: TraceEvent | None) -> dict[str, Any] | None:
    """An event for programs, without its payload."""
    if event is None:
        return None
    return {name: value for name, value in event._asdict().items() if name != "payload"}
