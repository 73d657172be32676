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
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.errors import ProtocolError
from actors.tracing.answers.words import clipped, event_dict, tell_event
from actors.tracing.payloads import Fields, read_payload

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["Difference", "Parting", "Unlike", "diff"]

KINDS: Final = ("send", "receive", "reply", "state", "start", "end", "restart", "error", "drop", "refuse")
CONTEXT_EVENTS: Final = 5
SHOWN_ACTORS_MAX: Final = 8
SHOWN_FIELDS_MAX: Final = 4
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
    size: int
    payload: bytes
    event: TraceEvent
    place: int


class Unlike(NamedTuple):
    """One thing in which two events differ.

    Attributes:
        name: of a field of the event, or of the message in it.
        a, b: what it is in the two runs, as text.
    """

    name: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the runs part.

    Attributes:
        actor: who does something else, or nothing more.
        sender: on whose behalf; empty for the actor itself, `*` when all events are compared as one.
        index: how many events of this strand are the same before it.
        a, b: what the two runs have there; None where one has nothing more.
        context: the last events that both have, as in the first run.
        unlike: in what they differ; empty when one has nothing there.
    """

    actor: str
    sender: str
    index: int
    a: TraceEvent | None
    b: TraceEvent | None
    context: tuple[TraceEvent, ...]
    unlike: tuple[Unlike, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two runs compare.

    Attributes:
        parting: the first place at which they part, None when they do not.
        partings: how many strands part.
        counts: of each actor's events that were compared, in both runs.
        begin_s: times at which the runs begin.
        payloads: whether both traces have what the messages say, so that it was compared.
    """

    parting: Parting | None
    partings: int
    counts: dict[str, tuple[int, int]]
    begin_s: tuple[float, float]
    payloads: bool

    @property
    def same(self) -> bool:
        """Whether nothing that counts differs."""
        return self.parting is None

    def lines(self) -> list[str]:
        """Where they part, both sides, the events before that, and whose events are not as many."""
        parting = self.parting
        total = sum(a for a, _ in self.counts.values())
        if parting is None:
            same = f"the same: {len(self.counts)} actors, {total} events in each"
            unsaid = "what messages say was not compared: a trace with payloads has it"
            return [same] if self.payloads else [same, unsaid]
        whom = f" on behalf of {parting.sender}" if parting.sender not in {ITSELF, "*"} else ""
        names = [each.name for each in parting.unlike]
        more = " and more" if len(names) > SHOWN_FIELDS_MAX else ""
        how = f"in {', '.join(names[:SHOWN_FIELDS_MAX])}{more}" if names else "one goes on"
        lines = [
            f"the runs part at {parting.actor}, event {parting.index + 1} of what it does{whom}: {how}",
            f"A: {self._told(parting.a, 0)}",
            f"B: {self._told(parting.b, 1)}",
        ]
        lines += [
            f"   {each.name}: {clipped(each.a)} in A, {clipped(each.b)} in B"
            for each in parting.unlike[:SHOWN_FIELDS_MAX]
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
            "payloads": self.payloads,
            "counts": {actor: list(counts) for actor, counts in self.counts.items()},
            "first": None if parting is None else {
                "actor": parting.actor,
                "sender": parting.sender,
                "index": parting.index,
                "unlike": [each._asdict() for each in parting.unlike],
                "a": event_dict(parting.a),
                "b": event_dict(parting.b),
                "context": [event_dict(event) for event in parting.context],
            },
        }  # fmt: skip


def diff(a: Trace, b: Trace, *, exact: bool = False, ignore: Collection[str] = ()) -> Difference:
    """Where two runs first part: the earliest of the first differences of their strands.

    Compared are, within each strand: kind, life and type of the event, the other actor, what a message says
    if both traces have it and its size if not, and the text of errors and ends without times.

    Args:
        a: the first run.
        b: the second run.
        exact: compare all events with all that is in them one by one, from the first to the last, as of two
            runs in virtual time.
        ignore: fields of messages that do not count, because they tell times: a field's name, a message's
            tag for all its fields, or both with a dot between them, also as patterns such as `*_s`. The names
            are known of classes that have been imported.
    """
    begin_s = a.begin_s, b.begin_s
    if exact:
        return _exact(a, b)
    ignored = frozenset(ignore)
    mine, theirs = _strands(a, ignored), _strands(b, ignored)
    found = (
        _first(strand, mine.get(strand, []), theirs.get(strand, []), begin_s, ignored)
        for strand in dict.fromkeys([*mine, *theirs])
    )
    partings = [parting for parting in found if parting is not None]
    first = min(partings, key=lambda each: each[0])[1] if partings else None
    payloads = all(_has_payloads(strands) for strands in (mine, theirs))
    return Difference(first, len(partings), _counts(mine, theirs), begin_s, payloads)


