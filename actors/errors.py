"""Every error the runtime raises, one family.

An ask ends in exactly one of five ways (law 4): a reply, or one of the four `AskError` branches
`AskFailed`, `ActorDown`, `Expired` and `Refused`. Whoever catches `AskError` has caught them all.
"""

from __future__ import annotations

__all__ = [
    "ActorDown",
    "ActorError",
    "AmbiguousOption",
    "AskError",
    "AskFailed",
    "EndlessWait",
    "EpochFailed",
    "Expired",
    "IllegalTransition",
    "InsideTree",
    "JobAbandoned",
    "JobsExhausted",
    "MailboxFull",
    "MessageError",
    "MutablePayload",
    "NotHandled",
    "ProtocolError",
    "Refused",
    "SpawnOutsideParent",
    "SystemClosed",
    "UnboundedMailbox",
    "UnregisteredMessage",
    "UpwardAsk",
    "WaitCycle",
    "WrongState",
]


class ActorError(Exception):
    """Base of everything raised on purpose by `actors`."""


class AskError(ActorError):
    """An ask ended without a reply."""


class AskFailed(AskError):
    """The handler raised, or returned nothing.

    Attributes:
        error_type: name of the exception class in the actor, `"NoReply"` for a handler that returned None.
        error_text: the exception's text.
        traceback_text: the formatted traceback inside the actor, empty for `NoReply`.
    """

    def __init__(self, path: str, error_type: str, error_text: str, traceback_text: str = "") -> None:
        super().__init__(f"{path} failed with {error_type}: {error_text}")
        self.path = path
        self.error_type = error_type
        self.error_text = error_text
        self.traceback_text = traceback_text


class ActorDown(AskError):
    """The actor ended before it answered, or was not there any more.

    Attributes:
        path: the actor.
        reason: why it ended.
        restarting: True when its supervisor starts it again under the same ref, so that asking once more
            makes sense; False when it is gone for good.
    """

    def __init__(self, path: str, reason: str, *, restarting: bool = False) -> None:
        super().__init__(f"{path} is down ({'restarting' if restarting else 'for good'}): {reason}")
        self.path = path
        self.reason = reason
        self.restarting = restarting


class Expired(AskError, TimeoutError):
    """A wait reached its deadline. The text says who waited for whom, why, and since when."""


class Refused(AskError):
    """The runtime did not admit the request. Nothing was sent."""


class UpwardAsk(Refused):
    """An actor asked something that is not below it in the tree (law 3). It may `tell` it instead."""


class InsideTree(UpwardAsk):
    """A handler called a method of the system that waits, or starts actors; for that it has its context."""


class SpawnOutsideParent(InsideTree):
    """A handler tried to start an actor that would not be its child."""


class WaitCycle(Refused):
    """The wait would have closed a circle of actors that wait for each other."""


class MailboxFull(Refused):
    """The mailbox has no room and its policy says `fail`, or the caller cannot wait."""


class WrongState(Refused):
    """The handler is bound to other lifecycle states than the one the actor is in."""


class NotHandled(Refused):
    """The actor has no handler for this message."""


class SystemClosed(Refused):
    """The actor system is not open, or is shutting down."""


class JobsExhausted(Refused):
    """Too many abandoned jobs still hold their threads; no further job is started."""


class EndlessWait(ActorError, ValueError):
    """A wait was to have no end: the time given for it is not finite (laws 2 and 5)."""


class UnboundedMailbox(ActorError, ValueError):
    """A mailbox was to have no limit, or no room (law 6)."""


class AmbiguousOption(ActorError, TypeError):
    """An option of `spawn` is also the name of a parameter of the actor's constructor."""


class EpochFailed(ActorError):
    """An epoch ended in failure. The text says which one, where, and why."""


class IllegalTransition(ActorError):
    """The table of states has no such move."""


class JobAbandoned(ActorError):
    """Raised inside a job by `JobToken.check` once nobody waits for the result any more."""


class MessageError(ActorError, TypeError):
    """An object cannot travel as a message, or as a part of one."""


class UnregisteredMessage(MessageError):
    """The object's class was not declared with `@message`."""


class MutablePayload(MessageError):
    """An array in a message is writable: the sender could change it while the receiver reads."""


class ProtocolError(ActorError):
    """Bytes from outside do not form a frame that we accept."""
