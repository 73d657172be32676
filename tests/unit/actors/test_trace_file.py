"""Trace files: what is written is read, in parts of a bounded size, up to any damage."""

from __future__ import annotations

import io
import itertools
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ProtocolError
from actors.tracing import EVENT_KINDS, JobTimes, Trace, TraceEvent, TraceFile, read_trace
from actors.tracing.blocks import ROWS_MAX, pack_block
from actors.tracing.claims import is_claimed
from actors.tracing.file import parts_of
from actors.tracing.rows import expand_all
from tests.helpers.trace_rows import events_of, row_strategy

if TYPE_CHECKING:
    from actors.tracing.rows import Row


def _event(number: int, time_s: float = 0.0) -> TraceEvent:
    return TraceEvent(time_s, "send", f"/a{number}", 1, number, 0, "cast.note", "to someone")


def _written(path: Path, count: int) -> list[TraceEvent]:
    """A file with a block for each event."""
    events = [_event(number) for number in range(count)]
    file = TraceFile(path)
    for event in events:
        file.write_rows([tuple(event)])
    file.close()
    return events


def _blocks(path: Path) -> list[int]:
    """Where each value of the stream begins, and where the file ends."""
    unpacker = msgpack.Unpacker(io.BytesIO(path.read_bytes()), use_list=False)
    return [0, *(unpacker.tell() for _ in unpacker)]


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
            st.text(max_size=9),
            st.integers(0, 2**63),
            st.integers(0, 2**63),
            st.floats(0, 1e9),
            st.binary(max_size=9),
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
    trace = Trace.open(path)
    assert (len(trace), trace.damage, trace.complete, trace.rotated) == (len(events), "", True, False)


@given(st.lists(st.lists(row_strategy(), min_size=1, max_size=6), max_size=6), st.data())
def test_a_selection_from_a_file_is_the_one_from_memory(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Row]], data: st.DataObject
) -> None:
    """The index leaves no block out in which there is something."""
    path = tmp_path_factory.mktemp("trace") / "trace"
    file = TraceFile(path)
    for batch in batches:
        file.write_rows(batch)
    file.close()
    events = expand_all([row for batch in batches for row in batch])
    trace, memory = Trace.open(path), Trace.of(events)
    assert list(trace) == events
    assert len(trace) == len(events)
    assert trace.begin_s == memory.begin_s
    assert trace.end_s == memory.end_s
    assert set(trace.actors) <= set(memory.actors)
    wanted: dict[str, Any] = {
        "actors": data.draw(st.none() | st.sets(st.sampled_from(["/a", "/b", "/c", "outside"]))),
        "about": data.draw(st.none() | st.sets(st.integers(1, 40), max_size=3)),
        "kinds": data.draw(st.none() | st.sets(st.sampled_from(sorted(EVENT_KINDS)), max_size=3)),
    }
    found = [
        event
        for event in events
        if (wanted["actors"] is None or event.actor in wanted["actors"])
        and (wanted["kinds"] is None or event.kind in wanted["kinds"])
        and (wanted["about"] is None or wanted["about"] & {event.msg_id, event.cause_id, event.wait_id})
    ]
    assert list(trace.select(**wanted)) == list(memory.select(**wanted)) == found
    assert list(trace.select(**wanted, backwards=True)) == found[::-1]


def test_a_selection_reads_only_the_blocks_that_have_something(tmp_path: Path) -> None:
    _written(tmp_path / "trace", 50)
    trace = Trace.open(tmp_path / "trace")
    (tmp_path / "trace").unlink()
    assert list(trace.select(about={1000})) == []
    assert list(trace.select(actors={"/nobody"})) == []
    assert list(trace.select(kinds={"fault"})) == []
    with pytest.raises(ProtocolError, match="has changed since it was opened"):
        list(trace.select(about={7}))


def test_events_are_written_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    file = TraceFile(path)
    for number in range(ROWS_MAX - 1):
        file.write(_event(number))
    assert not list(read_trace(path))
    file.write(_event(ROWS_MAX))
    assert len(list(read_trace(path))) == ROWS_MAX
    assert not Trace.open(path).complete
    file.close()
    file.close()
    assert Trace.open(path).complete


def test_a_file_that_was_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    events = _written(path, 3)
    whole, ends = path.read_bytes(), _blocks(path)
    for cut in range(ends[1], len(whole)):
        path.write_bytes(whole[:cut])
        there = sum(end <= cut for end in ends[2:-1])
        trace = Trace.open(path)
        assert list(read_trace(path)) == list(trace) == events[:there]
        assert trace.cut_off == bool(trace.damage) == (cut not in ends)
        assert not trace.complete
        if trace.cut_off:
            assert f"was cut off behind byte {ends[there + 1]}" in trace.damage
            assert f"{there} events before that were read" in trace.damage


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
        msgpack.packb(["another-format", {}]),
        msgpack.packb(["actors-trace-2", []]),
        msgpack.packb(["actors-trace-2"]),
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


