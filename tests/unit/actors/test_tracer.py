"""What is kept of what happens: the thread that writes, levels, samples, and what is impossible."""

from __future__ import annotations

import errno
import math
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery import Told
from actors.messages import Down, schema_of
from actors.tracing import EVENT_KINDS, Trace, TraceFile, TraceOptions, Tracer
from actors.tracing.options import LEVELS
from actors.tracing.rows import FREQUENT, expand_all
from actors.tracing.selecting import SETTLED_MAX, Selection
from actors.waits import Origin
from tests.helpers.trace_rows import row_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.tracing.rows import Row

LIMIT_S = 20


class Rows:
    """Takes rows; from a certain batch on it fails, or waits."""

    def __init__(
        self,
        *,
        fails_at: int = 1_000_000,
        gate: threading.Event | None = None,
        error: Exception | None = None,
    ) -> None:
        self.batches: list[list[Row]] = []
        self.threads: set[str] = set()
        self.closed = 0
        self.written = threading.Event()
        self._fails_at = fails_at
        self._gate = gate
        self._error = error
        self.failed = threading.Event()

    def write_rows(self, rows: Sequence[Row]) -> None:
        if self._gate is not None:
            assert self._gate.wait(LIMIT_S)
        if len(self.batches) >= self._fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self._error is not None:
            self.failed.set()
            raise self._error
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(rows))
        self.written.set()

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[int]:
        return [row[4] for batch in self.batches for row in batch]


def test_rows_are_written_by_a_thread_without_anything_else_happening() -> None:
    rows = Rows()
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=0.01))
    tracer.emit("send", "/a", msg_id=1)
    assert rows.written.wait(LIMIT_S), "no further event was needed"
    tracer.emit("send", "/a", msg_id=2)
    tracer.close()
    assert rows.numbers == [1, 2]
    assert "actors-trace" in rows.threads
    assert rows.closed == 1
    tracer.emit("send", "/a", msg_id=3)
    assert [event.msg_id for event in tracer.events()] == [1, 2, 3], "the ring goes on"
    tracer.close()
    assert rows.closed == 1
    assert not any(thread.name == "actors-trace" for thread in threading.enumerate())


def test_what_is_not_written_yet_is_in_memory_all_the_same() -> None:
    tracer = Tracer(lambda: 0.0, ring_size=3, file=Rows(), options=TraceOptions(flush_s=1000.0))
    for number in range(5):
        tracer.emit("send", "/a", msg_id=number)
    assert [event.msg_id for event in tracer.events()][-3:] == [2, 3, 4]
    tracer.flush()
    assert [event.msg_id for event in tracer.events()] == [2, 3, 4]
    tracer.close()


def test_many_rows_go_in_several_batches_in_order() -> None:
    rows = Rows()
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=1000.0))
    for number in range(10_000):
        tracer.emit("send", "/a", msg_id=number)
    tracer.flush()
    assert rows.numbers == list(range(10_000))
    assert max(map(len, rows.batches)) <= 4096
    tracer.close()


def test_a_disk_that_fails_is_given_up_and_told_at_the_end() -> None:
    rows = Rows(fails_at=1)
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=1000.0))
    for number in range(3):
        tracer.emit("send", "/a", msg_id=number)
        tracer.flush()
    assert rows.numbers == [0]
    assert rows.closed == 1
    with pytest.raises(OSError, match="No space left"):
        tracer.close()
    tracer.close()
    assert [event.msg_id for event in tracer.events()] == [0, 1, 2]


class _Meanwhile(deque[Any]):
    """Rows not written yet; `act` happens while the thread takes the first, or the loop looks at the last."""

    act: Callable[[], object] | None = None

    def popleft(self) -> Any:
        row = super().popleft()
        self._once()
        return row

    def __getitem__(self, index: Any) -> Any:
        row = super().__getitem__(index)
        self._once()
        return row

    def _once(self) -> None:
        act, self.act = self.act, None
        if act is not None:
            act()


@pytest.mark.parametrize("pack", [None, lambda _: b""])
def test_a_row_that_is_taken_back_while_others_are_written_loses_none_of_them(pack: Any) -> None:
    rows = Rows()
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=1000.0), pack=pack)
    for number in range(3):
        tracer.emit("send", "/a", msg_id=number)
    tracer._fresh = fresh = _Meanwhile(tracer._fresh)
    fresh.act = fresh.pop
    tracer.flush()
    assert rows.numbers == [0, 1]
    tracer.close()


