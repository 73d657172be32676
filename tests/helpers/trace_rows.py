"""Rows of a trace, any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from actors.tracing import EVENT_KINDS, TraceEvent
from actors.tracing.rows import FULL, LAYOUTS

if TYPE_CHECKING:
    from actors.tracing.rows import Row

NAMES = st.sampled_from(["/a", "/b", "/c", "outside"])
NUMBERS = st.integers(0, 40)
TEXTS = st.sampled_from(["", "demo.x", "running(1)", "/a"])


def _field(name: str, type_: type) -> st.SearchStrategy[object]:
    if name in {"actor", "receiver", "sender", "asker"}:
        return NAMES
    if type_ is float:
        return st.floats(0, 100)
    if type_ is bytes:
        return st.binary(max_size=3)
    return NUMBERS if type_ is int else TEXTS


def row_strategy() -> st.SearchStrategy[Row]:
    """A row of any kind."""
    layouts = LAYOUTS | dict.fromkeys(sorted(EVENT_KINDS), FULL)
    return st.sampled_from(sorted(layouts)).flatmap(
        lambda kind: st.tuples(
            *(
                st.just(kind) if name == "kind" else _field(name, type_)
                for name, type_ in layouts[kind].items()
            )
        )
    )


def events_of(count: int) -> list[TraceEvent]:
    """So many events, one after the other."""
    return [TraceEvent(float(at), "send", "/a", 1, at + 1, 0, "demo.x", "/b") for at in range(count)]
