"""The ring of events, and what is passed on."""

from __future__ import annotations

import errno

import pytest

from actors.tracing import TraceEvent, Tracer


class Sink:
    """Takes so many events, and then no more."""

    def __init__(self, most: int = 1_000_000, close_error: OSError | None = None) -> None:
        self.events: list[TraceEvent] = []
        self.most = most
        self.tries = 0
        self.closed = 0
        self.close_error = close_error

    def write(self, event: TraceEvent) -> None:
        """Take one."""
        self.tries += 1
        if len(self.events) >= self.most:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.events.append(event)

    def close(self) -> None:
        """Take no more."""
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


def test_the_ring_keeps_the_latest() -> None:
    times = iter(range(100))
    tracer = Tracer(lambda: float(next(times)), ring_size=3)
    for number in range(5):
        tracer.emit("send", "/a", 1, msg_id=number, cause_id=9, type_="t", detail="d")
    assert [event.msg_id for event in tracer.events()] == [2, 3, 4]
    assert tracer.events()[-1] == TraceEvent(4.0, "send", "/a", 1, 4, 9, "t", "d")


def test_the_story_of_an_actor_is_its_latest_events() -> None:
    tracer = Tracer(lambda: 0.0)
    for number in range(10):
        tracer.emit("send", f"/{number % 2}", msg_id=number)
    assert [event.msg_id for event in tracer.story("/1", most=2)] == [7, 9]
    assert tracer.story("/nobody") == []


def test_each_event_goes_to_the_sink_too() -> None:
    sink = Sink()
    tracer = Tracer(lambda: 0.0, sink=sink)
    tracer.emit("send", "/a")
    tracer.close()
    tracer.close()
    tracer.emit("send", "/b")
    assert [event.actor for event in sink.events] == ["/a"]
    assert [event.actor for event in tracer.events()] == ["/a", "/b"]
    assert sink.closed == 1


def test_a_sink_that_fails_is_given_up_and_its_error_comes_at_the_end() -> None:
    """Raised where it happens it would break the runtime in the middle of what it does."""
    sink = Sink(most=2)
    tracer = Tracer(lambda: 0.0, sink=sink)
    for number in range(10):
        tracer.emit("send", "/a", msg_id=number)
    assert len(tracer.events()) == 10
    assert sink.tries == 3
    with pytest.raises(OSError, match="No space left"):
        tracer.close()
    assert sink.closed == 1
    tracer.close()


def test_the_first_error_of_a_sink_is_the_one_that_is_told() -> None:
    for most, expected in [(0, "No space left"), (5, "at the end")]:
        sink = Sink(most=most, close_error=OSError(errno.EIO, "at the end"))
        tracer = Tracer(lambda: 0.0, sink=sink)
        tracer.emit("send", "/a")
        with pytest.raises(OSError, match=expected):
            tracer.close()