def test_what_another_thread_tells_is_not_taken_back_for_a_row_of_the_loop() -> None:
    tracer = Tracer(lambda: 0.0, file=Rows(), options=TraceOptions(flush_s=1000.0))
    row = (0.0, "take", "/a", 1, 7, 0, "outside", "note", "idle", 8, 1.0)
    tracer._fresh = fresh = _Meanwhile([row])
    tracer._keep = tracer._route()
    fresh.act = lambda: tracer.emit("dump", "outside")
    assert not tracer._take_back(row)
    assert [event.kind for event in tracer.events()] == ["receive", "dump"]
    tracer.close()


@pytest.mark.parametrize(
    ("limit_s", "name"), [(np.float32(0.5), "job"), ("soon", 3), (None, Path("job")), (2, "\ud800")]
)
def test_a_value_that_has_no_place_in_a_file_costs_nothing_else(
    tmp_path: Path, limit_s: Any, name: Any
) -> None:
    path = tmp_path / "trace"
    tracer = Tracer(lambda: 1.0, file=TraceFile(path), options=TraceOptions(flush_s=1000.0))
    tracer.emit("send", "/a", msg_id=1)
    tracer.emit("job", "/a", wait_id=1 << 70, limit_s=limit_s, type_=name)
    tracer.flush()
    tracer.emit("send", "/a", msg_id=2)
    tracer.close()
    trace = Trace.open(path)
    assert [event.msg_id for event in trace] == [1, 0, 2]
    assert not trace.damage
    odd = list(trace)[1]
    assert odd.limit_s == (0.0 if limit_s in {None, "soon"} else limit_s)
    assert odd.type == {3: "3", Path("job"): "job", "\ud800": "\\ud800"}.get(name, name)


def test_a_fault_of_the_file_is_told_at_the_end_and_ends_no_thread_without_a_word() -> None:
    rows = Rows(error=KeyError("no such row"))
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=0.01))
    tracer.emit("send", "/a", msg_id=1)
    assert rows.failed.wait(LIMIT_S)
    with pytest.raises(OSError, match="could not be written: KeyError: 'no such row'"):
        tracer.close()
    assert rows.closed == 1


def test_a_program_that_ends_without_closing_it_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    program = (
        "import sys; from pathlib import Path; from actors.tracing import TraceFile, TraceOptions, Tracer\n"
        "file = TraceFile(Path(sys.argv[1]))\n"
        "tracer = Tracer(lambda: 1.0, file=file, options=TraceOptions(flush_s=1000.0))\n"
        "for number in range(5000): tracer.emit('send', '/a', msg_id=number)\n"
    )
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=LIMIT_S)
    trace = Trace.open(path)
    assert [event.msg_id for event in trace] == list(range(5000))
    assert not trace.complete


def test_a_disk_that_does_not_answer_holds_nobody_up_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.tracing.tracer.CLOSE_S", 0.05)
    gate = threading.Event()
    rows = Rows(gate=gate)
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=0.01))
    tracer.emit("send", "/a", msg_id=1)
    try:
        while tracer.unwritten:  # the thread has it, and hangs
            threading.Event().wait(0.01)
        with pytest.raises(OSError, match="not on the disk"):
            tracer.close()
    finally:
        gate.set()
    assert rows.written.wait(LIMIT_S)


def test_what_is_lost_because_the_disk_is_too_slow_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.tracing.tracer.UNWRITTEN_MAX", 5)
    rows = Rows()
    tracer = Tracer(lambda: 0.0, file=rows, options=TraceOptions(flush_s=1000.0))
    for number in range(1, 5):
        tracer.emit("send", "/a", msg_id=number)
    tracer.flush()
    for number in range(5, 50):
        tracer.emit("send", "/a", msg_id=number)
    tracer.close()
    assert rows.numbers == [1, 2, 3, 4, 0, 46, 47, 48, 49]
    assert rows.batches[-1][0][1] == "gap"


def test_it_does_without_a_thread_if_there_is_none_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    rows = Rows()
    tracer = Tracer(lambda: 0.0, file=rows)
    tracer.emit("send", "/a", msg_id=1)
    tracer.close()
    assert rows.numbers == [1]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"level": "all"}, "level is 'all'"),
        ({"payloads": "some"}, "payloads is 'some'"),
        ({"sample": 1.5}, r"sample is 1\.5"),
        ({"sample": math.nan}, "sample is nan"),
        ({"bytes_max": 1}, "bytes_max is 1"),
        ({"flush_s": 0.0}, r"flush_s is 0\.0"),
        ({"flush_s": math.inf}, "flush_s is inf"),
        ({"ring_size": 0}, "ring_size is 0"),
    ],
)
def test_what_is_impossible_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TraceOptions(**changes)


