"""Whatever somebody raises, its text fits into a message."""

from __future__ import annotations

import pytest

from actors.messages import Failure
from actors.reasons import REASON_CHARS_MAX, TRACEBACK_CHARS_MAX, describe, failure_of
from actors.wire import HEAD_BYTES_MAX, Codec, Kind


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class HopelessError(Exception):
    def __getattribute__(self, name: str) -> object:
        if name == "__notes__":
            raise RuntimeError("no notes")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such shard"), "ValueError: no such shard"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (OSError("file \udcff"), "OSError: file \\udcff"),
        (UnprintableError(), "UnprintableError: (no text: RuntimeError)"),
        (None, "NoneType"),
    ],
)
def test_an_error_is_described_by_its_class_and_text(error: BaseException | None, text: str) -> None:
    assert describe(error) == text


def test_a_long_text_is_cut() -> None:
    text = describe(ValueError("x" * 1_000_000))
    assert len(text) < REASON_CHARS_MAX + 50
    assert text.endswith(" ...")


@pytest.mark.parametrize(
    "error", [ValueError("\U0001f600" * 100_000), UnprintableError(), HopelessError("h"), OSError("\udcff")]
)
def test_a_failure_always_fits_into_a_frame(error: Exception) -> None:
    try:
        raise error
    except type(error) as raised:
        failure = failure_of(raised)
    assert isinstance(failure, Failure)
    assert len(failure.traceback_text) <= TRACEBACK_CHARS_MAX
    frame = Codec().encode(Kind.FAILURE, "/to", "/from", 1, 1, 1, 0, failure)
    assert len(frame.head) < HEAD_BYTES_MAX
    assert failure.error_type == type(error).__name__
