"""Diff: where two runs with the same seed first part.

Two runs of the same work agree in what each actor does for each of those it hears from, not in times, and not
in whose message came first where several send to one. So the events are sorted into *strands* before they are
compared: a strand is what one actor does on behalf of one sender (while it handles that one's messages), in
its order. Numbers of messages and waits, waits and jobs do not count, nor does what a text says in seconds.
What an actor does in response to whichever answer comes first, or after a delay, may part legitimately.

A run in virtual time is the same to the last number; `exact` compares event by event.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.tracing.words import event_dict, tell_event

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["Difference", "Parting", "diff"]

KINDS: Final = ("send", "receive", "reply", "state", "start", "end", "restart", "error", "drop", "refuse")
CONTEXT_EVENTS: Final = 5
SHOWN_ACTORS_MAX: Final = 8
FAILURE_TAG: Final = "actors.failure"
ITSELF: Final = ""
# What a text says in numbers that two runs of the same work do not share.
_TIME: Final = re.compile(r"\b\d+(?:\.\d+)?(?:e-?\d+)? s\b|\bsince \d+(?:\.\d+)?|\bmessage \d+")


class _Strand(NamedTuple):
    """What one actor does on behalf of one sender."""

    actor: str
    sender: str


class _Step(NamedTuple):
    """What counts of an event, and the event."""

    what: tuple[object, ...]
    payload: bytes
    event: TraceEvent
    place: int

    def same(self, other: _Step) -> bool:
        """Whether two runs agree here. Payloads count where both have them."""
        unlike = self.payload and other.payload and self.payload != other.payload
        return self.what == other.what and not unlike


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the runs part.

    Attributes:
        actor: who does something else, or nothing more.
        sender: on whose behalf; empty for the actor itself, `*` when all events are compared as one.
        index: how many events of this strand are the same before it.
        a, b: what the two runs have there; None where one has nothing more.
        context: the last events that both have, as in the first run.
        fields: in what they differ.
    """

    actor: str
    sender: str
    index: int
    a: TraceEvent | None
    b: TraceEvent | None
    context: tuple[TraceEvent, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two runs compare.

    Attributes:
        parting: the first place at which they part, None when they do not.
        partings: how many strands part.
        counts: of each actor's events that were compared, in both runs.
        begin_s: times at which the runs begin.
    """

    parting: Parting | None
    partings: int
    counts: dict[str, tuple[int, int]]
    begin_s: tuple[float, float]

    @property
    def same(self) -> bool:
        """Whether nothing that counts differs."""
        return self.parting is None

    def lines(self) -> list[str]:
        """Where they part, both sides, the events before that, and whose events are not as many."""
        parting = self.parting
        total = sum(a for a, _ in self.counts.values())
        if parting is None:
            return [f"the same: {len(self.counts)} actors, {total} events in each"]
        whom = f" on behalf of {parting.sender}" if parting.sender not in {ITSELF, "*"} else ""
        how = f"in {', '.join(parting.fields)}" if parting.fields else "one has nothing more"
        lines = [
            f"the runs part at {parting.actor}, event {parting.index + 1} of what it does{whom}: {how}",
            f"A: {self._told(parting.a, 0)}",
            f"B: {self._told(parting.b, 1)}",
        ]
        if parting.context:
            lines += ["before that, in both:", *(f"   {self._told(event, 0)}" for event in parting.context)]
        return lines + self._counted()

    def _told(self, event: TraceEvent | None, run: int) -> str:
        if event is None:
            return "nothing more"
        return tell_event(event._replace(time_s=event.time_s - self.begin_s[run])).strip()

    def _counted(self) -> list[str]:
        unlike = [f"   {actor}: {a} and {b}" for actor, (a, b) in self.counts.items() if a != b]
        more = (
            [f"   and {len(unlike) - SHOWN_ACTORS_MAX} actors more"] if len(unlike) > SHOWN_ACTORS_MAX else []
        )
        shown = unlike[:SHOWN_ACTORS_MAX]
        strands = f"{self.partings} strands part in all" if self.partings > 1 else "nothing else parts"
        return [
            strands,
            *(["events of an actor in A and in B, where they are not as many:"] * bool(shown)),
            *shown,
            *more,
        ]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        parting = self.parting
        return {
            "same": self.same,
            "partings": self.partings,
            "counts": {actor: list(counts) for actor, counts in self.counts.items()},
            "first": None if parting is None else {
                "actor": parting.actor,
                "sender": parting.sender,
                "index": parting.index,
                "fields": list(parting.fields),
                "a": event_dict(parting.a),
                "b": event_dict(parting.b),
                "context": [event_dict(event) for event in parting.context],
            },
        }  # fmt: skip


def diff(a: Trace, b: Trace, *, exact: bool = False, ignore: Collection[str] = ()) -> Difference:
    """Where two runs first part: the earliest of the first differences of their strands.

    Compared are, within each strand: kind, life and type of the event, the other actor, the size of a
    message, its payload if both traces have it, and the text of errors and ends without times.

    Args:
        a: the first run.
        b: the second run.
        exact: compare all events with all that is in them one by one, from the first to the last, as of two
            runs in virtual time.
        ignore: tags of messages whose size and payload do not count, because they tell times.
    """
    begin_s = a.begin_s, b.begin_s
    if exact:
        return _exact(a, b)
    mine, theirs = _strands(a, frozenset(ignore)), _strands(b, frozenset(ignore))
    partings = [
        parting
        for strand in dict.fromkeys([*mine, *theirs])
        if (parting := _first(strand, mine.get(strand, []), theirs.get(strand, []), begin_s)) is not None
    ]
    first = min(partings, key=lambda each: each[0])[1] if partings else None
    return Difference(first, len(partings), _counts(mine, theirs), begin_s)


def _exact(a: Trace, b: Trace) -> Difference:
    counts = Counter[str](), Counter[str]()
    latest: list[TraceEvent] = []
    parting = None
    for index, (mine, theirs) in enumerate(itertools.zip_longest(a, b)):
        for event, counter in zip((mine, theirs), counts, strict=True):
            if event is not None:
                counter[event.actor] += 1
        if parting is None and mine != theirs:
            shown = mine or theirs
            actor = shown.actor if shown is not None else ""
            fields = _unlike_fields(mine, theirs)
            parting = Parting(actor, "*", index, mine, theirs, tuple(latest), fields)
        if parting is None and mine is not None:
            latest = [*latest[1 - CONTEXT_EVENTS :], mine]
    both = {actor: (counts[0][actor], counts[1][actor]) for actor in {**counts[0], **counts[1]}}
    return Difference(parting, int(parting is not None), both, (a.begin_s, b.begin_s))


def _unlike_fields(mine: TraceEvent | None, theirs: TraceEvent | None) -> tuple[str, ...]:
    if mine is None or theirs is None:
        return ()
    pairs = zip(mine._fields, mine, theirs, strict=True)
    return tuple(name for name, one, other in pairs if one != other)


def _strands(trace: Trace, ignore: frozenset[str]) -> dict[_Strand, list[_Step]]:
    strands: dict[_Strand, list[_Step]] = {}
    senders: dict[int, str] = {}
    for place, event in enumerate(trace.select(kinds=KINDS)):
        if event.kind == "receive":
            senders[event.msg_id] = event.detail
        # An answer ends what was done for its message, which then needs not be remembered.
        number = event.cause_id or (event.msg_id if event.kind in {"receive", "error", "reply"} else 0)
        strand = _Strand(event.actor, senders.get(number, ITSELF))
        strands.setdefault(strand, []).append(_step(event, place, ignore))
    return strands


def _step(event: TraceEvent, place: int, ignore: frozenset[str]) -> _Step:
    untold = event.type in ignore or event.type == FAILURE_TAG
    detail = event.detail
    if event.kind not in {"send", "receive", "reply", "start"}:
        detail = _TIME.sub("...", detail)
    size = 0 if untold else event.size
    what = event.kind, event.incarnation, event.type, detail, size
    return _Step(what, b"" if untold else event.payload, event, place)


def _first(
    strand: _Strand, mine: Sequence[_Step], theirs: Sequence[_Step], begin_s: tuple[float, float]
) -> tuple[tuple[float, int], Parting] | None:
    """The first difference of one strand, with its place among those of others."""
    pairs = itertools.zip_longest(mine, theirs)
    for index, (a, b) in enumerate(pairs):
        if a is None or b is None or not a.same(b):
            when = min(
                _when(step, begin) for step, begin in zip((a, b), begin_s, strict=True) if step is not None
            )
            context = tuple(step.event for step in mine[max(0, index - CONTEXT_EVENTS) : index])
            events = a and a.event, b and b.event
            return when, Parting(*strand, index, *events, context, _fields(a, b))
    return None


def _when(step: _Step, begin_s: float) -> tuple[float, int]:
    return step.event.time_s - begin_s, step.place


def _fields(a: _Step | None, b: _Step | None) -> tuple[str, ...]:
    if a is None or b is None:
        return ()
    names = "kind", "incarnation", "type", "detail", "size"
    unlike = [name for name, one, other in zip(names, a.what, b.what, strict=True) if one != other]
    return tuple(unlike or ["payload"])


def _counts(
    mine: dict[_Strand, list[_Step]], theirs: dict[_Strand, list[_Step]]
) -> dict[str, tuple[int, int]]:
    counts = Counter[str](), Counter[str]()
    for counter, strands in zip(counts, (mine, theirs), strict=True):
        for strand, steps in strands.items():
            counter[strand.actor] += len(steps)
    return {actor: (counts[0][actor], counts[1][actor]) for actor in {**counts[0], **counts[1]}}
