"""The stretch of a run that a question is about: an epoch, or the handling of one message."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.events import TraceQueryError

if TYPE_CHECKING:
    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["Stretch", "find_stretch"]

_CUT_SHORT: Final = "its actor ended"
_EPOCH: Final = re.compile(r"(running|epoch_done)\((\d+)\)")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one actor's time in which it handles one message.

    Attributes:
        actor: its path.
        message: number of what it handles, 0 in a hook.
        type: tag of that, empty if it is not known.
        epoch: 0 when it is about a message.
        begin_s: on the clock of the events, `end_s` as well.
        begun: whether the beginning is in the trace; otherwise it begins with the trace.
        ended: whether the end is there; otherwise it ends with the trace.
        failure: why the epoch has failed, empty if it has not.
    """

    actor: str
    message: int
    type: str
    epoch: int
    begin_s: float
    end_s: float
    begun: bool = True
    ended: bool = True
    failure: str = ""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end_s - self.begin_s

    @property
    def depth(self) -> int:
        """How far below the root of the tree its actor is."""
        return self.actor.count("/")


def find_stretch(trace: Trace, *, epoch: int | None, message: int | None) -> Stretch:
    """The stretch that is asked for: an epoch in the topmost actor that ran it, or the handling of a message.

    Without either: the last epoch that has ended, or, without epochs, the longest handling of a message by a
    topmost actor.

    Raises:
        TraceQueryError: there is no such epoch or message, or both are given.
    """
    if epoch is not None and message is not None:
        raise TraceQueryError("a critical path is that of an epoch or of a message, not of both")
    if message is not None:
        return _handling(trace, message)
    epochs = _epochs(trace)
    if epoch is not None:
        return _topmost(trace, epochs, epoch)
    over = [each for each in epochs if each.ended]
    if over:
        return _with_type(trace, min(over, key=_rank))
    return _longest(trace)


def _topmost(trace: Trace, epochs: list[Stretch], epoch: int) -> Stretch:
    there = [each for each in epochs if each.epoch == epoch]
    if not there:
        numbers = sorted({each.epoch for each in epochs})
        have = "it has none" if not numbers else f"it has {', '.join(map(str, numbers[:20]))}"
        raise TraceQueryError(f"there is no epoch {epoch} in the trace: {have}")
    return _with_type(trace, min(there, key=_rank))


def _rank(stretch: Stretch) -> tuple[Any, ...]:
    """Higher actors come first; those of lives that took part only until they were cut short come last."""
    return stretch.depth, stretch.failure == _CUT_SHORT, not stretch.ended, -stretch.end_s


def _epochs(trace: Trace) -> list[Stretch]:
    """Every epoch of every actor, of each life that took part in it."""
    found: list[Stretch] = []
    running: dict[str, TraceEvent] = {}
    for event in trace.select(kinds=("state",)):
        before, parsed = running.pop(event.actor, None), _EPOCH.fullmatch(event.type)
        if before is not None:
            failure = event.detail if parsed is not None else _CUT_SHORT
            found.append(_between(before, event.time_s, ended=True, failure=failure))
        elif parsed is not None and parsed[1] == "epoch_done":
            number, begin_s = int(parsed[2]), trace.begin_s
            found.append(
                Stretch(
                    event.actor,
                    event.cause_id,
                    "",
                    number,
                    begin_s,
                    event.time_s,
                    begun=False,
                    failure=event.detail,
                )
            )
        if parsed is not None and parsed[1] == "running":
            running[event.actor] = event
    return found + [_between(event, trace.end_s, ended=False) for event in running.values()]


def _between(begun: TraceEvent, end_s: float, *, ended: bool, failure: str = "") -> Stretch:
    parsed = _EPOCH.fullmatch(begun.type)
    number = int(parsed[2]) if parsed is not None else 0
    return Stretch(begun.actor, begun.cause_id, "", number, begun.time_s, end_s, ended=ended, failure=failure)


def _with_type(trace: Trace, found: Stretch) -> Stretch:
    """The same, with the tag of its message, which came before."""
    if not found.message:
        return found
    for event in trace.select(own=(found.message,), kinds=("receive", "send", "done")):
        if event.msg_id == found.message:
            return replace(found, type=event.type)
    return found


def _handling(trace: Trace, message: int) -> Stretch:
    kinds = ("send", "receive", "reply", "drop", "done")
    events = [event for event in trace.select(own=(message,), kinds=kinds) if event.msg_id == message]
    received = next((event for event in events if event.kind == "receive"), None)
    # A message that is refused has no `done`: it ends with the answer, or as a dead letter.
    ends = [event for event in events if event.kind == "done"] or [
        event for event in events if event.kind in {"reply", "drop"} and received is not None
    ]
    whole = received or (ends[0] if ends else None)
    if whole is None:
        raise TraceQueryError(_not_handled(trace, message, events))
    return Stretch(
        whole.actor,
        message,
        whole.type,
        0,
        received.time_s if received is not None else trace.begin_s,
        ends[0].time_s if ends else trace.end_s,
        begun=received is not None,
        ended=bool(ends),
    )


def _not_handled(trace: Trace, message: int, events: list[TraceEvent]) -> str:
    sent = next((event for event in events if event.kind == "send"), None)
    if sent is not None:
        return f"message {message}, {sent.type} from {sent.actor} to {sent.detail}, was never handled here"
    numbers = [event.msg_id for event in trace.select(kinds=("receive",))]
    have = (
        f"its handlers had messages {min(numbers)} to {max(numbers)}"
        if numbers
        else "no handler has run in it"
    )
    return f"there is no message {message} in the trace: {have}"


def _longest(trace: Trace) -> Stretch:
    at_hand: dict[str, TraceEvent] = {}
    longest: Stretch | None = None
    for event in trace.select(kinds=("receive", "done")):
        received = at_hand.pop(event.actor, None)
        if event.kind == "receive":
            at_hand[event.actor] = event
        elif received is not None and received.msg_id == event.msg_id:
            longest = _higher(longest, _handled(received, event.time_s, ended=True))
    for event in at_hand.values():
        longest = _higher(longest, _handled(event, trace.end_s, ended=False))
    if longest is None:
        raise TraceQueryError("no handler has run in this trace, so there is no critical path in it")
    return longest


def _handled(received: TraceEvent, end_s: float, *, ended: bool) -> Stretch:
    return Stretch(received.actor, received.msg_id, received.type, 0, received.time_s, end_s, ended=ended)


def _higher(one: Stretch | None, other: Stretch) -> Stretch:
    """That of the higher actor; of equals the one that has ended, and of these the longer."""
    if one is None:
        return other
    return min(one, other, key=lambda each: (each.depth, not each.ended, -each.seconds))
