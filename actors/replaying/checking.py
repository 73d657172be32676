"""Whether an actor that is played again does what the record says it did."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from actors.errors import ProtocolError
from actors.replaying.compare import compare
from actors.replaying.report import Difference, Played
from actors.tracing.payloads import read_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from actors.messages import ActorRef
    from actors.replaying.record import At, LifeRecord, Received
    from actors.tracing.events import TraceEvent
    from actors.wire import Packed

__all__ = ["Checker"]

NOTHING: Final = "nothing"
# What no two runs have in common.
ALWAYS_IGNORED: Final = frozenset({"actors.failure.traceback_text"})


class Checker:
    """Compares what is sent and answered with the record.

    Args:
        record: of the life.
        ignore: fields that may differ, each as `tag.field`.
        found: called with the first difference.
        failed: called with what is wrong with the record.

    Attributes:
        difference: the first.
    """

    def __init__(
        self,
        record: LifeRecord,
        ignore: Collection[str],
        found: Callable[[Difference], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._record = record
        self._ignore = frozenset(ignore) | ALWAYS_IGNORED
        self._found = found
        self._failed = failed
        self._places = {received.number: at for at, received in enumerate(record.messages, 1)}
        self._tags = {received.number: received.receive.event.type for received in record.messages}
        self._compared: Counter[int] = Counter()
        self._arrays: Counter[int] = Counter()
        self.difference: Difference | None = None

    def played(self, cause: int) -> Played:
        """What came of one message so far; of all hooks together for 0."""
        return Played(cause, self._tags.get(cause, ""), self._compared[cause], self._arrays[cause])

    def sent(self, cause: int, ref: ActorRef[object], packed: Packed, *, ask: bool) -> At | None:
        """Hear that a message is sent: its event in the record, or that of its refusal; None for neither."""
        queue = self._record.sends[cause]
        verb = "asked" if ask else "told"
        now = f"{packed[0].tag} {verb} of {ref.path}"
        if not queue:
            self._note(cause, "it sends more", NOTHING, now)
            return None
        at = queue.popleft()
        event = at.event
        if event.kind == "refuse":  # it has no receiver, and no class where the runtime did not look at it
            if ask and event.type in {"", packed[0].tag}:
                return at
            before = f"{event.type or 'a question'} was refused: {event.detail}"
        else:
            was_ask = event.wait_id == event.msg_id
            if (event.type, event.detail, was_ask) == (packed[0].tag, ref.path, ask):
                self._compare(cause, f"what it sends to {ref.path}, {event.type},", event, packed)
                return at
            before = f"{event.type} {'asked' if was_ask else 'told'} of {event.detail}"
        self._note(cause, "it sends something else", before, now)
        return None

    def answered(self, received: Received, packed: Packed) -> None:
        """Hear that a message is answered."""
        number, event, tag = received.number, received.reply, packed[0].tag
        if event is None:
            if received.interrupted is not None:
                self._note(number, "its reply", received.interrupted.event.detail, tag)
        elif event.type != tag:
            self._note(number, "its reply", event.type, _shown(packed))
        else:
            self._compare(number, f"its reply {tag}", event, packed)

    def over(self, cause: int, before: float) -> None:
        """Hear that a handler or hook has ended: all that it sent before that place of the record is sent."""
        queue = self._record.sends[cause]
        if queue and queue[0].position < before:
            event = queue[0].event
            self._note(cause, "it does not send", f"{event.type} to {event.detail}", NOTHING)

    def _compare(self, cause: int, what: str, event: TraceEvent, packed: Packed) -> None:
        if not event.payload:
            return
        try:
            apart, arrays = compare(read_payload(event.payload), packed, self._ignore)
        except ProtocolError as error:
            self._failed(ProtocolError(f"message {event.msg_id} ({event.type}): {error}"))
            return
        self._compared[cause] += 1
        self._arrays[cause] += arrays
        if apart is not None:
            self._keep(
                Difference(
                    cause,
                    self._tags.get(cause, ""),
                    self._places.get(cause, 0),
                    what,
                    apart.recorded,
                    apart.now,
                    apart,
                )
            )

    def _note(self, cause: int, what: str, recorded: str, now: str) -> None:
        self._keep(
            Difference(cause, self._tags.get(cause, ""), self._places.get(cause, 0), what, recorded, now)
        )

    def _keep(self, difference: Difference) -> None:
        if self.difference is None:
            self.difference = difference
            self._found(difference)


def _shown(packed: Packed) -> str:
    """The tag; of an error what it says."""
    body = packed[3]
    text = f": {body.error_type}: {body.error_text}" if packed[0].tag == "actors.failure" else ""
    return f"{packed[0].tag}{text}"
