"""The contract of a trace sink: it keeps every event, in order, and never breaks who writes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.testing.contract import ContractBroken, require
from actors.tracing import EVENT_KINDS, TraceEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.tracing import Sink

__all__ = ["check_sink"]

EVENTS: Final = 3000
# Texts that come from outside: names and reasons of any length, some of them no proper text.
ODD_TEXTS: Final = ("", "line\nbreak\0", "\udcff", "naïve ☃ 😀", "x" * 100_000)


def check_sink(make: Callable[[], Sink], read: Callable[[], Iterable[TraceEvent]]) -> None:
    """Hold a trace sink to its contract.

    Args:
        make: builds a sink that is empty; called more than once.
        read: returns what is in the sink that was made last, after it was closed.

    Raises:
        ContractBroken: an event was lost, changed or reordered, or `write` or `close` raised anything but
            `OSError`.
    """
    events = [
        TraceEvent(number / 1000, kind, f"/actor-{number}", number % 7, number, number // 2, "tag", "detail")
        for number in range(EVENTS)
        for kind in (list(EVENT_KINDS)[number % len(EVENT_KINDS)],)
    ]
    _write(make(), events)
    kept = list(read())
    require(len(kept) == EVENTS, f"{EVENTS} events were written and the sink closed, {len(kept)} are there")
    for written, found in zip(events, kept, strict=True):
        require(found == written, f"an event was changed: written {written}, found {found}")
    odd = [TraceEvent(0.0, "fault", text, 0, 2**63 - 1, 0, text, text) for text in ODD_TEXTS]
    _write(make(), odd)
    kept = list(read())
    require(len(kept) == len(odd), f"of {len(odd)} events with odd texts {len(kept)} are there")
    _write(make(), [])
    require(not list(read()), "a sink that was made anew is not empty")


def _write(sink: Sink, events: list[TraceEvent]) -> None:
    try:
        for event in events:
            sink.write(event)
        sink.close()
        sink.close()
    except OSError:
        raise
    except Exception as error:
        raise ContractBroken(f"a sink raised {type(error).__name__} into the actors: {error}") from error
