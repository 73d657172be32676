"""What can be seen of a training from outside: options that are refused, and failures that are warnings."""

from __future__ import annotations

import io
import logging
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from actors import ActorSystem
from actors.living.place import socket_of
from crystalline.cli import living
from crystalline.cli.app import run
from crystalline.cli.living import dump_signal_of, looked_at, mind, start_log
from crystalline.cli.top import top
from crystalline.errors import RunFolderError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _all_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers, heard = root.level, list(root.handlers), signal.getsignal(signal.SIGUSR1)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    signal.signal(signal.SIGUSR1, heard)


@pytest.mark.parametrize("name", ["SIGUSR2", "usr2", "USR2", "sigusr2"])
def test_a_signal_has_a_name(name: str) -> None:
    assert dump_signal_of(name) == signal.SIGUSR2


def test_there_may_be_none() -> None:
    assert dump_signal_of("none") is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("SIGINT", "ends or stops"),
        ("term", "ends or stops"),
        ("KILL", "ends or stops"),
        ("SIGNOWHERE", "no such signal"),
        ("SIG_DFL", "no such signal"),
        ("", "no such signal"),
    ],
)
def test_some_signals_are_refused(name: str, why: str) -> None:
    with pytest.raises(SettingError, match=why):
        dump_signal_of(name)


def test_where_there_is_no_such_signal_the_default_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGUSR1")
    assert dump_signal_of("SIGUSR1") is None


def test_a_signal_that_comes_early_harms_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    mind(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    assert capfd.readouterr().err == "no actors are at work now: nothing to tell of\n"


def test_the_log_is_left_alone_unless_something_is_asked_for() -> None:
    before = list(logging.getLogger().handlers)
    start_log(None, None)
    assert logging.getLogger().handlers == before


def test_the_log_is_written_from_a_level_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    start_log(None, "INFO")
    logging.getLogger("tests").info("seen")
    logging.getLogger("tests").debug("not seen")
    assert "INFO tests: seen\n" in stream.getvalue()
    assert "not" not in stream.getvalue()


@pytest.mark.parametrize(("form", "level"), [("xml", None), (None, "loud")])
def test_there_are_so_many_forms_and_levels(form: str | None, level: str | None) -> None:
    with pytest.raises(SettingError, match="choose from"):
        start_log(form, level)


async def test_what_cannot_be_set_up_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(1, "is not a folder that only this user may enter", "/somewhere")

    monkeypatch.setattr(living, "serve_picture", fail)
    async with ActorSystem() as system:
        with looked_at(system, tmp_path, signal.SIGKILL):
            pass
    first, second = caplog.messages
    assert first.startswith("crystalline top cannot look at this run: ")
    assert second.startswith("no signal asks for a dump of this run: ")


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf"])
def test_top_needs_a_time_between_two_looks(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "nowhere", "--interval", interval]) == 2
    assert "--interval is " in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--once"], ["--once", "--json"], ["--json"]])
def test_top_says_where_nothing_lives(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["top", str(tmp_path), *options]) == 2
    seen = capsys.readouterr()
    assert (seen.out, seen.err.startswith(f"error: no living training in {tmp_path}: ")) == ("", True)


def test_of_a_process_that_does_not_answer_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crystalline.cli.top._ANSWER_S", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_of(tmp_path)))
        listener.listen()
        with pytest.raises(RunFolderError, match=r"did not answer within 0\.05 s: .*kill -CONT"):
            top(tmp_path, once=True)
