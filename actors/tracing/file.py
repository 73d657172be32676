"""Trace files: a MessagePack stream, one array an event, behind a head that names the fields.

Events are written in batches. A crash loses at most the last batch; a file that was cut off is read up to
the cut.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgpack

from actors.errors import ProtocolError
from actors.tracing.events import TraceEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FLUSH_EVENTS", "FLUSH_S", "TraceFile", "read_trace"]

FORMAT: Final = "actors-trace-1"
FLUSH_EVENTS: Final = 1024
FLUSH_S: Final = 0.5


class TraceFile:
    """Writes events to a new file.

    Args:
        path: the file. An earlier trace is replaced, any other file is not.

    Raises:
        FileExistsError: it exists, and is no trace.
        OSError: it cannot be written. The same from `write` and `close`, when a batch is written out.
    """

    __slots__ = ("_file", "_flushed_s", "_packer", "_pending")

    def __init__(self, path: Path) -> None:
        if path.is_file() and path.stat().st_size and not _is_trace(path):
            raise FileExistsError(errno.EEXIST, "exists and is no trace, so it is not replaced", str(path))
        self._file = path.open("wb")
        # A name that is no text must not break the actor it belongs to.
        self._packer = msgpack.Packer(unicode_errors="backslashreplace")
        self._pending: list[bytes] = [self._packer.pack([FORMAT, list(TraceEvent._fields)])]
        self._flushed_s = 0.0
        try:
            self._flush()
        except OSError:
            self._abandon()
            raise

    def write(self, event: TraceEvent) -> None:
        """Take one event; every `FLUSH_EVENTS` events or `FLUSH_S` seconds they go to the file."""
        self._pending.append(self._packer.pack(event))
        if len(self._pending) >= FLUSH_EVENTS or event.time_s - self._flushed_s >= FLUSH_S:
            self._flush()
            self._flushed_s = event.time_s

    def close(self) -> None:
        """Write what is left and close the file. A second call does nothing."""
        if self._file.closed:
            return
        try:
            self._flush()
        except OSError:
            self._abandon()
            raise
        self._file.close()

    def _abandon(self) -> None:
        with contextlib.suppress(OSError):  # closing tries to write once more what could not be written
            self._file.close()

    def _flush(self) -> None:
        batch = b"".join(self._pending)
        self._pending.clear()  # a batch that cannot be written is lost once, not retried for ever
        try:
            self._file.write(batch)
            self._file.flush()
        except OSError as error:
            error.filename = self._file.name  # a failed write does not say where
            raise


def _event(entry: object) -> TraceEvent:
    if not isinstance(entry, tuple):
        raise TypeError(f"an event is an array, not {entry!r:.40}")
    return TraceEvent(*entry)


def _is_trace(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(len(FORMAT) + 2)
    return head[2:] == FORMAT.encode()


def read_trace(path: Path | str) -> Iterator[TraceEvent]:
    """Yield the events of a trace file; ends quietly where a file was cut off.

    Raises:
        ProtocolError: it is not a trace file, or an entry is damaged.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        stream = msgpack.Unpacker(file, use_list=False)
        try:
            head = next(stream, None)
            if head is None or head[0] != FORMAT:
                raise ProtocolError(f"{path} is not a trace of format {FORMAT}")
            for entry in stream:
                yield _event(entry)
        except (ValueError, TypeError, KeyError, IndexError, msgpack.UnpackException) as error:
            raise ProtocolError(f"{path} is damaged: {error or type(error).__name__}") from None
