"""A selection from a trace is what a plain filter over all events gives, from memory and from a file."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from actors.tracing import Trace, TraceEvent, TraceFile

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

KINDS = ("wait", "wait_end", "send", "receive", "reply", "done", "error", "state", "job")
EVENTS = 9_000


def events() -> list[TraceEvent]:
    """Some of each kind, message after message, all of them caused by the first."""
    draw = random.Random(7)
    made = []
    for at in range(EVENTS):
        number = at // 9 + 2
        more: dict[str, Any] = {"wait_id": draw.choice((0, number)), "msg_id": draw.choice((0, number))}
        actor = f"/a-{draw.randrange(9)}" if at < EVENTS // 2 else "/late"
        made.append(TraceEvent(at / 10, KINDS[at % 9], actor, 1, cause_id=1, type="t", detail="d", **more))
    return made


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    path: Path = tmp_path_factory.mktemp("select") / "trace"
    file = TraceFile(path)
    for event in events():
        file.write(event)
    file.close()
    return [Trace.of(events()), Trace.open(path)]


def plainly(
    *,
    actors: Collection[str] | None = None,
    about: Collection[int] | None = None,
    own: Collection[int] | None = None,
    kinds: Collection[str] | None = None,
    since_s: float = 0.0,
    until_s: float = EVENTS,
    backwards: bool = False,
) -> list[TraceEvent]:
    """The definition of a selection."""
    found = [
        event
        for event in events()
        if (actors is None or event.actor in actors)
        and (kinds is None or event.kind in kinds)
        and (about is None or not {event.msg_id, event.cause_id, event.wait_id}.isdisjoint(about))
        and (own is None or not {event.msg_id, event.wait_id}.isdisjoint(own))
        and since_s <= event.time_s <= until_s
    ]
    return found[::-1] if backwards else found


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"own": [77]},
        {"own": [1]},
        {"about": [1], "kinds": ["error"]},
        {"about": [500, 501], "actors": ["/a-1", "/late"]},
        {"since_s": 100.0, "until_s": 100.5},
        {"since_s": 800.0, "actors": ["/a-1"]},
        {"until_s": 30.0, "kinds": ["state", "job"]},
        {"own": [900], "since_s": 809.0, "kinds": ["send", "receive"]},
    ],
)
def test_a_selection_is_what_a_filter_gives(
    traces: list[Trace], chosen: dict[str, Any], *, backwards: bool
) -> None:
    for trace in traces:
        assert list(trace.select(**chosen, backwards=backwards)) == plainly(**chosen, backwards=backwards)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_bounded_look_gives_the_nearest_and_ends(traces: list[Trace], *, backwards: bool) -> None:
    for trace in traces:
        found = list(trace.select(kinds={"error"}, backwards=backwards, looks_max=100))
        assert 0 < len(found) < EVENTS // 9
        assert found == plainly(kinds={"error"}, backwards=backwards)[: len(found)]
        assert list(trace.select(kinds={"error"}, backwards=backwards, looks_max=0)) == []


def test_two_selections_at_once_do_not_disturb_each_other(traces: list[Trace]) -> None:
    for trace in traces:
        pairs = zip(trace.select(), trace.select(backwards=True), strict=True)
        assert [(one.time_s, other.time_s) for one, other in pairs] == [
            (at / 10, (EVENTS - 1 - at) / 10) for at in range(EVENTS)
        ]
