"""A trace as columns of numbers, which is how the page that shows it has its data.

Every text is in the table once, and is a number in the columns; so are actors (their rows, from the top) and
messages (their places in the table of messages). -1 stands for none, NaN for a time that the trace does not
tell. Times are seconds since the begin of the trace. All numbers are little-endian.
"""

from __future__ import annotations

import binascii
import json
import math
import sys
import zlib
from array import array
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors.tracing.exports.spans import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actors.tracing.exports.spans import Mark, Spans

__all__ = ["Column", "Columns", "columns"]

# The strings are long and alike: beyond this level packing takes much longer and saves little.
_LEVEL: Final = 6
_BANDS: Final = frozenset({"start", "state", "end"})


class Column(NamedTuple):
    """One column.

    Attributes:
        name: as in `messages.sent`, or `strings`.
        type: `f8` for float64, `i4` for int32, `json` for the strings.
        data: its bytes, packed by zlib and in base64.
    """

    name: str
    type: str
    data: str


class Columns:
    """The tables of a trace.

    Attributes:
        spans: the trace.
        rows: place of every actor.
        places: of every message that is named anywhere, by its number.
        messages: those of the trace, and in front of them those that are only named.
    """

    def __init__(self, found: Spans) -> None:
        self.spans = found
        self.rows = {name: row for row, name in enumerate(found.actors)}
        self._texts: dict[str, int] = {}
        numbered = [message for message in found.messages if message.msg_id]
        self.messages = sorted([*_only_named(found), *numbered], key=_first_known_s)
        self.places = {message.msg_id: place for place, message in enumerate(self.messages)}

    def text(self, text: str) -> int:
        """The number of a text."""
        return self._texts.setdefault(text, len(self._texts))

    def packed(self) -> Iterator[Column]:
        """Every column, the strings last: what is yielded before has added to them."""
        for table in (
            self._rows,
            self._messages,
            self._handlers,
            self._jobs,
            self._waits,
            self._marks,
            self._states,
        ):
            for name, (type_, values) in table().items():
                yield Column(f"{table.__name__[1:]}.{name}", type_, _packed(_bytes(type_, values)))
        strings = json.dumps(list(self._texts), ensure_ascii=True, separators=(",", ":"))
        yield Column("strings", "json", _packed(strings.encode()))

    def _rows(self) -> dict[str, _Values]:
        parents = [self.rows.get(_parent(name, self.rows), -1) for name in self.rows]
        return {"name": ("i4", map(self.text, self.rows)), "parent": ("i4", parents)}

    def _messages(self) -> dict[str, _Values]:
        of = self._of(self.messages)
        return {
            "number": ("f8", map(attrgetter("msg_id"), self.messages)),
            "type": of.texts("type"),
            "from": of.rows("sender"),
            "to": of.rows("receiver"),
            "cause": of.messages("cause_id"),
            "at": ("f8", [_first_known_s(message) - self.spans.begin_s for message in self.messages]),
            "sent": of.times("sent_s"),
            "received": of.times("received_s"),
            "replied": of.times("replied_s"),
            "heard": of.times("heard_s"),
            "lost": of.times("lost_s"),
            "lost_why": of.texts("lost"),
            "size": of.numbers("size"),
            "is_ask": of.flags("is_ask"),
            "answer": of.texts("reply_type"),
            "answer_size": of.numbers("reply_size"),
        }

    def _handlers(self) -> dict[str, _Values]:
        of = self._of(sorted(self.spans.handlers, key=attrgetter("begin_s")))
        return {
            "row": of.rows("actor"),
            "message": of.messages("msg_id"),
            "type": of.texts("type"),
            "begin": of.times("begin_s"),
            "end": of.times("end_s"),
            "outcome": of.texts("outcome"),
            "error": of.texts("error"),
            "limit": of.numbers("limit_s"),
            "incarnation": of.numbers("incarnation"),
        }

    def _jobs(self) -> dict[str, _Values]:
        jobs = self.spans.jobs
        of = self._of(jobs)
        return {
            "row": of.rows("actor"),
            "cause": of.messages("msg_id"),
            "name": of.texts("name"),
            "asked": of.times("asked_s"),
            "begin": of.times("begin_s"),
            "end": of.times("end_s"),
            "left": of.flags("left_behind"),
            # Those of other jobs say their times once more.
            "detail": ("i4", [self.text(job.detail if job.left_behind else "") for job in jobs]),
        }

    def _waits(self) -> dict[str, _Values]:
        waits = self.spans.waits
        of = self._of(waits)
        return {
            "row": of.rows("actor"),
            "cause": of.messages("msg_id"),
            "about": of.messages("wait_id"),
            "target": of.texts("target"),
            "reason": of.texts("reason"),
            "begin": of.times("begin_s"),
            "end": of.times("end_s"),
            "outcome": of.texts("outcome"),
            "limit": of.numbers("limit_s"),
        }

    def _marks(self) -> dict[str, _Values]:
        of = self._of(self.spans.marks)
        return {
            "row": of.rows("actor"),
            "time": of.times("time_s"),
            "kind": of.texts("kind"),
            "text": of.texts("text"),
            "cause": of.messages("msg_id"),
            "incarnation": of.numbers("incarnation"),
        }

    def _states(self) -> dict[str, _Values]:
        of = self._of(sorted(_bands(self.spans.marks), key=attrgetter("begin_s")))
        return {
            "row": of.rows("actor"),
            "begin": of.times("begin_s"),
            "end": of.times("end_s"),
            "name": of.texts("name"),
        }

    def _of(self, things: Sequence[Any]) -> _Makers:
        return _Makers(self, things)


