"""The ring and the file of events."""

from __future__ import annotations

import errno
from pathlib import Path

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ProtocolError
from actors.tracing import EVENT_KINDS, TraceEvent, TraceFile, Tracer, read_trace
from actors.tracing.file import FLUSH_EVENTS, FLUSH_S


def _event(number: int, time_s: float = 0.0) -> TraceEvent:
    return TraceEvent(time_s, "send", f"/a{number}", 1, number, 0, "cast.note", "to someone")


def _written(path: Path, count: int) -> list[TraceEvent]:
    events = [_event(number) for number in range(count)]
    file = TraceFile(path)
    for event in events:
        file.write(event)
    file.close()
    return events


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


@given(
    st.lists(
        st.builds(
            TraceEvent,
            st.floats(0, 1e9),
            st.sampled_from(sorted(EVENT_KINDS)),
            st.text(max_size=9),
            st.integers(0, 100),
            st.integers(0, 2**63),
            st.integers(0, 2**63),
            st.text(max_size=9),
            st.text(max_size=9),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, events: list[TraceEvent]) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace"
    file = TraceFile(path)
    for event in events:
        file.write(event)
    file.close()
    assert list(read_trace(path)) == events


def test_a_file_that_was_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    events = _written(path, 3)
    whole = path.read_bytes()
    head = len(msgpack.packb(["actors-trace-1", list(TraceEvent._fields)]))
    ends = [head]
    for event in events:
        ends.append(ends[-1] + len(msgpack.packb(event)))
    assert ends[-1] == len(whole)
    for cut in range(head, len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert list(read_trace(path)) == events[: sum(end <= cut for end in ends[1:])]


def test_a_file_that_was_cut_off_in_its_head_is_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    _written(path, 1)
    whole = path.read_bytes()
    for cut in range(20):
        path.write_bytes(whole[:cut])
        with pytest.raises(ProtocolError, match="is not a trace"):
            list(read_trace(path))


@pytest.mark.parametrize(
    "content",
    [
        b"just some text",
        b"\x00" * 50,
        b"\xc1\xff",
        msgpack.packb(["another-format", []]),
        msgpack.packb({}),
        msgpack.packb([]),
        msgpack.packb(None),
    ],
)
def test_what_is_not_a_trace_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "not-a-trace"
    path.write_bytes(content)
    with pytest.raises(ProtocolError, match="not-a-trace is"):
        list(read_trace(path))


@pytest.mark.parametrize(
    "damage", [b"\xc1", msgpack.packb(7), msgpack.packb([1, 2]), msgpack.packb("8 letter")]
)
def test_a_damaged_entry_is_refused_after_the_good_ones(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "trace"
    events = _written(path, 2)
    path.write_bytes(path.read_bytes() + damage)
    read = read_trace(path)
    assert [next(read), next(read)] == events
    with pytest.raises(ProtocolError, match="trace is damaged"):
        next(read)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_trace(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        TraceFile(tmp_path / "missing" / "trace")


def test_events_are_written_in_batches_and_not_later_than_agreed(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    file = TraceFile(path)
    file.write(_event(0, time_s=100.0))  # the first one is long after the clock's beginning
    assert len(list(read_trace(path))) == 1
    file.write(_event(1, time_s=100.1))
    assert len(list(read_trace(path))) == 1
    file.write(_event(2, time_s=100.0 + FLUSH_S))
    assert len(list(read_trace(path))) == 3
    for number in range(FLUSH_EVENTS):
        file.write(_event(number, time_s=100.0 + FLUSH_S))
    assert len(list(read_trace(path))) == 3 + FLUSH_EVENTS
    file.close()
    file.close()


def test_errors_of_writing_surface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        TraceFile(full)
    monkeypatch.setattr("actors.tracing.file.FORMAT", "x" * 0)
    link = tmp_path / "trace"
    file = TraceFile(link)
    real = file._file
    file._file = full.open("wb")
    real.close()
    file.write(_event(0, time_s=0.1))
    with pytest.raises(OSError, match="No space left"):
        file.write(_event(1, time_s=FLUSH_S))
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert file._file.closed
    file.close()


def test_a_file_that_is_no_trace_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious.txt"
    path.write_text("words that nobody else has")
    with pytest.raises(FileExistsError, match="is no trace"):
        TraceFile(path)
    assert path.read_text() == "words that nobody else has"


def test_an_earlier_trace_and_an_empty_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    path.touch()
    for _ in range(2):
        TraceFile(path).close()
    assert list(read_trace(str(path))) == []
