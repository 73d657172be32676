"""Recorded messages made into messages again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from actors.errors import ProtocolError
from actors.replaying.compare import compare
from actors.tracing.events import TraceQueryError
from actors.tracing.payloads import read_payload
from actors.wire import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.tracing.events import TraceEvent
    from actors.tracing.payloads import Payload
    from actors.wire import Packed

__all__ = ["Rebuild", "packed_of"]

Rebuild: TypeAlias = "Callable[[Payload], Any]"
"""Makes a message of one whose arrays were recorded as hashes; None if it cannot."""

REMEDY = 'record the run with ActorSystem(trace=TraceOptions(path, payloads="whole"))'


def packed_of(event: TraceEvent, rebuild: Rebuild | None) -> Packed:
    """Return the message of an event, at rest.

    Args:
        event: that it was recorded with.
        rebuild: for one whose arrays are hashes; what it makes is compared with them.

    Raises:
        TraceQueryError: the record has too little of it, or what was made of it is another message.
        ProtocolError: it is damaged, or of a class that is not known here.
    """
    what = f"message {event.msg_id} ({event.type})"
    if not event.payload:
        raise TraceQueryError(f"{what} is in the trace without what it says: {REMEDY}")
    try:
        payload = read_payload(event.payload)
        body = payload.rebuild() if payload.whole else rebuild(payload) if rebuild is not None else None
        if body is None:
            raise TraceQueryError(f"{what} is in the trace with its arrays as hashes: {REMEDY}")
        packed = Codec().pack(body)
        apart, _ = (None, 0) if payload.whole else compare(payload, packed, ())
    except ProtocolError as error:
        raise ProtocolError(f"{what}: {error}") from error
    if apart is not None:
        raise TraceQueryError(
            f"{what} could not be made again: {apart.field} was {apart.recorded}, and is {apart.now}"
        )
    return packed