def test_an_earlier_format_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(msgpack.packb(["actors-trace-1", ["time_s"]]))
    with pytest.raises(ProtocolError, match="is a trace of format actors-trace-1, which cannot be read"):
        Trace.open(path)
    TraceFile(path).close()
    assert list(read_trace(path)) == []


def _block(**changes: Any) -> tuple[Any, ...]:
    """A block of one event, and what is to be wrong with it."""
    names = ["events", "begin", "end", "actors", "peers", "kinds"]
    names += ["messages", "causes", "waits", "checksum", "length", "data"]
    fields = dict(zip(names, msgpack.unpackb(pack_block(msgpack.Packer(), [tuple(_event(1))])), strict=True))
    assert changes.keys() <= fields.keys()
    return tuple((fields | changes).values())


@pytest.mark.parametrize(
    "damage",
    [
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([1, 2]),
        msgpack.packb("8 letter"),
        *(
            msgpack.packb(_block(**change))
            for change in (
                {"events": -1},
                {"events": "1"},
                {"begin": None},
                {"actors": "/a"},
                {"actors": [1]},
                {"peers": [None]},
                {"kinds": 3},
                {"messages": [1]},
                {"messages": ["a", "b"]},
                {"causes": [[1]]},
                {"waits": "1"},
                {"length": 0},
                {"length": 1 << 40},
                {"checksum": 0},
                {"data": b"other"},
                {"data": "text"},
            )
        ),
    ],
    ids=itertools.count(),
)
def test_damage_is_told_and_what_is_before_it_is_read(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "trace"
    events = _written(path, 2)
    end = _blocks(path)[-2]
    path.write_bytes(path.read_bytes()[:end] + damage + msgpack.packb(["end"]))
    trace = Trace.open(path)
    assert list(trace) == events
    assert f"is damaged behind byte {end}: " in trace.damage
    assert "2 events before that were read" in trace.damage
    assert not trace.cut_off
    assert not trace.complete
    read = read_trace(path)
    assert [next(read), next(read)] == events
    with pytest.raises(ProtocolError, match="trace is damaged"):
        next(read)


def _data(content: object) -> dict[str, Any]:
    raw = msgpack.packb(content)
    data = zlib.compress(raw)
    return {"data": data, "checksum": zlib.crc32(data), "length": len(raw)}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [1],
        [["too", "short"]],
        [[0.0, 7, "/a", 1, 1, 0, "t", "d", "", 0, 0, 0.0, b""]],
        [[0.0, "send", "/a", 1, 1, 0, "t", None, "", 0, 0, 0.0, b""]],
        [[0.0, "ask", "/a", 1, 1, 0, "/b", "t", "", 0]],
        [[0.0, "take", "/a", 1, 1, 0, "/b", "t", "", 0, 0.0, b"payload"]],
    ],
)
def test_a_block_with_rows_that_are_none_is_refused(tmp_path: Path, content: object) -> None:
    """Its checksum is right: whoever made it did so on purpose."""
    path = tmp_path / "trace"
    _written(path, 0)
    path.write_bytes(path.read_bytes()[: _blocks(path)[1]] + msgpack.packb(_block(**_data(content))))
    with pytest.raises(ProtocolError, match="rows that are none"):
        list(Trace.open(path))


def test_a_block_that_inflates_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    _written(path, 0)
    bomb = _data("x" * 50_000_000) | {"length": 1000}
    path.write_bytes(path.read_bytes()[: _blocks(path)[1]] + msgpack.packb(_block(**bomb)))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ProtocolError, match="a block of the trace is damaged"):
        list(Trace.open(path))