def _has_payloads(strands: dict[_Strand, list[_Step]]) -> bool:
    return any(step.payload for steps in strands.values() for step in steps)


def _exact(a: Trace, b: Trace) -> Difference:
    counts = Counter[str](), Counter[str]()
    latest: list[TraceEvent] = []
    parting, payloads = None, False
    for index, (mine, theirs) in enumerate(itertools.zip_longest(a, b)):
        for event, counter in zip((mine, theirs), counts, strict=True):
            if event is not None:
                counter[event.actor] += 1
                payloads |= bool(event.payload)
        if parting is None and mine != theirs:
            shown = mine or theirs
            actor = shown.actor if shown is not None else ""
            fields = _unlike_fields(mine, theirs)
            parting = Parting(actor, "*", index, mine, theirs, tuple(latest), fields)
        if parting is None and mine is not None:
            latest = [*latest[1 - CONTEXT_EVENTS :], mine]
    both = {actor: (counts[0][actor], counts[1][actor]) for actor in {**counts[0], **counts[1]}}
    return Difference(parting, int(parting is not None), both, (a.begin_s, b.begin_s), payloads)


def _unlike_fields(mine: TraceEvent | None, theirs: TraceEvent | None) -> tuple[Unlike, ...]:
    if mine is None or theirs is None:
        return ()
    return _unlike_values(mine._fields, mine, theirs)


def _unlike_values(names: Sequence[str], a: Sequence[object], b: Sequence[object]) -> tuple[Unlike, ...]:
    pairs = zip(names, a, b, strict=True)
    return tuple(Unlike(name, str(one), str(other)) for name, one, other in pairs if one != other)


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
    what = event.kind, event.incarnation, event.type, detail
    return _Step(what, size, b"" if untold else event.payload, event, place)


def _first(
    strand: _Strand,
    mine: Sequence[_Step],
    theirs: Sequence[_Step],
    begin_s: tuple[float, float],
    ignored: frozenset[str],
) -> tuple[tuple[float, int], Parting] | None:
    """The first difference of one strand, with its place among those of others."""
    for index, (a, b) in enumerate(itertools.zip_longest(mine, theirs)):
        unlike = _unlike(a, b, ignored) if a is not None and b is not None else ()
        if unlike or a is None or b is None:
            steps = zip((a, b), begin_s, strict=True)
            when = min(_when(step, begin) for step, begin in steps if step is not None)
            context = tuple(step.event for step in mine[max(0, index - CONTEXT_EVENTS) : index])
            return when, Parting(*strand, index, a and a.event, b and b.event, context, unlike)
    return None


def _when(step: _Step, begin_s: float) -> tuple[float, int]:
    return step.event.time_s - begin_s, step.place


def _unlike(a: _Step, b: _Step, ignored: frozenset[str]) -> tuple[Unlike, ...]:
    """In what two events differ that should not. Payloads count where both runs have them."""
    unlike = _unlike_values(("kind", "incarnation", "type", "detail"), a.what, b.what)
    if not (a.payload and b.payload):
        return unlike + _unlike_values(("size",), (a.size,), (b.size,))
    if unlike or a.payload == b.payload:
        return unlike
    try:
        one, other = read_payload(a.payload).fields, read_payload(b.payload).fields
    except ProtocolError:
        return (Unlike("payload", "damaged or different", "damaged or different"),)
    mine, theirs = (dict(_leaves("", fields, ignored)) for fields in (one, other))
    return tuple(
        Unlike(name, str(mine.get(name)), str(theirs.get(name)))
        for name in dict.fromkeys([*mine, *theirs])
        if mine.get(name) != theirs.get(name)
    )


def _leaves(name: str, value: object, ignored: frozenset[str]) -> Iterator[tuple[str, object]]:
    """What a message says, down to numbers, texts and arrays, each with the way to it."""
    if isinstance(value, Fields):
        for field, within in value.values.items():
            names = field, value.tag, f"{value.tag}.{field}"
            if not any(fnmatchcase(each, pattern) for each in names for pattern in ignored):
                yield from _leaves(f"{name}.{field}" if name else field, within, ignored)
    elif isinstance(value, tuple):
        for at, within in enumerate(value):
            yield from _leaves(f"{name}[{at}]", within, ignored)
    else:
        yield name, value


def _counts(
    mine: dict[_Strand, list[_Step]], theirs: dict[_Strand, list[_Step]]
) -> dict[str, tuple[int, int]]:
    counts = Counter[str](), Counter[str]()
    for counter, strands in zip(counts, (mine, theirs), strict=True):
        for strand, steps in strands.items():
            counter[strand.actor] += len(steps)
    return {actor: (counts[0][actor], counts[1][actor]) for actor in {**counts[0], **counts[1]}}
