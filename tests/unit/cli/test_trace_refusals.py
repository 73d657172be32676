"""What `crystalline trace` cannot use: exit code 2, one line that names it, nothing half-written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.tracing import TraceEvent, TraceFile
from crystalline.cli.app import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is called in, with a small trace and files that are none."""
    sink = TraceFile(tmp_path / "mine.trace")
    sink.write(TraceEvent(1.0, "start", "/root", 1, 0, 0, "Root", "crystalline.training.root:Root"))
    sink.write(TraceEvent(2.0, "send", "outside", 0, 1, 0, "note", "/root"))
    sink.close()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "made").write_text("mine")
    (tmp_path / "nothing").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("gone.trace",), "gone.trace does not exist"),
        (("empty",), "empty"),
        (("binary", "stuck"), "binary is not a trace"),
        (("/dev/zero", "stuck"), "/dev/zero is not a file"),
        (("nothing",), "nothing has no trace in it"),
        (("why", "mine.trace", "/nobody"), "/nobody"),
        (("why", "mine.trace"), "SYMPTOM"),
        (("critical", "mine.trace", "--epoch", "7"), "7"),
        (("critical", "mine.trace", "--message", "many"), "many"),
        (("sequence", "mine.trace", "--actor", "/nobody"), "/nobody"),
        (("sequence", "mine.trace", "--limit", "0"), "limit"),
        (("diff", "mine.trace"), "B"),
        (("diff", "mine.trace", "gone.trace"), "gone.trace does not exist"),
        (("timeline", "mine.trace"), "--out"),
        (("sequence", "mine.trace", "--out", "made"), "made exists"),
        (("html", "mine.trace", "--out", "."), ". is not a file"),
        (("html", "mine.trace", "--out", "mine.trace", "--force"), "mine.trace is the trace itself"),
        (("otel", "mine.trace", "--out", "gone/spans.json"), "there is no folder gone"),
        (("html", "mine.trace", "--out", "/proc/made.html"), "/proc/made.html cannot be written"),
        (("mine.trace", "whyy", "/root"), "whyy"),
    ],
)
def test_what_cannot_be_used_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    before = files(place)
    assert run(["trace", *words]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("error: ")
    assert complaint in line
    assert said.out == ""
    assert files(place) == before
