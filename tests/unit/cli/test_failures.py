"""Which exit code and which words an error ends with."""

from __future__ import annotations

import errno

import pytest
import typer

from actors.notes import with_notes
from crystalline.cli.app import run
from crystalline.cli.failures import Failure, failure_of
from crystalline.errors import (
    CorpusError,
    CrystallineError,
    ModelFolderError,
    NonFiniteError,
    OutputError,
    SettingError,
    TrainingError,
)


@pytest.mark.parametrize("kind", [CorpusError, ModelFolderError, OutputError, SettingError])
def test_what_the_user_handed_in_is_2_and_one_line(kind: type[CrystallineError]) -> None:
    assert failure_of(kind("text.txt is\n   bad")) == Failure(2, "text.txt is bad")


@pytest.mark.parametrize("kind", [TrainingError, NonFiniteError])
def test_a_failed_training_is_1_with_its_story(kind: type[CrystallineError]) -> None:
    assert failure_of(kind("first this\nthen that")) == Failure(1, "first this\nthen that")


def test_a_word_that_cannot_be_parsed_is_2() -> None:
    failure = failure_of(typer.BadParameter("not a number"))
    assert failure is not None
    assert failure.code == 2
    assert "not a number" in failure.text


def test_a_word_of_the_wrong_type_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--epochs", "foo"]) == 2
    line = capsys.readouterr().err
    assert "--epochs" in line
    assert "'foo'" in line


def test_the_operating_system_names_the_file() -> None:
    failure = failure_of(OSError(errno.ENOSPC, "No space left on device", "out/trace"))
    assert failure is not None
    assert failure.code == 2
    assert failure.text.startswith("out/trace: No space left on device")


def test_an_error_of_the_system_without_a_file_still_has_words() -> None:
    assert failure_of(OSError()) == Failure(2, "OSError (make room, change the rights or name another path)")


def test_too_little_memory_is_2() -> None:
    failure = failure_of(MemoryError())
    assert failure is not None
    assert failure.code == 2


def test_a_group_of_one_is_that_one() -> None:
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [SettingError("lr is bad")])])
    assert failure_of(group) == Failure(2, "lr is bad")


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), AssertionError(), ExceptionGroup("two", [SettingError("a"), SettingError("b")])],
)
def test_what_nobody_foresaw_keeps_its_traceback(error: Exception) -> None:
    assert failure_of(error) is None


def test_who_waited_for_whom_stands_below_a_training_that_failed() -> None:
    error = with_notes(
        TrainingError("epoch 1 was not done"), ["a waits for b", "b is idle", "in b: Traceback\n  File"]
    )
    failure = failure_of(error)
    assert failure is not None
    assert failure.text == "epoch 1 was not done\n  a waits for b\n  b is idle"
    refusal = failure_of(with_notes(SettingError("bad input"), ["a waits for b"]))
    assert refusal is not None
    assert refusal.text == "bad input"
