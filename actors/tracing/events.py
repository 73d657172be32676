"""The trace event."""

from __future__ import annotations

from typing import Final, NamedTuple

from actors.errors import ActorError

__all__ = ["EVENT_KINDS", "TraceEvent", "TraceQueryError"]

EVENT_KINDS: Final = {
    "send": "a message was admitted to a mailbox",
    "receive": "a handler began with it, or code outside the tree has taken it from its receiver",
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
    "gap": "events are missing here: they could not be written fast enough",
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
            of its message, and is about it: so `msg_id` is the same, which is 0 for any other wait.
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
