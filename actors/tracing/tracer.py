"""What the runtime tells of what it does: into a ring in memory and, if wanted, into a file."""

from __future__ import annotations

import atexit
import contextlib
import errno
import itertools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors.tracing.blocks import ROWS_MAX
from actors.tracing.options import TraceOptions
from actors.tracing.rows import expand, expand_all, sound
from actors.tracing.selecting import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.delivery import Ask, Told
    from actors.tracing.events import TraceEvent
    from actors.tracing.rows import Row
    from actors.waits import Origin
    from actors.wire import Packed

__all__ = ["RowSink", "Sink", "Tracer"]

# Rows that wait for the thread that writes them. More come only when the disk does not answer for long.
UNWRITTEN_MAX: Final = 1 << 20
BATCH_BYTES: Final = 16 * 1024 * 1024  # of payloads
# How long the end of a trace waits for a disk.
CLOSE_S: Final = 10.0
OUTSIDE: Final = "outside"


class Sink(Protocol):
    """Somewhere that events go besides the ring."""

    def write(self, event: TraceEvent) -> None:
        """Take one event; must be quick, it runs in the event loop."""

    def close(self) -> None:
        """Take no more; what was taken is safe now."""


class RowSink(Protocol):
    """A sink that takes rows in batches, in a thread of the tracer."""

    def write_rows(self, rows: Sequence[Row]) -> None:
        """Take some rows, at most `blocks.ROWS_MAX`; they are safe when this returns."""

    def close(self) -> None:
        """Take no more."""


