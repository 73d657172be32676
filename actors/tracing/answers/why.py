"""Why: the chain of causes in words, from a symptom to its root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.answers.causes import chain
from actors.tracing.answers.evidence import Evidence
from actors.tracing.answers.hints import hints_for
from actors.tracing.answers.symptoms import find
from actors.tracing.answers.words import event_dict, message_name, tell_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actors.tracing.answers.hints import Hint
    from actors.tracing.answers.links import Below, Link
    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["Asked", "Why", "why"]

# A sentence of more clauses than this loses those in the middle; the links have them all.
CLAUSES_MAX: Final = 5
ASKED_MAX: Final = 32
EVENT_CHARS_MAX: Final = 400
BEGINNINGS: Final = frozenset({"send", "receive", "wait", "job", "start"})


@dataclass(frozen=True, slots=True)
class Asked:
    """On whose behalf something was done: one message on the way up.

    Attributes:
        msg_id: its number.
        type: its tag.
        sender: who sent it.
        receiver: to whom.
        event: its `send`, None when that is older than the trace.
    """

    msg_id: int
    type: str
    sender: str
    receiver: str
    event: TraceEvent | None


@dataclass(frozen=True, slots=True)
class Why:
    """The answer to "why".

    Attributes:
        symptom: what was asked about.
        links: from the symptom to its root.
        asked: from the symptom up to the message from outside, the nearest first.
        hints: what is known of such a pattern.
        evidence: the events that show it, in the order of their times.
        begin_s: the time from which those are counted for people.
    """

    symptom: str
    links: tuple[Link, ...]
    asked: tuple[Asked, ...]
    hints: tuple[Hint, ...]
    evidence: tuple[TraceEvent, ...]
    begin_s: float

    @property
    def root(self) -> Link:
        """What everything else follows from."""
        return self.links[-1]

    @property
    def sentence(self) -> str:
        """The whole chain."""
        clauses = [
            _clause(link, before) for link, before in zip(self.links, (None, *self.links), strict=False)
        ]
        if len(clauses) > CLAUSES_MAX:
            left_out = len(clauses) - CLAUSES_MAX + 1
            clauses = [*clauses[:2], f"of {left_out} more links below", *clauses[2 + left_out :]]
        return " because ".join(clauses)

    def lines(self) -> list[str]:
        """The sentence, hints, on whose behalf it was, then the links if they are many, and the events."""
        lines = [self.sentence, *(f"hint: {hint.text}" for hint in self.hints)]
        lines += [_asked_words(self.asked)] if self.asked else []
        if len(self.links) > CLAUSES_MAX:
            lines += ["the links:", *(f"  {n}. {link.text}" for n, link in enumerate(self.links, 1))]
        events = [event._replace(time_s=event.time_s - self.begin_s) for event in self.evidence]
        lines += ["the events, in seconds from the beginning of the trace:"] * bool(events)
        return [*lines, *(tell_event(event).partition("\n")[0][:EVENT_CHARS_MAX] for event in events)]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs; times are those of the trace."""
        return {
            "symptom": self.symptom,
            "sentence": self.sentence,
            "root": _link_dict(self.root),
            "links": [_link_dict(link) for link in self.links],
            "asked": [
                {
                    "msg_id": asked.msg_id,
                    "type": asked.type,
                    "sender": asked.sender,
                    "receiver": asked.receiver,
                    "event": event_dict(asked.event),
                }
                for asked in self.asked
            ],
            "hints": [{"name": hint.name, "text": hint.text} for hint in self.hints],
            "evidence": [event_dict(event) for event in self.evidence],
        }


def _clause(link: Link, before: Link | None) -> str:
    """A link in words; `it` is whom the one before was about."""
    same = before is not None and before.actor == link.actor and before.text.startswith(link.actor)
    return (
        f"it{link.text.removeprefix(link.actor)}"
        if same and link.text.startswith(f"{link.actor} ")
        else link.text
    )


def why(trace: Trace, symptom: str) -> Why:
    """The chain of causes from a symptom to its root.

    Only the parts of a file are read that are around the chain. What lies further apart than some ten
    thousand events, and what the trace has lost, is not found; the chain ends there.

    Args:
        trace: of the run.
        symptom: number of a message (`41` or `#41`); path of an actor or the end of it, which asks about its
            last trouble or, when it has none, about what it does at the end; class of an error or part of its
            text, which asks about the newest.

    Raises:
        TraceQueryError: the trace has no such thing; the text says what there is.
    """
    evidence = Evidence(trace)
    below = find(evidence, symptom)
    links = tuple(chain(evidence, below))
    asked = tuple(_asked(evidence, _handled(evidence, below, links)))
    hints = hints_for(evidence, links)
    return Why(symptom, links, asked, hints, _events(evidence, links, asked), trace.begin_s)


def _events(evidence: Evidence, links: Sequence[Link], asked: Sequence[Asked]) -> tuple[TraceEvent, ...]:
    """The events of the links and of the messages in them, the oldest first."""
    events: list[TraceEvent | None] = [each.event for each in reversed(asked)]
    for link in reversed(links):
        message = evidence.message(link.msg_id)
        events += [message.send, message.receive, link.event]
    return tuple(sorted(filter(None, dict.fromkeys(events)), key=_place))


def _place(event: TraceEvent) -> tuple[float, bool, int]:
    """Where an event belongs among others of its time: what causes before what it causes, then the ends."""
    number = event.msg_id or event.wait_id or event.cause_id
    begins = event.kind in BEGINNINGS
    return event.time_s, not begins, number if begins else -number


def _handled(evidence: Evidence, below: Below, links: Sequence[Link]) -> int:
    """The message that was being handled when a symptom showed, 0 for none."""
    event = below.event
    if event is None:
        last = evidence.handling(below.at, below.actor)
        return last.msg_id if last is not None and last.kind == "receive" else 0
    if event.kind == "end":
        return next((link.msg_id for link in links[:2] if link.kind in {"failed", "refused"}), 0)
    if event.kind in {"wait", "wait_end", "refuse", "full"}:  # what these are about is below
        return event.cause_id
    return event.msg_id or event.cause_id


def _asked(evidence: Evidence, number: int) -> Iterator[Asked]:
    """A message and those above it, up to one from outside."""
    seen: set[int] = set()
    while number not in seen and len(seen) < ASKED_MAX and (message := evidence.message(number)).known:
        seen.add(number)
        if not (message.sender and message.receiver):
            return
        yield Asked(number, message.tag, message.sender, message.receiver, message.send)
        number = message.send.cause_id if message.send is not None else 0


def _asked_words(asked: Sequence[Asked]) -> str:
    """Who wanted it, from the nearest up."""
    clauses = [
        f"{message_name(each.msg_id, each.type)} from {each.sender} to {each.receiver}" for each in asked
    ]
    return "on behalf of " + ", sent while handling ".join(clauses)


def _link_dict(link: Link) -> dict[str, Any]:
    return {
        "text": link.text,
        "kind": link.kind,
        "actor": link.actor,
        "msg_id": link.msg_id,
        "type": link.type,
        "event": event_dict(link.event),
    }
