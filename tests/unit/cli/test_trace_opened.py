"""Where a trace is looked for, and how the reading of one ends."""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import typer

from actors.tracing import Trace, TraceEvent, TraceFile, TraceQueryError
from crystalline.cli.output import replacing
from crystalline.cli.trace_opened import place_of, reading
from crystalline.errors import InputError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A trace of one event."""
    path = tmp_path / "mine.trace"
    sink = TraceFile(path)
    sink.write(TraceEvent(1.0, "start", "/root", 1, 0, 0, "Root", ""))
    sink.close()
    return path


def test_a_file_is_itself(file: Path) -> None:
    assert place_of(file) == file


def test_a_folder_stands_for_the_trace_in_it_or_beside_it(file: Path) -> None:
    run = file.with_suffix("")
    run.mkdir()
    assert place_of(run) == file
    inside = run / "any.trace"
    inside.write_bytes(file.read_bytes())
    assert place_of(run) == inside


def test_a_run_without_a_folder_yet_stands_for_the_trace_beside_its_place(file: Path) -> None:
    assert place_of(file.with_suffix("")) == file


def test_a_folder_that_is_named_by_a_dot(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = file.with_suffix("")
    run.mkdir()
    monkeypatch.chdir(run)
    assert place_of(type(run)()) == file


def test_what_is_no_trace_is_named(file: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.trace", "b.trace"):
        (tmp_path / "two" / name).write_bytes(file.read_bytes())
    os.mkfifo(tmp_path / "pipe")
    for name, complaint in {
        "empty": "no trace in it",
        "two": "has 2 traces, such as",
        "pipe": "is not a file",
        "gone": "does not exist",
    }.items():
        with pytest.raises(InputError, match=f"{tmp_path / name} .*{complaint}"):
            place_of(tmp_path / name)


def test_what_is_asked_in_vain_is_the_users_mistake(file: Path) -> None:
    with pytest.raises(InputError, match="there is no actor /nobody"), reading(file):
        raise TraceQueryError("there is no actor /nobody")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Trace([]), []),
        (Trace([], damage="it is damaged", complete=False), ["warning: it is damaged"]),
        (Trace([], damage="it was cut off", cut_off=True, complete=False), ["note: it was cut off"]),
        (
            Trace([], complete=False),
            ["note: FILE lacks the end of the run: its process was killed, or goes on elsewhere"],
        ),
        (
            Trace([], complete=False, live=True),
            ["note: FILE lacks the end of the run: its process goes on"],
        ),
        (Trace([], sample=0.25), ["note: FILE was told to keep only 0.25 of what came from outside"]),
        (
            Trace([], level="waits", sample=0.5),
            ["note: FILE was told to keep only the level waits and 0.5 of what came from outside"],
        ),
        (
            Trace([], rotated=True),
            ["note: FILE has a gap behind its beginning: what was there was removed to save room"],
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_beside_the_answer(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: Trace,
    said: list[str],
) -> None:
    monkeypatch.setattr(Trace, "open", lambda _path: found)
    with reading(file) as traces:
        assert traces == [found]
    assert capsys.readouterr().err.replace(str(file), "FILE").splitlines() == said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_removes_what_was_begun(
    file: Path, tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(typer.Exit) as exited, reading(file), replacing(tmp_path / "out"):
        os.kill(os.getpid(), number)
    assert exited.value.exit_code == 128 + number
    assert capsys.readouterr().err == "interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == [file]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_how_long_nothing_has_happened(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    event = next(iter(Trace.open(file)))
    found = Trace.of([event])
    found.complete, found.wall_s = False, time.time() - event.time_s - 3600.0
    monkeypatch.setattr(Trace, "open", lambda _path: found)
    with reading(file):
        pass
    assert "; its last event is 3,60" in capsys.readouterr().err


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        (tmp_path / "gone").read_bytes()
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    with replacing(path) as part:
        part.write_text("new")
    assert (path.read_text(), list(tmp_path.iterdir())) == ("new", [path])


def test_whose_error_it_is_when_one_file_is_made_of_another(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="out cannot be written"), replacing(tmp_path / "gone" / "out"):
        pass
    with pytest.raises(FileNotFoundError, match="source"), replacing(tmp_path / "out"):
        (tmp_path / "source").read_bytes()


def test_meanwhile_no_garbage_is_looked_for(file: Path) -> None:
    assert gc.isenabled()
    with reading(file):
        assert not gc.isenabled()
    assert gc.isenabled()
