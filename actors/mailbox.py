"""A bounded mailbox with two lanes.

The system lane (stop, down, abort) is read first and never refuses: only the runtime sends there, once for
each end, stop, failed epoch, or first watch. The user lane gives credit for so many
messages and so many bytes; an entry takes its share when it is admitted and gives it back when it leaves.
What happens beyond that is the mailbox's policy. Senders that wait for room are served in the order they
came: a freed place is handed to the first of them at once, so that nobody can step in between.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from actors.errors import UnboundedMailbox

if TYPE_CHECKING:
    import asyncio

__all__ = ["BYTES_MAX", "CAPACITY", "Mailbox", "Overflow", "Put", "Sized"]

CAPACITY = 256
BYTES_MAX = 1 << 30
ROOM_COMPACT_AT = 64


class Sized(Protocol):
    """What can lie in a mailbox."""

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""

    @property
    def reserved(self) -> bool:
        """Whether the runtime has kept a place for it, so that it is never dropped for another."""


E = TypeVar("E", bound=Sized)


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


# To look into an enumeration costs as much as a call, and this is the answer to nearly every message.
ADMITTED: Final = Put.ADMITTED


class Mailbox(Generic[E]):
    """Entries in order of arrival, the system lane before the user lane.

    Args:
        capacity: entries of the user lane, at least 1.
        overflow: the policy of a full user lane.
        bytes_max: bytes of the user lane, arrays included, at least 1. One entry alone is always admitted,
            however large it is: otherwise it could wait for ever.

    Attributes:
        bytes_used: of the entries in the user lane now.

    Raises:
        UnboundedMailbox: `capacity` or `bytes_max` is not a whole number from 1.
    """

    __slots__ = (
        "_room",
        "_room_limit",
        "_system",
        "_user",
        "_wakeup",
        "bytes_max",
        "bytes_used",
        "capacity",
        "closed",
        "overflow",
    )

    def __init__(
        self, capacity: int = CAPACITY, overflow: Overflow = Overflow.WAIT, *, bytes_max: int = BYTES_MAX
    ) -> None:
        for name, number in (("capacity", capacity), ("bytes_max", bytes_max)):
            if type(number) is not int or number < 1:
                raise UnboundedMailbox(f"a mailbox is bounded, and holds something: {name}={number!r}")
        self.capacity = capacity
        self.overflow = overflow
        self.bytes_max = bytes_max
        self.bytes_used = 0
        self._system: deque[E] = deque()
        self._user: deque[E] = deque()
        self._room: deque[tuple[E, asyncio.Future[None]]] | None = None  # made when it is needed
        self._wakeup: asyncio.Future[None] | None = None
        self._room_limit = ROOM_COMPACT_AT
        self.closed = False

    def __len__(self) -> int:
        """Entries in both lanes; senders that still wait for room do not count."""
        return len(self._system) + len(self._user)

    def put(self, entry: E) -> Put:
        """Offer an entry to the user lane; the mailbox never grows beyond its bounds."""
        if self.closed:
            return Put.CLOSED
        if self._room and self._someone_waits():
            return Put.FULL
        if self._user and self._full_for(entry):
            return Put.FULL
        self.bytes_used += entry.nbytes
        self._user.append(entry)
        wakeup = self._wakeup
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)
        return ADMITTED

    def _full_for(self, entry: E) -> bool:
        no_room = len(self._user) >= self.capacity or self.bytes_used + entry.nbytes > self.bytes_max
        return no_room and bool(self._user)

    def _admit(self, entry: E) -> None:
        self.bytes_used += entry.nbytes
        self._user.append(entry)
        self._wake()

    def _someone_waits(self) -> bool:
        """Whether somebody came before who still waits for room: a small entry must not step in."""
        while self._room and self._room[0][1].done():
            self._room.popleft()
        return bool(self._room)

    def put_reserved(self, entry: E) -> None:
        """Add an entry to the user lane, in its order, in a place that the runtime keeps for it."""
        self._admit(entry)

    def put_system(self, entry: E) -> None:
        """Add an entry to the system lane, which is open until the actor's end."""
        self._system.append(entry)
        self._wake()

    def trim_system(self, at_most: int) -> list[E]:
        """Take out of the system lane, and return, the oldest entries beyond `at_most`."""
        return [self._system.popleft() for _ in range(len(self._system) - at_most)]

    def put_urgent(self, entry: E) -> None:
        """Add an entry to the system lane, before all others."""
        self._system.appendleft(entry)
        self._wake()

    def queue_for_room(self, entry: E, admitted: asyncio.Future[None]) -> None:
        """Admit `entry` as soon as there is room, and complete `admitted` then.

        A future that was cancelled or failed meanwhile gives up its place.
        """
        if self._room is None:
            self._room = deque()
        self._someone_waits()  # a recipient that takes nothing must not collect those who gave up
        self._room.append((entry, admitted))
        if len(self._room) >= self._room_limit:  # those who gave up must not collect behind a patient one
            self._room = deque(waiting for waiting in self._room if not waiting[1].done())
            self._room_limit = 2 * len(self._room) + ROOM_COMPACT_AT

    def pop_oldest(self) -> E | None:
        """Take the oldest user entry away that may be dropped, to make room under `drop_oldest`."""
        for index, entry in enumerate(self._user):
            if not entry.reserved:
                del self._user[index]
                self.bytes_used -= entry.nbytes
                self._serve_room()
                return entry
        return None

    def get(self) -> E | None:
        """Take the next entry, None when there is none."""
        if self._system:
            return self._system.popleft()
        if not self._user:
            return None
        entry = self._user.popleft()
        self.bytes_used -= entry.nbytes
        if self._room:
            self._serve_room()
        return entry

    def _serve_room(self) -> None:
        """Hand the credit of an entry that has left to those who wait for it."""
        while self._room and self._someone_waits():
            waiting, admitted = self._room[0]
            if self._full_for(waiting):
                return
            self._admit(waiting)
            admitted.set_result(None)  # so that the next look at who waits finds somebody else

    def arrival(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return a future that is done as soon as there is an entry, or the mailbox is closed.

        Cancelling it loses nothing.

        Raises:
            RuntimeError: somebody else waits already; only one of the two would be woken.
        """
        if self._wakeup is not None and not self._wakeup.done():
            raise RuntimeError("a mailbox has one reader, and it waits already")
        self._wakeup = loop.create_future()
        if self._system or self._user or self.closed:
            self._wakeup.set_result(None)
        return self._wakeup

    def _wake(self) -> None:
        wakeup = self._wakeup
        if wakeup is not None and not wakeup.done():
            wakeup.set_result(None)

    def close(self) -> None:
        """Refuse user entries from now on, those that wait for room included. What was admitted stays."""
        self.closed = True
        self._room = None
        self._wake()

    def drain(self) -> list[E]:
        """Take out everything, in order. Senders that wait for room are forgotten: their asks have ended."""
        entries = [*self._system, *self._user]
        self._room = None
        self._system.clear()
        self._user.clear()
        self.bytes_used = 0
        return entries
