"""A dump on a signal: what a system does, to standard error and its trace, even while its loop is blocked."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from actors.living.looking import Look
from actors.living.story import dump_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.system import ActorSystem

__all__ = ["dump_on_signal"]

_STDERR: Final = 2
_JOIN_S: Final = 2.0
# An event is kept in memory, with tens of thousands of others.
_DETAIL_CHARS_MAX: Final = 200_000


@contextmanager
def dump_on_signal(system: ActorSystem, signum: int | None = None) -> Iterator[None]:
    """Write the tree, the waits and all stacks whenever a signal comes, while this is entered.

    The text goes to standard error and, as an event of kind `dump`, to the trace. Python code that blocks the
    event loop does not hinder it; code in C that never returns to Python does.

    Args:
        system: entered.
        signum: which signal; default SIGUSR1. What it did before, it does again at the end.

    Raises:
        ValueError: this is not the main thread, which alone hears signals; or the signal cannot be handled.
        OSError: there are no such signals here, as on Windows.
    """
    if signum is None:
        signum = getattr(signal, "SIGUSR1", None)
    if signum is None or os.name == "nt":
        raise OSError("there is no signal here that asks for a dump")
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("dump_on_signal must be entered in the main thread, which alone hears signals")
    wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
    thread = threading.Thread(
        target=_dump_on_demand, args=(system, wanted), name=f"{system.name}-dump", daemon=True
    )

    def hear(_number: int, _frame: object) -> None:
        # Nothing else: the main thread may be anywhere, with any lock. This `put` may interrupt itself.
        wanted.put(True)

    try:
        before = signal.signal(signum, hear)
    except (ValueError, OSError) as error:
        raise ValueError(f"signal {signum} cannot be handled: {error}") from None
    try:
        thread.start()
        yield
    finally:
        signal.signal(signum, before if before is not None else signal.SIG_DFL)
        wanted.put(False)
        if thread.is_alive():
            thread.join(_JOIN_S)


def _dump_on_demand(system: ActorSystem, wanted: queue.SimpleQueue[bool]) -> None:
    """Called in the thread."""
    look = Look(system)
    while wanted.get():
        text = dump_text(system, look)
        _write(f"\n{text}\n")
        tracer = system.host.tracer
        if tracer is not None:
            tracer.emit("dump", "outside", detail=text[:_DETAIL_CHARS_MAX])
            tracer.flush()  # who asks for a dump may kill the process next


def _write(text: str) -> None:
    """Straight to the descriptor: the locks of streams may be held by what is looked at."""
    rest = text.encode(errors="backslashreplace")
    with contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(_STDERR, rest) :]
