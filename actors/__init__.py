"""Actors whose waits always end.

A program built on `actors` can fail, but it cannot wait for ever: every wait ends with an answer, or with an
error that says who waited for whom, why, and since when.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from actors.actor import Actor, on
from actors.context import Context
from actors.epochs import Epoch
from actors.errors import (
    ActorDown,
    ActorError,
    AmbiguousOption,
    AskError,
    AskFailed,
    EndlessWait,
    EpochFailed,
    Expired,
    IllegalTransition,
    InsideTree,
    JobAbandoned,
    JobsExhausted,
    MailboxFull,
    MessageError,
    MutablePayload,
    NotHandled,
    ProtocolError,
    Refused,
    SpawnOutsideParent,
    SystemClosed,
    UnboundedMailbox,
    UnregisteredMessage,
    UpwardAsk,
    WaitCycle,
    WrongState,
)
from actors.jobs import DaemonExecutor, JobToken
from actors.lifecycle import TRANSITIONS, Event, Lifecycle, State, advance
from actors.mailbox import Overflow
from actors.messages import ActorRef, Down, Request, message
from actors.receiver import Receiver
from actors.supervision import Strategy, Supervision
from actors.system import ActorSystem, ShutdownReport, TreeNode
from actors.waits import Wait, Witness
from actors.watchdog import Blockage
from actors.wire import freeze

if TYPE_CHECKING:
    from actors.replaying import Replay, ReplayDiffers, replay

__all__ = [
    "TRANSITIONS",
    "Actor",
    "ActorDown",
    "ActorError",
    "ActorRef",
    "ActorSystem",
    "AmbiguousOption",
    "AskError",
    "AskFailed",
    "Blockage",
    "Context",
    "DaemonExecutor",
    "Down",
    "EndlessWait",
    "Epoch",
    "EpochFailed",
    "Event",
    "Expired",
    "IllegalTransition",
    "InsideTree",
    "JobAbandoned",
    "JobToken",
    "JobsExhausted",
    "Lifecycle",
    "MailboxFull",
    "MessageError",
    "MutablePayload",
    "NotHandled",
    "Overflow",
    "ProtocolError",
    "Receiver",
    "Refused",
    "Replay",
    "ReplayDiffers",
    "Request",
    "ShutdownReport",
    "SpawnOutsideParent",
    "State",
    "Strategy",
    "Supervision",
    "SystemClosed",
    "TreeNode",
    "UnboundedMailbox",
    "UnregisteredMessage",
    "UpwardAsk",
    "Wait",
    "WaitCycle",
    "Witness",
    "WrongState",
    "advance",
    "freeze",
    "message",
    "on",
    "replay",
]


def __getattr__(name: str) -> Any:
    """What few programs need is imported when it is asked for."""
    if name in {"Replay", "ReplayDiffers", "replay"}:
        return getattr(importlib.import_module("actors.replaying"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
