"""What a trace is to keep."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BYTES_MAX", "FLUSH_S", "LEVELS", "RING_SIZE", "Level", "Payloads", "TraceOptions"]

Level: TypeAlias = Literal["lifecycle", "waits", "messages"]
Payloads: TypeAlias = Literal["none", "hash", "whole"]

RING_SIZE: Final = 65_536
BYTES_MAX: Final = 512 * 1024 * 1024
BYTES_LEAST: Final = 64 * 1024
FLUSH_S: Final = 0.5

# What each level keeps, besides what the ones before it keep. What is in none belongs to the first.
LEVELS: Final[dict[str, frozenset[str]]] = {
    "lifecycle": frozenset(),
    "waits": frozenset({"wait", "wait_end", "job", "job_end", "watch", "unwatch"}),
    "messages": frozenset({"ask", "tell", "send", "take", "answer", "serve", "handled", "receive", "done"}),
}


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What a trace is to keep, and where.

    Args:
        path: of the file; None for memory alone.
        level: `lifecycle` keeps starts, ends, states, restarts, errors, refusals, dead letters and blocked
            loops; `waits` also jobs and waits other than for answers; `messages` everything.
        sample: which share of the messages from outside is kept, with all that they cause; between 0 and 1.
            What belongs to the level `lifecycle` is always kept.
        payloads: of messages and answers, and of constructors' arguments: `none`, `hash` (arrays as hash and
            shape) or `whole`. To keep them costs about what it costs to read their arrays once.
        bytes_max: of the file with all its parts, at least 64 KiB: beyond it the oldest part but the first
            goes.
        flush_s: how often the file is written to, in seconds: what a process that is killed loses at most.
        ring_size: how many rows are kept in memory, of which an ask takes three.

    Raises:
        ValueError: a value that is none of these.
    """

    path: Path | str | None = None
    level: Level = "messages"
    sample: float = 1.0
    payloads: Payloads = "none"
    bytes_max: int = BYTES_MAX
    flush_s: float = FLUSH_S
    ring_size: int = RING_SIZE

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level is {self.level!r}: it is one of {', '.join(LEVELS)}")
        if self.payloads not in get_args(Payloads):
            raise ValueError(f"payloads is {self.payloads!r}: it is one of {', '.join(get_args(Payloads))}")
        if not 0 <= self.sample <= 1:
            raise ValueError(f"sample is {self.sample}: a share between 0 and 1")
        if self.bytes_max < BYTES_LEAST:
            raise ValueError(f"bytes_max is {self.bytes_max}: at least {BYTES_LEAST}")
        if not 0 < self.flush_s < math.inf:
            raise ValueError(f"flush_s is {self.flush_s}: a finite time above 0")
        if self.ring_size < 1:
            raise ValueError(f"ring_size is {self.ring_size}: at least 1")
