"""Log records that know in which actor, and while it handled which message, they were made.

That is looked up when a record is made; nothing is done where none is.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from actors.host import INSIDE
from actors.jobs import JOB_OF

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["TEXT_FORMAT", "ActorLogFilter", "JsonFormatter", "install_log", "whereabouts"]

TEXT_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def whereabouts() -> tuple[str, int]:
    """Path of the actor whose handler, hook or job runs here, and number of the message; "" and 0 outside."""
    if (origin := JOB_OF.get()) is not None:
        return origin.name, origin.cause_id
    if (inside := INSIDE.get()) is None:
        return "", 0
    host, path = inside
    cell = host.cells.get(path)
    return path, 0 if cell is None or cell.run is None else cell.run.cause_id


class ActorLogFilter(logging.Filter):
    """Gives every record `actor` and `msg_id`, and keeps them all. To be added to handlers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called for every record, where it was made; one that has an actor already keeps it."""
        if not hasattr(record, "actor"):
            record.actor, record.msg_id = whereabouts()
        return True


class JsonFormatter(logging.Formatter):
    """Each record as one line of JSON: time (ISO, UTC), level, logger, message, actor, msg_id.

    With an exception: also `exception`, the traceback, and `notes`, those of the error. The line is ASCII,
    whatever the text is.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _text(record),
            "actor": getattr(record, "actor", ""),
            "msg_id": getattr(record, "msg_id", 0),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = self._traceback(record)
            line["notes"] = [str(note) for note in getattr(record.exc_info[1], "__notes__", ())]
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=repr)

    def _traceback(self, record: logging.LogRecord) -> str:
        try:
            return self.formatException(record.exc_info) if record.exc_info else ""
        except Exception as error:  # noqa: BLE001 - an error's own methods may raise anything
            return f"(no traceback: {type(error).__name__})"


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - a message and its arguments may not fit, and this is a line all the same
        return f"{record.msg!s} (its arguments do not fit: {type(error).__name__})"


def install_log(
    *, json_lines: bool = False, level: int = logging.WARNING, stream: TextIO | None = None
) -> logging.Handler:
    """Write the log of the whole program to a stream, as lines that name the actor.

    Args:
        json_lines: as `JsonFormatter` does; else as text, with actor and message in brackets.
        level: from which on.
        stream: default standard error.

    Returns:
        The handler, for `logging.getLogger().removeHandler`.
    """
    handler = _ToStderr() if stream is None else logging.StreamHandler(stream)
    handler.addFilter(ActorLogFilter())
    handler.setFormatter(JsonFormatter() if json_lines else _TextFormatter(TEXT_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    return handler


class _ToStderr(logging.Handler):
    """To what is standard error when a record comes: a display may have taken its place meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as every handler does
            self.handleError(record)


class _TextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        text = super().formatMessage(record)
        actor, msg_id = getattr(record, "actor", ""), getattr(record, "msg_id", 0)
        return f"{text} [{actor}, message {msg_id}]" if actor else text
