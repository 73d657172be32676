"""What went wrong, as an exit code and a line for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer

from crystalline.errors import CrystallineError, InputError

__all__ = ["Failure", "failure_of"]


@dataclass(frozen=True, slots=True)
class Failure:
    """How a command that cannot go on ends.

    Attributes:
        code: its exit code.
        text: for standard error; one line, or the story of a training that failed, with its notes below.
    """

    code: int
    text: str


def failure_of(error: BaseException) -> Failure | None:
    """The exit code and the text for an error; None for one that nobody foresaw, which deserves a traceback.

    A group of errors that holds a single one counts as that one.
    """
    match error:
        case BaseExceptionGroup(exceptions=(single,)):
            return failure_of(single)
        case CrystallineError():
            return _ours(error)
        case typer.TyperException():
            return Failure(error.exit_code, _usage(error))
        case OSError():
            return Failure(2, _os_error(error))
        case MemoryError():
            return Failure(2, "there is not enough memory for this: choose smaller sizes")
        case _:
            return None


def _ours(error: CrystallineError) -> Failure:
    if isinstance(error, InputError):
        return Failure(2, _one_line(error))
    # What the user handed in is not to blame: who waited for whom is what tells the cause.
    return Failure(1, "\n".join([str(error), *(f"  {note}" for note in _notes(error))]))


def _notes(error: CrystallineError) -> list[str]:
    """Those of one line. Others are tracebacks, for whoever writes programs."""
    return [note for note in getattr(error, "__notes__", ()) if "\n" not in note]


def _usage(error: typer.TyperException) -> str:
    ctx = getattr(error, "ctx", None)
    remedy = f" (see {ctx.command_path} --help)" if ctx else ""
    return _one_line(error.format_message()) + _as_typed(error) + remedy


def _as_typed(error: typer.TyperException) -> str:
    """The word that has the wrong type; the library tells it only to whoever asks for the cause."""
    details: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    return f", got {details[0]['input']!r}" if details else ""


def _os_error(error: OSError) -> str:
    what = error.strerror or str(error) or type(error).__name__
    place = f"{error.filename}: " if error.filename is not None else ""
    return _one_line(f"{place}{what} (make room, change the rights or name another path)")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