class Tracer:
    """Keeps the last events, and passes each on to a sink.

    Args:
        clock: returns seconds.
        sink: where each event goes as well, one by one, at once. A sink is given up at its first `OSError`,
            which `close` raises.
        file: where rows go as well, in batches, within `flush_s` seconds, written by a thread.
        options: what is kept; by default everything, without payloads.
        ring_size: how many rows are kept in memory, if not as many as the options say.
        pack: makes a payload of a message; None for no payloads.
        pack_arguments: the same of the arguments of an actor's constructor.

    The methods that tell of frequent things are called where a message passes: they do as little as can be.
    """

    __slots__ = (
        "_clock",
        "_file",
        "_fresh",
        "_keep",
        "_lock",
        "_lost",
        "_merges",
        "_pack",
        "_pack_arguments",
        "_pass_on",
        "_ring",
        "_selection",
        "_sink",
        "_sink_error",
        "_stop",
        "_taken",
        "_thread",
        "_writing",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ring_size: int | None = None,
        sink: Sink | None = None,
        file: RowSink | None = None,
        options: TraceOptions | None = None,
        pack: Callable[[Packed], bytes] | None = None,
        pack_arguments: Callable[[Sequence[Any], Mapping[str, Any]], bytes] | None = None,
    ) -> None:
        options = options or TraceOptions()
        self._clock = clock
        self._ring: deque[Row] = deque(maxlen=ring_size or options.ring_size)
        self._sink = sink
        self._lost: Sink | None = None  # one that could not be written to, and is still to be closed
        self._sink_error: OSError | None = None
        self._file = file
        self._pack = pack
        self._pack_arguments = pack_arguments
        # With a file, rows are in `_fresh` until its thread has taken them over to the ring.
        self._fresh: deque[Row] = deque(maxlen=UNWRITTEN_MAX) if file is not None else self._ring
        self._selection = Selection(options)
        self._taken: Row = (0.0, "", "", 0, 0)  # the latest of its kind
        self._merges = sink is None and self._selection.keeps_all
        self._keep: Callable[[Row], None] = self._route()
        self._lock = threading.Lock()  # around moving rows from `_fresh` to the ring, never held for a disk
        self._writing = threading.Lock()  # around writing what was moved, so that batches keep their order
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if file is not None:
            self._thread = threading.Thread(
                target=self._write_on, args=(options.flush_s,), name="actors-trace", daemon=True
            )
            with contextlib.suppress(RuntimeError):  # no thread to be had: all is written at the end
                self._thread.start()
            atexit.register(self._leave)

    # What happens often

    def asked(self, ask: Ask) -> None:
        """An ask was admitted."""
        origin, packed = ask.origin, ask.packed
        row = (
            ask.since_s,
            "ask",
            origin.name,
            origin.incarnation,
            ask.wait_id,
            origin.cause_id,
            ask.target,
            packed[0].tag,
            origin.state,
            ask.nbytes,
            ask.deadline_s - ask.since_s,
        )
        if self._pack is None:
            self._keep(row)
        elif self._selection.keeps(row):  # what is left out is not packed either
            self._pass_on((*row, self._pack(packed)))

    def told(self, entry: Told, receiver: str) -> None:
        """A message that nobody waits for was sent."""
        origin, packed = entry.origin, entry.packed
        row = (
            self._clock(),
            "tell",
            origin.name,
            origin.incarnation,
            entry.msg_id,
            origin.cause_id,
            receiver,
            packed[0].tag,
            origin.state,
            entry.nbytes,
        )
        if self._pack is None:
            self._keep(row)
        elif self._selection.keeps(row):  # what is left out is not packed either
            self._pass_on((*row, self._pack(packed)))

    def received(
        self, actor: str, incarnation: int, entry: Told | Ask, msg_id: int, state: str, deadline_s: float
    ) -> None:
        """A handler begins with a message."""
        now_s = self._clock()
        self._taken = row = (
            now_s,
            "take",
            actor,
            incarnation,
            msg_id,
            0,
            entry.origin.name,
            entry.packed[0].tag,
            state,
            entry.nbytes,
            deadline_s - now_s,
        )
        self._keep(row)

    def answered(self, origin: Origin, ask: Ask, packed: Packed, nbytes: int) -> None:
        """A handler has returned, and its answer is there for whoever asked."""
        asker, taken = ask.origin, self._taken
        row: Row
        if taken[4] == ask.wait_id and self._take_back(taken):
            row = (
                self._clock(),
                "serve",
                origin.name,
                origin.incarnation,
                ask.wait_id,
                asker.cause_id,
                asker.name,
                ask.packed[0].tag,
                packed[0].tag,
                asker.incarnation,
                origin.state,
                nbytes,
                taken[0],
                taken[9],
                taken[10],
            )
        else:
            row = (
                self._clock(),
                "answer",
                origin.name,
                origin.incarnation,
                ask.wait_id,
                asker.cause_id,
                asker.name,
                ask.packed[0].tag,
                packed[0].tag,
                asker.incarnation,
                origin.state,
                nbytes,
            )
        if self._pack is None:
            self._keep(row)
        elif self._selection.keeps(row):  # what is left out is not packed either
            self._pass_on((*row, self._pack(packed)))

    def _take_back(self, row: Row) -> bool:
        """Take back the last row if it is this one; the thread that writes may just have taken it."""
        fresh = self._fresh
        if not self._merges or not fresh or fresh[-1] is not row:
            return False
        try:
            last = fresh.pop()
        except IndexError:
            return False
        if last is row:
            return True
        fresh.append(last)  # of another thread, which has asked for a dump just now
        return False

    def handled(self, actor: str, incarnation: int, msg_id: int, tag: str, state: str) -> None:
        """A handler has ended without an answer."""
        self._keep((self._clock(), "handled", actor, incarnation, msg_id, 0, tag, state))

    def read(self, receiver: str, entry: Told | Ask) -> None:
        """Code outside the tree has taken a message that it was told; what it does with it is not known."""
        for kind, sender, size in (("receive", entry.origin.name, entry.nbytes), ("done", "", 0)):
            self.emit(kind, receiver, 0, entry.msg_id, 0, entry.tag, sender, size=size)

    def payload(self, packed: Packed) -> bytes:
        """What is kept of a message besides its size."""
        return self._pack(packed) if self._pack is not None else b""

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """What is kept of the arguments of an actor's constructor."""
        return self._pack_arguments(args, kwargs) if self._pack_arguments is not None else b""

    # Everything else

    def emit(
        self,
        kind: str,
        actor: str,
        incarnation: int = 0,
        msg_id: int = 0,
        cause_id: int = 0,
        type_: str = "",
        detail: str = "",
        *,
        state: str = "",
        size: int = 0,
        wait_id: int = 0,
        limit_s: float = 0.0,
        payload: bytes = b"",
    ) -> None:
        """Record one event, now."""
        self._keep(
            (
                self._clock(),
                kind,
                actor,
                incarnation,
                msg_id,
                cause_id,
                type_,
                detail,
                state,
                size,
                wait_id,
                limit_s,
                payload,
            )
        )

    def _route(self) -> Callable[[Row], None]:
        """Where rows go; without anything to decide and pass on, no call of ours is between."""
        self._pass_on = keep = self._fresh.append if self._sink is None else self._keep_and_pass_on
        if self._selection.keeps_all:
            return keep
        keeps = self._selection.keeps

        def keep_some(row: Row) -> None:
            if keeps(row):
                keep(row)

        return keep_some

    def _keep_and_pass_on(self, row: Row) -> None:
        self._fresh.append(row)
        sink = self._sink
        if sink is None:
            return
        try:
            for event in expand(row):
                sink.write(event)
        except OSError as error:  # a full disk must not break the actors in the middle of what they do
            self._sink_error = error
            self._sink, self._lost = None, sink

    # Into the file

    def _write_on(self, flush_s: float) -> None:
        """Called in the thread: write what has come until the end."""
        while not self._stop.wait(flush_s):
            self.flush()
        self.flush()

    def _leave(self) -> None:
        """The interpreter ends, or the trace does: have the thread write what is left."""
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def flush(self) -> None:
        """Write to the file what is not written yet, now. Safe in any thread; never raises `OSError`."""
        with self._writing:
            gap = self.unwritten == UNWRITTEN_MAX
            while rows := self._take():
                if gap:
                    rows[0] = _gap(rows[0])
                    gap = False
                if self._file is not None:
                    self._write(self._file, rows)

    def _take(self) -> list[Row]:
        """Some of the rows that have come, the oldest, which are in the ring from now on."""
        with self._lock:
            return self._move()

    def _move(self) -> list[Row]:
        fresh = self._fresh
        if fresh is self._ring:
            return []
        rows: list[Row] = []
        nbytes = 0
        with contextlib.suppress(IndexError):  # it is empty; also when the last one was just taken back
            if self._pack is None:  # what was taken before it is empty stays in the list
                rows.extend(itertools.starmap(fresh.popleft, itertools.repeat((), ROWS_MAX)))
            while len(rows) < ROWS_MAX and nbytes < BATCH_BYTES:
                rows.append(row := fresh.popleft())
                if type(row[-1]) is bytes:
                    nbytes += len(row[-1])
        self._ring.extend(rows)
        return rows

    def _write(self, file: RowSink, rows: list[Row]) -> None:
        try:
            try:
                file.write_rows(rows)
            except (TypeError, ValueError, OverflowError):  # something in them has no place in a file
                file.write_rows([sound(row) for row in rows])
        except Exception as error:  # noqa: BLE001 - the thread that writes must not end without a word
            self._file = None
            self._sink_error = error if isinstance(error, OSError) else _unwritten(error)
            with contextlib.suppress(OSError):  # it has failed before, which is told
                file.close()

    @property
    def unwritten(self) -> int:
        """So many rows have not been handed to the file yet."""
        return len(self._fresh) if self._fresh is not self._ring else 0

    def events(self) -> list[TraceEvent]:
        """The events in memory, oldest first."""
        with self._lock:
            rows = list(self._ring)
            if self._fresh is not self._ring:
                rows += self._fresh.copy()
        return expand_all(rows)

    def story(self, actor: str, most: int = 20) -> list[TraceEvent]:
        """The latest events of one actor, oldest first."""
        return [event for event in self.events() if event.actor == actor][-most:]

    def latest(self, actor: str, most: int, within: int = 1_000) -> list[TraceEvent]:
        """The latest events of one actor among the last `within` rows, oldest first; quick."""
        with self._lock:
            fresh = () if self._fresh is self._ring else reversed(self._fresh)
            rows = itertools.islice(itertools.chain(fresh, reversed(self._ring)), within)
            own = list(itertools.islice((row for row in rows if row[2] == actor), most))
        return [event for event in expand_all(own[::-1]) if event.actor == actor][-most:]

    def close(self) -> None:
        """Write what is left and close the sink; the ring goes on.

        Raises:
            OSError: the sink could not be written to, now or before.
        """
        sink: Sink | RowSink | None = self._sink or self._lost
        if self._thread is not None:
            atexit.unregister(self._leave)
            self._leave()
            if self._thread.is_alive():
                self._thread = self._file = None
                self._fresh = self._ring
                self._keep = self._route()
                raise OSError(errno.EIO, f"the trace is not on the disk after {CLOSE_S:g} s")
            self.flush()
            sink, self._file, self._thread = self._file, None, None
        self._sink = self._lost = None
        self._fresh = self._ring
        self._keep = self._route()
        error, self._sink_error = self._sink_error, None
        try:
            if sink is not None:
                sink.close()
        except OSError as another:
            raise error or another from None
        if error is not None:
            raise error


def _unwritten(error: Exception) -> OSError:
    return OSError(errno.EIO, f"the trace could not be written: {type(error).__name__}: {error}")


def _gap(row: Row) -> Row:
    """What is written in place of rows that were lost before this one."""
    story = "events are missing here: the disk was too slow for them"
    return (row[0], "gap", OUTSIDE, 0, 0, 0, "", story, "", 0, 0, 0.0, b"")
