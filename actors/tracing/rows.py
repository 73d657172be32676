"""How events are kept and written: the frequent ones as short rows, of which one may stand for several.

A row begins with time, kind, actor, incarnation, message and cause. What an ask leaves behind most often are
two or three of these, of which `expand` makes six events:

    ask       wait, send                            it was admitted at once
    take      receive
    answer    reply, done, wait_end                 the answer is there: whoever asked can go on
    serve     receive, reply, done, wait_end        instead of the last two, if nothing was between them

A row of any other kind has all the fields of `TraceEvent`, in the same order.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors.tracing.events import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FREQUENT", "FULL", "LAYOUTS", "Row", "expand", "expand_all", "is_row", "sound"]

Row: TypeAlias = tuple[Any, ...]

# The fields of the frequent rows, by name and type. Behind them stands the payload of a message or an answer,
# if one was kept.
_HEAD: Final = {
    "time_s": float,
    "kind": str,
    "actor": str,
    "incarnation": int,
    "msg_id": int,
    "cause_id": int,
}
LAYOUTS: Final[dict[str, dict[str, type]]] = {
    "ask": _HEAD | {"receiver": str, "type": str, "state": str, "size": int, "limit_s": float},
    "tell": _HEAD | {"receiver": str, "type": str, "state": str, "size": int},
    "take": _HEAD | {"sender": str, "type": str, "state": str, "size": int, "limit_s": float},
    "answer": _HEAD  # the cause is that of the ask
    | {"asker": str, "type": str, "type_of_answer": str, "life_of_asker": int, "state": str, "size": int},
    "serve": _HEAD  # time, cause, state and size are those of the answer
    | {"asker": str, "type": str, "type_of_answer": str, "life_of_asker": int, "state": str, "size": int}
    | {"begun_s": float, "size_of_ask": int, "limit_s": float},
    "handled": _HEAD | {"type": str, "state": str},
}
FREQUENT: Final = frozenset(LAYOUTS)
FULL: Final = _HEAD | {
    "type": str,
    "detail": str,
    "state": str,
    "size": int,
    "wait_id": int,
    "limit_s": float,
    "payload": bytes,
}
INT_BITS: Final = 64  # of MessagePack
_WITH_PAYLOAD: Final = frozenset({"ask", "tell", "answer", "serve"})

# `TraceEvent._make` without the check of the length: it is called for every event of a file.
_event: Final[Callable[[Row], TraceEvent]] = partial(tuple.__new__, TraceEvent)


def _ask(row: Row) -> tuple[TraceEvent, ...]:
    time_s, _, actor, life, msg_id, cause_id, receiver, tag, state, size, limit_s = row[:11]
    reason = f"reply to {tag}"
    return (
        _event(
            (time_s, "wait", actor, life, msg_id, cause_id, receiver, reason, state, 0, msg_id, limit_s, b"")
        ),
        _event(
            (time_s, "send", actor, life, msg_id, cause_id, tag, receiver, state, size, msg_id, limit_s)
            + (row[11:] or (b"",))
        ),
    )


def _tell(row: Row) -> tuple[TraceEvent, ...]:
    time_s, _, actor, life, msg_id, cause_id, receiver, tag, state, size = row[:10]
    event = time_s, "send", actor, life, msg_id, cause_id, tag, receiver, state, size, 0, 0.0
    return (_event(event + (row[10:] or (b"",))),)


def _take(row: Row) -> tuple[TraceEvent, ...]:
    time_s, _, actor, life, msg_id, cause_id, sender, tag, state, size, limit_s = row
    return (
        _event((time_s, "receive", actor, life, msg_id, cause_id, tag, sender, state, size, 0, limit_s, b"")),
    )


def _answer(row: Row) -> tuple[TraceEvent, ...]:
    time_s, _, actor, life, msg_id, cause_id, asker, tag, answer, life_of_asker, state, size = row[:12]
    end = (
        time_s,
        "wait_end",
        asker,
        life_of_asker,
        msg_id,
        cause_id,
        actor,
        "answered",
        "",
        0,
        msg_id,
        0.0,
        b"",
    )
    return (
        _event(
            (time_s, "reply", actor, life, msg_id, msg_id, answer, asker, state, size, msg_id, 0.0)
            + (row[12:] or (b"",))
        ),
        _event((time_s, "done", actor, life, msg_id, 0, tag, "", state, 0, 0, 0.0, b"")),
        _event(end),
    )


def _serve(row: Row) -> tuple[TraceEvent, ...]:
    actor, life, msg_id, _, asker, tag = row[2:8]
    state, _, begun_s, size, limit_s = row[10:15]
    receive = begun_s, "receive", actor, life, msg_id, 0, tag, asker, state, size, 0, limit_s, b""
    return (_event(receive), *_answer(row[:12] + row[15:]))


def _handled(row: Row) -> tuple[TraceEvent, ...]:
    time_s, _, actor, life, msg_id, cause_id, tag, state = row
    return (_event((time_s, "done", actor, life, msg_id, cause_id, tag, "", state, 0, 0, 0.0, b"")),)


_EXPANSIONS: Final[dict[str, Callable[[Row], tuple[TraceEvent, ...]]]] = {
    "ask": _ask,
    "tell": _tell,
    "take": _take,
    "answer": _answer,
    "serve": _serve,
    "handled": _handled,
}


def expand(row: Row) -> tuple[TraceEvent, ...]:
    """The events that a row stands for, in their order."""
    expansion = _EXPANSIONS.get(row[1])
    return expansion(row) if expansion is not None else (_event(row),)


def expand_all(rows: Iterable[Row]) -> list[TraceEvent]:
    """Those of many rows."""
    return [event for row in rows for event in expand(row)]


@lru_cache(maxsize=1024)
def _fits(kind: str, signature: tuple[type, ...]) -> bool:
    """Whether a row of this kind may have fields of these types."""
    wanted = tuple((LAYOUTS.get(kind) or FULL).values())
    if kind in _WITH_PAYLOAD and len(signature) == len(wanted) + 1:
        wanted += (bytes,)
    # Whole seconds may come as an integer.
    return len(signature) == len(wanted) and all(
        is_ is wants or (wants is float and is_ is int) for is_, wants in zip(signature, wanted, strict=True)
    )


def sound(row: Row) -> Row:
    """The row with a value of the right type in every field, whatever somebody has put there.

    A limit may come from somebody's arithmetic, and the name of a job from any object that can be called.
    """
    wanted = tuple((LAYOUTS.get(row[1]) or FULL).values())
    return (*map(_as, wanted, row), *row[len(wanted) :])


def _as(wanted: type, value: Any) -> Any:
    if type(value) is not wanted:
        try:
            value = wanted(value)
        except Exception:  # noqa: BLE001 - it may be anything
            value = wanted()
    return value if wanted is not int or value.bit_length() < INT_BITS else 0


def is_row(value: object) -> bool:
    """Whether something that was read is a row that `expand` understands."""
    if type(value) is not tuple or len(value) < len(_HEAD) or type(value[1]) is not str:
        return False
    return _fits(value[1] if value[1] in LAYOUTS else "", tuple(map(type, value)))
