"""A process that is killed while it writes its trace leaves everything but the last moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from actors import ProtocolError
from actors.tracing import Trace

PROGRAM = Path(__file__).parent / "programs" / "traced_and_stuck.py"
LIMIT_S = 50.0

pytestmark = pytest.mark.e2e


def _started(path: Path, flush_s: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), str(path), flush_s], stdout=subprocess.PIPE)


def _trace_when(path: Path, kind: str, type_: str) -> Trace:
    """The trace as soon as it has such an event; nobody waits for it longer than agreed."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        try:
            trace = Trace.open(path)
        except (ProtocolError, FileNotFoundError):
            continue  # it is being begun
        if any(event.type == type_ for event in trace.select(kinds={kind}, backwards=True)):
            return trace
    raise AssertionError(f"no {kind} of {type_} within {LIMIT_S} s")


def test_what_was_flushed_is_there_although_the_process_was_blocked_and_killed(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path), "0.2"], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"blocked\n"
            # Its event loop does nothing any more, and what came last is written all the same.
            before = _trace_when(path, "receive", "stuck.block")
            assert before.live
            assert before.now_s >= before.end_s
        finally:
            process.kill()
    assert process.returncode == -9
    trace = Trace.open(path)
    assert not trace.complete
    assert not trace.live
    assert trace.now_s == trace.end_s
    assert not trace.damage
    events = list(trace)
    assert events[: len(before)] == list(before)
    asked = [event for event in events if event.kind == "reply" and event.type == "stuck.count"]
    assert len(asked) == 5000, "nothing is missing before that"
    assert [event.kind for event in events if event.type == "stuck.block"] == ["send", "receive"]


def test_a_process_killed_in_the_middle_leaves_a_trace_up_to_the_last_flush(tmp_path: Path) -> None:
    path = tmp_path / "run.trace"
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path), "0.001"], stdout=subprocess.PIPE
    ) as process:
        try:
            there = len(_trace_when(path, "reply", "stuck.count"))
        finally:
            process.kill()
    trace = Trace.open(path)
    assert trace.cut_off or not trace.damage
    events = list(trace)
    assert len(events) >= there
    numbers = [event.msg_id for event in events if event.kind == "send" and event.type == "stuck.count"]
    assert numbers == sorted(numbers)
    missing = {event.msg_id for event in events if event.kind == "receive"} - {
        event.msg_id for event in events if event.kind == "send"
    }
    assert not missing, "every message that was received is there from its beginning"