@given(st.data())
def test_any_damage_ends_in_one_error_or_in_fewer_events(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace"
    events = _written(path, 4)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        found = list(Trace.open(path))
    except ProtocolError:
        return
    assert found == events[: len(found)] or Trace.open(path).damage == ""


def test_a_file_has_parts_of_which_the_first_and_the_latest_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    file = TraceFile(path, bytes_max=64 * 1024)
    for begin in range(0, 10_000, 50):
        batch = [_event(number, time_s=float(number)) for number in range(begin, begin + 50)]
        batch = [event._replace(detail=str(hash(event))) for event in batch]  # which cannot be deflated well
        file.write_rows([tuple(event) for event in batch])
        there = [path, *parts_of(path).values()]
        assert sum(part.stat().st_size for part in there) <= 64 * 1024
        assert list(Trace.open(path))[-50:] == batch, "it can be read at any time"
    file.close()
    trace = Trace.open(path)
    assert trace.rotated
    assert trace.complete
    numbers = [event.msg_id for event in trace]
    gap = next(at for at, number in enumerate(numbers) if number != at)
    assert gap >= 200, "the beginning stays"
    assert numbers[gap:] == list(range(numbers[gap], 10_000)), "and the end"
    assert 10_000 - numbers[gap] > 1000
    parts = list(parts_of(path))
    assert parts == list(range(parts[0], parts[-1] + 1))
    assert len(parts) == 7


def test_a_new_trace_replaces_all_parts_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    test_a_file_has_parts_of_which_the_first_and_the_latest_are_kept(tmp_path)
    precious = tmp_path / "run.trace.notes"
    precious.write_text("mine")
    assert parts_of(path)
    TraceFile(path).close()
    assert parts_of(path) == {}
    assert precious.read_text() == "mine"
    assert list(read_trace(str(path))) == []


def test_a_part_that_is_no_trace_is_not_replaced(tmp_path: Path) -> None:
    other = tmp_path / "run.trace.3"
    other.write_text("words that nobody else has")
    with pytest.raises(FileExistsError, match="is no trace"):
        TraceFile(tmp_path / "run.trace")
    assert other.read_text() == "words that nobody else has"
    assert not (tmp_path / "run.trace").exists()


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_trace(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        TraceFile(tmp_path / "missing" / "trace")


def test_errors_of_writing_surface(tmp_path: Path) -> None:
    full = Path("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        TraceFile(full)
    file = TraceFile(tmp_path / "trace")
    real = file._file
    file._file = full.open("wb")
    real.close()
    with pytest.raises(OSError, match="No space left") as caught:
        file.write_rows([tuple(_event(0))])
    assert caught.value.filename == "/dev/full"
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


def test_the_time_of_day_is_known_if_the_clock_is_a_real_one(tmp_path: Path) -> None:
    for clock_s, known in [(12.5, True), (None, False)]:
        TraceFile(tmp_path / "trace", clock_s=clock_s).close()
        assert (Trace.open(tmp_path / "trace").wall_s > 1.6e9) == known
    assert Trace.of(events_of(3)).wall_s == 0.0


def test_a_reader_knows_whether_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    file = TraceFile(path, clock_s=100.0)
    file.write_rows([tuple(event) for event in events_of(3)])
    trace = Trace.open(path)
    assert trace.live
    assert trace.now_s >= 100.0 > trace.end_s
    file.close()
    trace = Trace.open(path)
    assert not trace.live
    assert trace.now_s == trace.end_s


def test_a_trace_that_another_system_writes_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    file = TraceFile(path, bytes_max=64 * 1024)
    with pytest.raises(OSError, match="is being written by another system"):
        TraceFile(path)
    while not parts_of(path):
        file.write_rows([tuple(event) for event in events_of(64)])
    with pytest.raises(OSError, match="is being written by another system"):
        TraceFile(path)
    file.close()
    assert not Trace.open(path).damage
    TraceFile(path).close()


def test_a_clock_that_is_no_real_one_has_no_now(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "trace")
    file.write_rows([tuple(event) for event in events_of(3)])
    trace = Trace.open(tmp_path / "trace")
    assert trace.live
    assert trace.now_s == trace.end_s
    file.close()


def test_the_part_that_is_written_to_tells_whether_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    file = TraceFile(path, bytes_max=64 * 1024)
    while not parts_of(path):
        file.write_rows([tuple(event) for event in events_of(64)])
    assert Trace.open(path).live
    assert not is_claimed(path)
    file.close()
    assert not Trace.open(path).live


def test_a_reader_knows_what_was_to_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    TraceFile(path).close()
    assert not Trace.open(path).partial
    TraceFile(path, level="waits", sample=0.25).close()
    trace = Trace.open(path)
    assert (trace.level, trace.sample, trace.partial) == ("waits", 0.25, True)


def test_whoever_wants_is_told_how_much_was_read(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "trace")
    for _ in range(4):
        file.write_rows([tuple(event) for event in events_of(3)])
    file.close()
    trace = Trace.open(tmp_path / "trace")
    parts: list[float] = []
    trace.on_read = parts.append
    assert len(list(trace)) == 12
    assert parts == [0.25, 0.5, 0.75, 1.0]
    list(trace)
    assert parts[4:] == [0.0] * 4, "how much is left is not known when it is read again"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["time_s", "limit_s"])
def test_times_that_are_no_numbers_are_damage(tmp_path: Path, field: str, odd: float) -> None:
    file = TraceFile(tmp_path / "trace")
    one, two, three = events_of(3)
    changed = two._replace(time_s=odd) if field == "time_s" else two._replace(limit_s=odd)
    file.write_rows([tuple(one), tuple(changed), tuple(three)])
    file.close()
    with pytest.raises(ProtocolError, match="times that are no numbers"):
        list(Trace.open(tmp_path / "trace"))


def test_an_index_whose_times_are_no_numbers_is_damage(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "trace")
    file.write_rows([tuple(event._replace(time_s=math.nan)) for event in events_of(3)])
    file.close()
    assert "the index of a block is damaged" in Trace.open(tmp_path / "trace").damage


@pytest.mark.parametrize(
    "detail", ["queued nan s, worked inf s", "queued x s, worked 1 s", "queued 1.2.3 s, worked 1 s"]
)
def test_times_of_a_job_are_numbers(detail: str) -> None:
    assert JobTimes.of(TraceEvent(1.0, "job_end", "/a", 1, 0, 0, "job", detail)) is None