def test_every_kind_belongs_to_one_level_and_every_row_of_messages_to_the_last() -> None:
    named = [kind for kinds in LEVELS.values() for kind in kinds]
    assert len(named) == len(set(named))
    assert set(named) <= FREQUENT | EVENT_KINDS.keys()
    assert LEVELS["messages"] >= FREQUENT


@given(st.lists(row_strategy(), max_size=30))
def test_levels_keep_more_and_more(rows: list[Row]) -> None:
    kept = []
    for level in LEVELS:
        selection = Selection(TraceOptions(level=level))  # type: ignore[arg-type]  # it is one of them
        kept.append([row for row in rows if selection.keeps(row)])
    assert kept[-1] == rows
    assert [row for row in kept[1] if row in kept[0]] == kept[0]
    assert {row[1] for row in kept[0]} & set().union(*LEVELS.values()) == set()


def _tree(root: int, children: int) -> list[Row]:
    """A message from outside, which causes others."""
    rows: list[Row] = [(0.0, "ask", "outside", 0, root, 0, "/a", "t", "", 1, 1.0)]
    rows.append((0.0, "take", "/a", 1, root, 0, "outside", "t", "", 1, 1.0))
    for number in range(root + 1, root + 1 + children):
        rows.append((0.0, "ask", "/a", 1, number, root, "/b", "u", "", 1, 1.0))
        rows.append((0.0, "take", "/b", 1, number, 0, "/a", "u", "", 1, 1.0))
        rows.append((0.0, "job", "/b", 1, 0, number, "work", "", "", 0, number, 0.0, b""))
        rows.append((0.0, "answer", "/b", 1, number, root, "/a", "u", "v", 1, "", 1))
        rows.append((0.0, "drop", "/b", 1, number, number, "u", "late reply", "", 0, 0, 0.0, b""))
    rows.append((0.0, "answer", "/a", 1, root, 0, "outside", "t", "v", 0, "", 1))
    return rows


def test_a_sample_has_whole_trees_of_messages_and_about_its_share() -> None:
    selection = Selection(TraceOptions(sample=0.25))
    kept = 0
    for root in range(1, 10_000, 5):
        rows = _tree(root, 4)
        found = [row for row in rows if selection.keeps(row)]
        dead = [row for row in rows if row[1] == "drop"]
        assert found in (rows, dead), "all of it or nothing but what went wrong"
        kept += found == rows
    assert 400 < kept < 600
    assert len(selection._muted) <= SETTLED_MAX < 5 * (2000 - kept), "what is over is forgotten"


@pytest.mark.parametrize(("sample", "kept"), [(0.0, 0), (1.0, 200)])
def test_a_sample_of_nothing_and_of_all(sample: float, kept: int) -> None:
    selection = Selection(TraceOptions(sample=sample))
    rows = [row for root in range(1, 201) for row in _tree(root * 10, 0)]
    assert sum(selection.keeps(row) for row in rows if row[1] == "ask") == kept


def test_options_decide_what_gets_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    options = TraceOptions(path=path, level="waits")
    tracer = Tracer(lambda: 1.0, file=TraceFile(path), options=options)
    for row in _tree(1, 2):
        tracer._keep(row)
    tracer.emit("start", "/a", 1)
    tracer.close()
    kinds = [event.kind for event in Trace.open(path)]
    assert kinds == ["job", "drop", "job", "drop", "start"]
    assert [event.kind for event in tracer.events()] == kinds
    assert {"wait", "send"} <= {event.kind for event in expand_all(_tree(1, 2))}


def test_what_is_left_out_is_not_packed() -> None:
    packed: list[object] = []

    def pack(body: object) -> bytes:
        packed.append(body)
        return b"payload"

    told = Told((schema_of(Down), b"", (), None), Origin("outside"), 7)
    for sample, kept in [(0.0, 0), (1.0, 1)]:
        tracer = Tracer(lambda: 0.0, options=TraceOptions(sample=sample), pack=pack)
        tracer.told(told, "/a")
        assert len(packed) == len(tracer.events()) == kept
    assert tracer.events()[0].payload == b"payload"
