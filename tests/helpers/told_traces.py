"""Traces for tests of what reads them: written by hand, of a small system, and of no sense at all."""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

from hypothesis import strategies as st

from actors import ActorError, ActorSystem
from actors.testing import run_virtual
from actors.tracing import EVENT_KINDS, Trace, TraceEvent
from tests.helpers.cast import Director, Echo, Fail, Note, Relay, Sleep, Spawn, Spawned, StopChild

__all__ = ["event", "senseless", "small_system"]


def event(time_s: float, kind: str, actor: str, type_: str = "", detail: str = "", **more: Any) -> TraceEvent:
    """An event of the first life of an actor, or of code outside the tree."""
    fields = {"incarnation": int(actor.startswith("/")), "msg_id": 0, "cause_id": 0} | more
    return TraceEvent(time_s=time_s, kind=kind, actor=actor, type=type_, detail=detail, **fields)


@cache
def small_system() -> Trace:
    """What two actors left behind in virtual time.

    Someone outside asks `/top`, which asks `/top/child`; an ask is not answered in time; the child fails and
    is started again; it is stopped for good, and a message that is told to it reaches nobody.
    """

    async def main() -> list[TraceEvent]:
        async with ActorSystem("small", trace=True) as system:
            top = await system.spawn(Director, name="top")
            spawned: Spawned = await system.ask(top, Spawn("child", max_restarts=1), timeout_s=5.0)
            child = spawned.ref
            await system.ask(top, Relay(child, "hello"), timeout_s=5.0)
            for broken in (Sleep(100.0), Fail()):
                with contextlib.suppress(ActorError):
                    await system.ask(child, broken, timeout_s=1.0)
            await system.ask(top, Sleep(1.0), timeout_s=5.0)  # the child is there again
            await system.ask(child, Echo("again"), timeout_s=5.0)
            await system.ask(top, StopChild(child), timeout_s=5.0)
            system.tell(child, Note("too late"))
            tracer = system.tracer
        assert tracer is not None
        return tracer.events()

    return Trace.of(run_virtual(main))


_ACTORS = ("outside", "outside/1", "/a", "/a/b", "/a/b/c", "/d", "", "/", "end", "a\n;#: %%{}", "/x\ud800")
_TEXTS = (
    *("", "actors.failure", "cast.note", "running(1)", "job f", "answered", "Expired", "late reply"),
    *(
        "queued 0.500000 s, worked 2.000000 s",
        "left behind after 3 s",
        "refused: WrongState",
        "handler ended: x",
    ),
    *("style a:b#1;", "<b>", "ValueError", "café"),
)


@st.composite
def senseless(draw: st.DrawFn) -> Trace:
    """Events in order of time, many of the same, and otherwise anything that may stand in an event."""
    number = st.integers(0, 5)
    drawn = draw(
        st.lists(
            st.tuples(
                st.sampled_from((0.0, 0.0, 0.25, 1.0, 3.0)),
                st.sampled_from((*EVENT_KINDS, "of a newer version")),
                st.sampled_from(_ACTORS),
                st.integers(0, 2),
                number,
                number,
                st.sampled_from((*_TEXTS, *_ACTORS)),
                st.sampled_from((*_TEXTS, *_ACTORS)),
                number,
                number,
            ),
            max_size=24,
        )
    )
    events, time_s = [], draw(st.sampled_from((0.0, 1e3, 5e6)))
    for step_s, kind, actor, life, msg_id, cause_id, type_, detail, size, wait_id in drawn:
        time_s += step_s
        fields = time_s, kind, actor, life, msg_id, cause_id, type_, detail, "idle", size, wait_id, 1.5
        events.append(TraceEvent(*fields))
    return Trace.of(events)
