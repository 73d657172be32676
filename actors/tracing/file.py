"""Trace files: a MessagePack stream of blocks behind a head, in parts of a bounded size.

The first part is the file itself, with the beginning of the run; the next ones are `FILE.1`, `FILE.2` and so
on. When all together would be larger than agreed, the oldest part but the first is deleted. Every part begins
with `["actors-trace-2", {...}]`, and one that was ended in order ends with `["end"]`. A batch of rows is one
block and is written at once: a crash loses what was not written yet, and nothing before it.

Whoever writes holds an advisory lock on the last part. It goes with the process, however that ends, so a
reader on the same machine knows whether the run goes on.
"""

from __future__ import annotations

import contextlib
import errno
import re
import time
from typing import TYPE_CHECKING, BinaryIO, Final

import msgpack

from actors.tracing.blocks import ROWS_MAX, pack_block
from actors.tracing.claims import claim, is_claimed
from actors.tracing.options import BYTES_MAX
from actors.tracing.rows import LAYOUTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actors.tracing.events import TraceEvent
    from actors.tracing.options import Level
    from actors.tracing.rows import Row

__all__ = ["END", "FORMAT", "TraceFile", "is_trace", "parts_of"]

FORMAT: Final = "actors-trace-2"
END: Final = "end"
PARTS: Final = 8


class TraceFile:
    """Writes a new trace.

    Args:
        path: the file. An earlier trace is replaced with all its parts, any other file is not.
        bytes_max: of all parts together.
        clock_s: what the clock of the events shows now, so that the time of day can be told; None when it
            is no clock of the real world.
        level: what is kept, as of `TraceOptions`, for readers.
        sample: the same.

    Raises:
        FileExistsError: it exists, and is no trace.
        OSError: it cannot be written, or another system writes it now. The same from the other methods.
    """

    __slots__ = (
        "_about",
        "_bytes_max",
        "_file",
        "_kept",
        "_packer",
        "_part",
        "_path",
        "_pending",
    )

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int = BYTES_MAX,
        clock_s: float | None = None,
        level: Level = "messages",
        sample: float = 1.0,
    ) -> None:
        parts = parts_of(path)
        for old in (path, *parts.values()):
            if old.is_file() and old.stat().st_size and not is_trace(old):
                raise FileExistsError(errno.EEXIST, "exists and is no trace, so it is not replaced", str(old))
            if old.is_file() and is_claimed(old):
                raise OSError(
                    errno.EBUSY, "is being written by another system, so it is not replaced", str(old)
                )
        self._path = path
        self._bytes_max = bytes_max
        wall_s = time.time() - clock_s if clock_s is not None else 0.0
        self._about = {"wall_s": wall_s, "level": level, "sample": sample}
        # A name that is no text must not break the actor it belongs to.
        self._packer = msgpack.Packer(unicode_errors="backslashreplace")
        self._pending: list[Row] = []
        self._kept: list[tuple[Path, int]] = []  # the parts that are ended, but the first, with their sizes
        self._part = 0
        self._file: BinaryIO = self._begin(path)
        for old in parts.values():
            old.unlink(missing_ok=True)

    def _begin(self, path: Path) -> BinaryIO:
        file = path.open("wb")
        claim(file)
        frequent = {kind: list(layout) for kind, layout in LAYOUTS.items()}
        head = {"part": self._part, "rows": frequent, **self._about}
        try:
            self._put(file, self._packer.pack((FORMAT, head)))
        except OSError:
            _abandon(file)
            raise
        return file

    def write(self, event: TraceEvent) -> None:
        """Take one event; every `ROWS_MAX` events they go to the file."""
        self._pending.append(tuple(event))
        if len(self._pending) >= ROWS_MAX:
            self._flush()

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Write some rows, between one and `ROWS_MAX`, as one block, or as several where parts are small."""
        block = pack_block(self._packer, rows)
        part_bytes = self._bytes_max // PARTS
        if len(block) > part_bytes // 2 and len(rows) > 1:
            # Else the parts would be as large as the blocks are, and the first would hold no beginning.
            self.write_rows(rows[: len(rows) // 2])
            self.write_rows(rows[len(rows) // 2 :])
            return
        if self._file.tell() + len(block) > part_bytes:
            self._next_part()
        self._put(self._file, block)

    def close(self) -> None:
        """Write what is left and close the file. A second call does nothing."""
        if self._file.closed:
            return
        try:
            self._flush()
            self._put(self._file, self._packer.pack((END,)))
        except OSError:
            _abandon(self._file)
            raise
        self._file.close()

    def _flush(self) -> None:
        # A batch that cannot be written is lost once, not retried for ever.
        rows, self._pending = self._pending, []
        if rows:
            self.write_rows(rows)

    def _next_part(self) -> None:
        self._put(self._file, self._packer.pack((END,)))
        size = self._file.tell()
        self._file.close()
        if self._part:
            self._kept.append((_part(self._path, self._part), size))
        # One part is the first, one is about to be written.
        while len(self._kept) > PARTS - 2:
            self._kept.pop(0)[0].unlink(missing_ok=True)
        self._part += 1
        self._file = self._begin(_part(self._path, self._part))

    def _put(self, file: BinaryIO, data: bytes) -> None:
        try:
            file.write(data)
            file.flush()
        except OSError as error:
            error.filename = file.name  # a failed write does not say where
            raise


def _abandon(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # closing tries to write once more what could not be written
        file.close()


def _part(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def parts_of(path: Path) -> dict[int, Path]:
    """The parts of a trace besides the file itself that are there, by their numbers, in order.

    Raises:
        OSError: its folder cannot be read.
    """
    name = re.compile(re.escape(path.name) + r"\.([1-9][0-9]{0,8})")
    others = path.parent.iterdir() if path.parent.is_dir() else ()
    found = {int(match[1]): other for other in others if (match := name.fullmatch(other.name))}
    return dict(sorted(found.items()))


def is_trace(path: Path) -> bool:
    """Whether a file begins as a trace does, of this or of an earlier format.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(len(FORMAT) + 2)
    return head[2:].startswith(b"actors-trace-")
