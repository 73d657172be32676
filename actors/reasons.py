"""Errors as text that always fits into a message, whatever it was that somebody raised."""

from __future__ import annotations

import traceback
from typing import Final

from actors.messages import Failure
from actors.notes import notes_of

__all__ = ["describe", "failure_of", "text_of"]

REASON_CHARS_MAX: Final = 2_000
TRACEBACK_CHARS_MAX: Final = 8_192


def describe(error: BaseException | None) -> str:
    """Return the error's class and text, as in `ValueError: no such shard`, of a bounded length."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def failure_of(error: BaseException) -> Failure:
    """Return the body of an answer that says that a handler raised `error`."""
    try:
        story = "".join(traceback.format_exception(error))[-TRACEBACK_CHARS_MAX:]
    except Exception as another:  # noqa: BLE001 - an error's own methods may raise anything
        story = f"(no traceback: {type(another).__name__})"
    notes = tuple(_sendable(note) for note in notes_of(error))
    return Failure(type(error).__name__, text_of(error), _sendable(story), refused=False, notes=notes)


def text_of(error: BaseException | None) -> str:
    """Return the error's text, of a bounded length; empty for none."""
    if error is None:
        return ""
    try:
        text = str(error)
    except Exception as another:  # noqa: BLE001 - the same
        text = f"(no text: {type(another).__name__})"
    return _sendable(text if len(text) <= REASON_CHARS_MAX else f"{text[:REASON_CHARS_MAX]} ...")


def _sendable(text: str) -> str:
    """Lone surrogates, which come from undecodable file names, have no place in UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
