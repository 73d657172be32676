"""What others may see of a training while it runs: its picture, its dump on a signal, its log."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from actors.living import dump_on_signal, install_log, serve_picture
from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors import ActorSystem

__all__ = ["NO_SIGNAL", "dump_signal_of", "looked_at", "mind", "start_log"]

LOGGER: Final = logging.getLogger("crystalline")
NO_SIGNAL: Final = "none"
_TAKEN: Final = {"SIGINT", "SIGTERM", "SIGKILL", "SIGSTOP", "SIGCHLD"}
_LEVELS: Final = ("debug", "info", "warning", "error")
_FORMATS: Final = ("text", "json")


@contextmanager
def looked_at(system: ActorSystem, run: Path, signum: int | None) -> Iterator[None]:
    """Let `crystalline top RUN` and a signal look at a system. What cannot be set up is a warning, no error.

    Args:
        system: at work.
        run: the folder of the run, which need not be there yet.
        signum: which signal asks for a dump; None for none.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(serve_picture(system, run))
        except OSError as error:
            LOGGER.warning("crystalline top cannot look at this run: %s", error)
        if signum is not None:
            try:
                stack.enter_context(dump_on_signal(system, signum))
            except (OSError, ValueError) as error:
                LOGGER.warning("no signal asks for a dump of this run: %s", error)
        yield


def mind(signum: int | None) -> None:
    """Until there are actors to tell of, and after their end, a signal that asks for them harms nobody."""
    if signum is not None:
        signal.signal(signum, _nothing_yet)


def _nothing_yet(_number: int, _frame: object) -> None:
    with suppress(OSError):
        os.write(2, b"no actors are at work now: nothing to tell of\n")


def dump_signal_of(name: str) -> int | None:
    """The signal of this name, with or without SIG before it; None for `none`, or where there is no SIGUSR1.

    Raises:
        SettingError: there is no such signal, or it means something else already.
    """
    if name.lower() == NO_SIGNAL:
        return None
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if full in _TAKEN:
        raise SettingError(f"--dump-signal {name}: that one ends or stops the training; take another one")
    found = getattr(signal, full, None)
    if not isinstance(found, signal.Signals):
        if full == "SIGUSR1":  # the default, where there is none
            return None
        raise SettingError(f"--dump-signal {name}: there is no such signal; try SIGUSR1, SIGUSR2 or none")
    return int(found)


def start_log(form: str | None, level: str | None) -> None:
    """Write the log to standard error as asked; without any wish warnings are written, as bare text.

    Raises:
        SettingError: there is no such form or level.
    """
    if form is not None and form not in _FORMATS:
        raise SettingError(f"--log-format is {form!r}: choose from {', '.join(_FORMATS)}")
    if level is not None and level.lower() not in _LEVELS:
        raise SettingError(f"--log-level is {level!r}: choose from {', '.join(_LEVELS)}")
    if form is not None or level is not None:
        install_log(json_lines=form == "json", level=getattr(logging, (level or "warning").upper()))
