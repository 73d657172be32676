"""The trace event and the ring that holds the latest ones."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from actors.errors import ActorError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EVENT_KINDS", "RING_SIZE", "Sink", "TraceEvent", "TraceQueryError", "Tracer"]

RING_SIZE: Final = 65_536

EVENT_KINDS: Final = {
    "send": "a message was admitted to a mailbox",
    "receive": "a handler began with it",
    "done": "that handler returned, or was ended",
    "error": "a handler raised, or the actor refused what it was asked; the detail has the text",
    "reply": "an answer reached whoever asked",
    "drop": "a message or answer went to the dead letters",
    "refuse": "a request was not admitted, or a move of the lifecycle",
    "full": "a message found its mailbox full; the detail says whose, and what became of it",
    "wait": "a wait began",
    "wait_end": "a wait ended",
    "job": "a job was handed to a thread",
    "job_end": "its result was taken, or it was left behind; the detail has its times",
    "state": "the lifecycle moved",
    "start": "an incarnation started",
    "end": "an incarnation ended",
    "restart": "a supervisor will start an actor again",
    "watch": "an actor will hear of the ends of another",
    "unwatch": "it will not hear of them any more",
    "snapshot": "its state was kept, at the end of an epoch",
    "restore": "what was kept is handed to the next life",
    "fault": "a simulation did something to it",
    "blocked": "the event loop answers again, and had not for too long; the actor is who ran meanwhile",
    "dump": "a picture of the living system, which a signal has asked for",
}


class TraceQueryError(ActorError, LookupError):
    """A question names something that is not in the trace. The text says what there is instead."""


class TraceEvent(NamedTuple):
    """One thing that happened.

    Attributes:
        time_s: on the event loop's clock.
        kind: one of `EVENT_KINDS`.
        actor: path of the actor it happened to, or the name of code outside the tree.
        incarnation: of that actor, 0 outside.
        msg_id: the message it is about, 0 for none.
        cause_id: the message that was being handled when this happened, 0 for none.
        type: tag of the message, name of the job, state, or who is waited for.
        detail: the rest, in words.
        state: of the actor's lifecycle then, as in `running(3)`; empty outside the tree.
        size: bytes of the message or answer, arrays included; 0 for anything else.
        wait_id: the wait that it begins, ends or belongs to, 0 for none. The wait of an ask has the number
            of its message.
        limit_s: seconds that were given: to a wait, or to the handler of a message; 0 for no such thing.
        payload: the message, the answer or the arguments, if the trace was asked to keep them.
    """

    time_s: float
    kind: str
    actor: str
    incarnation: int
    msg_id: int
    cause_id: int
    type: str
    detail: str
    state: str = ""
    size: int = 0
    wait_id: int = 0
    limit_s: float = 0.0
    payload: bytes = b""


# The same fields as a bare tuple, which is what the ring holds: it is made four times as fast.
_Event: TypeAlias = tuple[float, str, str, int, int, int, str, str, str, int, int, float, bytes]


class Sink(Protocol):
    """Somewhere that events go besides the ring."""

    def write(self, event: TraceEvent) -> None:
        """Take one event; must be quick, it runs in the event loop."""

    def close(self) -> None:
        """Take no more; what was taken is safe now."""


class Tracer:
    """Keeps the last events, and passes each on to a sink.

    Args:
        clock: returns seconds.
        ring_size: how many events are kept in memory.
        sink: where each event goes as well. It is given up at its first `OSError`, which `close` raises.
    """

    __slots__ = ("_clock", "_keep", "_lost", "_ring", "_sink", "_sink_error")

    def __init__(
        self, clock: Callable[[], float], *, ring_size: int = RING_SIZE, sink: Sink | None = None
    ) -> None:
        self._clock = clock
        self._ring: deque[_Event] = deque(maxlen=ring_size)
        self._keep = self._ring.append
        self._sink = sink
        self._lost: Sink | None = None  # one that could not be written to, and is still to be closed
        self._sink_error: OSError | None = None

    def emit(
        self,
        kind: str,
        actor: str,
        incarnation: int = 0,
        msg_id: int = 0,
        cause_id: int = 0,
        type_: str = "",
        detail: str = "",
    ) -> None:
        """Record one event, now."""
        event = (self._clock(), kind, actor, incarnation, msg_id, cause_id, type_, detail, "", 0, 0, 0.0, b"")
        self._keep(event)
        if self._sink is not None:
            self._write(self._sink, TraceEvent._make(event))

    def _write(self, sink: Sink, event: TraceEvent) -> None:
        try:
            sink.write(event)
        except OSError as error:  # a full disk must not break the actors in the middle of what they do
            self._sink_error = error
            self._sink, self._lost = None, sink

    def events(self) -> list[TraceEvent]:
        """The events in the ring, oldest first."""
        return [TraceEvent._make(event) for event in self._ring]

    def story(self, actor: str, most: int = 20) -> list[TraceEvent]:
        """The latest events of one actor, oldest first."""
        return [event for event in self.events() if event.actor == actor][-most:]

    def close(self) -> None:
        """Close the sink; the ring goes on.

        Raises:
            OSError: the sink could not be written to, now or before.
        """
        sink = self._sink or self._lost
        self._sink = self._lost = None
        if sink is None:
            return
        try:
            sink.close()
        except OSError as error:
            raise self._sink_error or error from None
        if self._sink_error is not None:
            raise self._sink_error
