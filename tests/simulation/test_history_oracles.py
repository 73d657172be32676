"""Each law that is read from a trace rejects a trace that breaks it, and accepts one that does not."""

from __future__ import annotations

from collections import Counter

import pytest

from actors.simulation.history import check_lives, check_losses, check_order
from actors.tracing import TraceEvent


def event(kind: str, actor: str, *, number: int = 0, type_: str = "", detail: str = "") -> TraceEvent:
    incarnation = 0 if actor == "outside" else 1
    return TraceEvent(0.0, kind, actor, incarnation, number, 0, type_, detail)


def sends(number: int, type_: str = "cast.note") -> TraceEvent:
    return event("send", "outside", number=number, type_=type_, detail="/a")


def receives(number: int, type_: str = "cast.note") -> TraceEvent:
    return event("receive", "/a", number=number, type_=type_)


def is_now(actor: str, state: str, failure: str = "") -> TraceEvent:
    return event("state", actor, type_=state, detail=failure)


BORN = event("start", "/a", type_="Performer")
CHILD = event("start", "/a/c", type_="Performer")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([BORN, is_now("/a", "running(1)"), is_now("/a", "epoch_done(1)"), is_now("/a", "running(2)")], None),
        ([BORN, is_now("/a", "epoch_done(1)")], "/a#1 goes from idle to epoch_done(1)"),
        (
            [BORN, is_now("/a", "running(2)"), is_now("/a", "epoch_done(2)"), is_now("/a", "running(2)")],
            "/a#1 begins epoch 2 after epoch 2",
        ),
        (
            [
                BORN,
                CHILD,
                is_now("/a", "running(1)"),
                is_now("/a/c", "running(1)"),
                is_now("/a", "epoch_done(1)"),
            ],
            "/a has finished epoch 1, and its child /a/c has not",
        ),
        (
            [
                *(BORN, CHILD, is_now("/a", "running(1)"), is_now("/a/c", "running(1)")),
                is_now("/a", "epoch_done(1)", "the body raised"),
            ],
            None,
        ),
        ([is_now("/a", "running(1)")], "/a is now running(1), and is not alive"),
        ([BORN, BORN], "/a#1 started while the one before it was alive"),
        ([CHILD], "/a/c#1 started, and its parent is not alive"),
        ([BORN, CHILD, event("end", "/a", detail="stopped")], "/a#1 ended before its child /a/c"),
        (
            [BORN, event("end", "/a", detail="AssertionError: wrong")],
            "/a#1 has failed: AssertionError: wrong",
        ),
        ([BORN, receives(1), receives(2)], "/a handles message 2 while it handles 1"),
        ([BORN, event("end", "/a"), receives(1)], "/a handles message 1, and is not alive"),
        ([BORN, CHILD, event("end", "/a/c")], "/a heard 0 times of the end of /a/c#1, not 1"),
    ],
)
def test_lives(events: list[TraceEvent], said: str | None) -> None:
    problems = list(check_lives(events))
    assert problems == [] if said is None else said in problems


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([sends(1), sends(2), receives(1), receives(2)], []),
        ([sends(1), sends(2), receives(2), receives(1)], ["message 1 (cast.note) to /a was overtaken"]),
        ([sends(1), sends(2, "actors.down"), receives(2, "actors.down"), receives(1)], []),
        (
            [sends(1), sends(2, "actors.down"), receives(1)],
            ["/a handles message 1 before 2 of the runtime"],
        ),
        ([sends(1), sends(2, "actors.begin_epoch"), receives(2, "actors.begin_epoch"), receives(1)], []),
        ([sends(2, "actors.down"), event("end", "/a"), sends(3), receives(3)], []),
    ],
)
def test_order(events: list[TraceEvent], said: list[str]) -> None:
    assert list(check_order(events)) == said


def test_losses() -> None:
    lost = event("drop", "/a", number=1, type_="cast.note", detail="mailbox full")
    assert list(check_losses([lost, lost], Counter({"mailbox full": 2}))) == []
    assert list(check_losses([lost, lost], Counter({"mailbox full": 1})))