_Values = tuple[str, "Iterable[float]"]


class _Makers:
    """Makes columns from one attribute each of the same things."""

    def __init__(self, tables: Columns, things: Sequence[Any]) -> None:
        self._tables = tables
        self._things = things

    def texts(self, name: str) -> _Values:
        return "i4", map(self._tables.text, map(attrgetter(name), self._things))

    def rows(self, name: str) -> _Values:
        return self._found(self._tables.rows.get, name)

    def messages(self, name: str) -> _Values:
        return self._found(self._tables.places.get, name)

    def _found(self, get: Callable[[Any, int], int], name: str) -> _Values:
        return "i4", [get(value, -1) for value in map(attrgetter(name), self._things)]

    def times(self, name: str) -> _Values:
        begin_s = self._tables.spans.begin_s
        values = map(attrgetter(name), self._things)
        return "f8", [math.nan if value is None else value - begin_s for value in values]

    def numbers(self, name: str) -> _Values:
        return "f8", map(attrgetter(name), self._things)

    def flags(self, name: str) -> _Values:
        return "i4", map(int, map(attrgetter(name), self._things))


class _Band(NamedTuple):
    """A stretch in which an actor was in one state."""

    actor: str
    begin_s: float
    end_s: float | None
    name: str


def columns(found: Spans) -> Columns:
    """The tables of a trace, to be packed."""
    return Columns(found)


def _only_named(found: Spans) -> Iterator[Message]:
    """Messages that something refers to, and that the trace has no event of: they are older than it."""
    known = {0, *map(attrgetter("msg_id"), found.messages)}
    for handler in found.handlers:
        if handler.msg_id not in known:
            known.add(handler.msg_id)
            yield Message(
                handler.msg_id, handler.type, handler.sender, handler.actor, received_s=handler.begin_s
            )
    causes = (message.cause_id for message in found.messages)
    of_others = (thing.msg_id for things in (found.jobs, found.waits, found.marks) for thing in things)
    for number in dict.fromkeys([*causes, *of_others]):
        if number not in known:
            known.add(number)
            yield Message(number, "", "", "")


def _first_known_s(message: Message) -> float:
    times = (message.sent_s, message.received_s, message.replied_s, message.lost_s)
    return next((time_s for time_s in times if time_s is not None), 0.0)


def _parent(name: str, names: dict[str, int]) -> str:
    """The nearest ancestor that has a row; empty for none, and for code outside the tree."""
    parent = name.rpartition("/")[0] if name.startswith("/") else ""
    while parent and parent not in names:
        parent = parent.rpartition("/")[0]
    return parent


def _bands(marks: Iterable[Mark]) -> Iterator[_Band]:
    """Every stretch in one state; an actor that has just started is idle."""
    now: dict[str, tuple[float, str]] = {}
    for mark in marks:
        if mark.kind not in _BANDS:
            continue
        begun = now.pop(mark.actor, None)
        if begun is not None:
            yield _Band(mark.actor, begun[0], mark.time_s, begun[1])
        if mark.kind != "end":
            now[mark.actor] = (mark.time_s, "idle" if mark.kind == "start" else mark.text.partition(":")[0])
    for actor, (begin_s, name) in now.items():
        yield _Band(actor, begin_s, None, name)


def _bytes(type_: str, values: Iterable[float]) -> bytes:
    packed = array({"f8": "d", "i4": "i"}[type_], values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _packed(data: bytes) -> str:
    return binascii.b2a_base64(zlib.compress(data, _LEVEL), newline=False).decode()
