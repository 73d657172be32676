"""A bounded mailbox with two lanes.

The system lane (stop, down, abort) is read first and never refuses: what may stand in it is bounded by
what the runtime itself sends, one entry for each end or stop. The user lane holds at most `capacity`
entries; what happens beyond that is its policy. Senders that wait for room are served in the order they
came: a freed place is handed to the first of them at once, so that nobody can step in between.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import Generic, TypeVar

__all__ = ["CAPACITY", "Mailbox", "Overflow", "Put"]

E = TypeVar("E")
CAPACITY = 256
ROOM_COMPACT_AT = 64


class Overflow(enum.Enum):
    """What a full user lane does with one more entry."""

    WAIT = "wait"
    FAIL = "fail"
    DROP_OLDEST = "drop_oldest"


class Put(enum.Enum):
    """What became of an entry."""

    ADMITTED = "admitted"
    FULL = "full"
    CLOSED = "closed"


class Mailbox(Generic[E]):
    """Entries in order of arrival, the system lane before the user lane.

    Args:
        capacity: entries of the user lane, at least 1.
        overflow: the policy of a full user lane.

    Raises:
        ValueError: `capacity` is below 1.
    """

    __slots__ = ("_room", "_room_limit", "_system", "_user", "_wakeup", "capacity", "closed", "overflow")

    def __init__(self, capacity: int = CAPACITY, overflow: Overflow = Overflow.WAIT) -> None:
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one entry, got capacity {capacity}")
        self.capacity = capacity
        self.overflow = overflow
        self._system: deque[E] = deque()
        self._user: deque[E] = deque()
        self._room: deque[tuple[E, asyncio.Future[None]]] = deque()
        self._wakeup: asyncio.Future[None] | None = None
        self._room_limit = ROOM_COMPACT_AT
        self.closed = False

    def __len__(self) -> int:
        """Entries in both lanes; senders that still wait for room do not count."""
        return len(self._system) + len(self._user)

    def put(self, entry: E) -> Put:
        """Offer an entry to the user lane; the mailbox never grows beyond its capacity."""
        if self.closed:
            return Put.CLOSED
        if len(self._user) >= self.capacity:
            return Put.FULL
        self._user.append(entry)
        self._wake()
        return Put.ADMITTED

    def put_system(self, entry: E) -> None:
        """Add an entry to the system lane, which is open until the actor's end."""
        self._system.append(entry)
        self._wake()

    def queue_for_room(self, entry: E, admitted: asyncio.Future[None]) -> None:
        """Admit `entry` as soon as a place is free, and complete `admitted` then.

        A future that was cancelled or failed meanwhile gives up its place.
        """
        while self._room and self._room[0][1].done():
            self._room.popleft()  # a recipient that takes nothing must not collect those who gave up
        self._room.append((entry, admitted))
        if len(self._room) >= self._room_limit:  # those who gave up must not collect behind a patient one
            self._room = deque(waiting for waiting in self._room if not waiting[1].done())
            self._room_limit = 2 * len(self._room) + ROOM_COMPACT_AT

    def pop_oldest(self) -> E | None:
        """Take the oldest user entry away, to make room under `drop_oldest`."""
        return self._take_user() if self._user else None

    def get(self) -> E | None:
        """Take the next entry, None when there is none."""
        if self._system:
            return self._system.popleft()
        return self._take_user() if self._user else None

    def _take_user(self) -> E:
        entry = self._user.popleft()
        while self._room and len(self._user) < self.capacity:
            waiting, admitted = self._room.popleft()
            if not admitted.done():
                self._user.append(waiting)
                admitted.set_result(None)
        return entry

    async def wait(self) -> None:
        """Return as soon as there is an entry, or the mailbox is closed. Cancelling it loses nothing.

        Raises:
            RuntimeError: somebody else waits already; only one of the two would be woken.
        """
        if self._system or self._user or self.closed:
            return
        if self._wakeup is not None and not self._wakeup.done():
            raise RuntimeError("a mailbox has one reader, and it waits already")
        wakeup = self._wakeup = asyncio.get_running_loop().create_future()
        try:
            await wakeup
        finally:
            if self._wakeup is wakeup:  # a reader that was cancelled may unwind after the next one came
                self._wakeup = None

    def _wake(self) -> None:
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def close(self) -> None:
        """Refuse user entries from now on, those that wait for room included. What was admitted stays."""
        self.closed = True
        self._room.clear()
        self._wake()

    def drain(self) -> list[E]:
        """Take out everything, in order."""
        entries = [*self._system, *self._user]
        self._system.clear()
        self._user.clear()
        return entries
