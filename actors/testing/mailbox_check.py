"""The contract of a mailbox: two lanes, bounds of messages and bytes, order, and policies for a full one."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors.errors import UnboundedMailbox
from actors.mailbox import Mailbox, Overflow, Put
from actors.testing.clock import run_virtual, settle
from actors.testing.contract import ContractBroken, require

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["check_mailbox"]

CAPACITY: Final = 3
BYTES: Final = 10
SYSTEM_ENTRIES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is put into the mailboxes."""

    name: str
    nbytes: int = 1
    reserved: bool = False

    def __repr__(self) -> str:
        return self.name


class _Make(Protocol):
    def __call__(self, capacity: int, overflow: Overflow, /, *, bytes_max: int = ...) -> Mailbox[Any]:
        """Build an empty mailbox."""


def check_mailbox(make: _Make) -> None:
    """Hold any mailbox to the contract of `actors.mailbox.Mailbox`, under each policy.

    To be called outside any event loop: it runs virtual ones of its own.

    Args:
        make: builds an empty mailbox in a running event loop: `make(capacity, overflow)`, and
            `make(capacity, overflow, bytes_max=...)`.

    Raises:
        ContractBroken: with the rule, and what was found instead.
    """
    for overflow in Overflow:
        for check in _CHECKS:
            run_virtual(functools.partial(check, make, overflow))


def _entries(names: str) -> list[_Entry]:
    return [_Entry(name) for name in names]


def _filled(make: _Make, overflow: Overflow) -> Mailbox[Any]:
    box = make(CAPACITY, overflow)
    for entry in _entries("abc"):
        require(box.put(entry) is Put.ADMITTED, f"put({entry}) was not admitted although there was room")
    return box


def _took(box: Mailbox[Any], names: str, rule: str) -> None:
    """Whether the next entries are these, and no others if the names end with a dot."""
    taken = [box.get() for _ in names]
    expected = [*_entries(names.rstrip(".")), *[None for name in names if name == "."]]
    require(taken == expected, f"{rule}: expected {expected}, got {taken}")


async def _bounded(make: _Make, overflow: Overflow) -> None:
    box = _filled(make, overflow)
    require(box.capacity == CAPACITY, f"capacity is {box.capacity}, asked for {CAPACITY}")
    require(box.overflow is overflow, f"overflow is {box.overflow}, asked for {overflow}")
    require(box.put(_Entry("d")) is Put.FULL, "a full mailbox refuses; it never grows")
    require(len(box) == CAPACITY, f"len is {len(box)} with {CAPACITY} entries")
    _took(box, "abc.", "first in, first out, and None when empty")
    for capacity, bytes_max in ((0, BYTES), (CAPACITY, 0)):
        try:
            make(capacity, overflow, bytes_max=bytes_max)
        except UnboundedMailbox:
            continue
        raise ContractBroken(f"capacity={capacity}, bytes_max={bytes_max} must be an UnboundedMailbox")


async def _bounded_in_bytes(make: _Make, overflow: Overflow) -> None:
    box = make(CAPACITY, overflow, bytes_max=BYTES)
    require(box.put(_Entry("a", 2 * BYTES)) is Put.ADMITTED, "one entry alone is admitted, whatever its size")
    require(box.put(_Entry("b")) is Put.FULL, "an entry beyond the bytes of a mailbox is refused")
    require(box.get() is not None, "what was admitted is there")
    require(box.bytes_used == 0, f"an empty mailbox holds 0 bytes, not {box.bytes_used}")
    for name, size in (("c", BYTES - 1), ("d", 1)):
        require(box.put(_Entry(name, size)) is Put.ADMITTED, "credit comes back when an entry leaves")
    require(box.bytes_used == BYTES, f"bytes_used is {box.bytes_used}, and {BYTES} are in use")
    admitted = asyncio.get_running_loop().create_future()
    box.queue_for_room(_Entry("e", BYTES), admitted)
    box.get()
    require(not admitted.done(), "who waits for bytes is admitted only when they are free")
    require(box.put(_Entry("f")) is Put.FULL, "a small entry steps in before a large one that waits")
    box.get()
    require(admitted.done(), "who waits for bytes is admitted when they are free")
    require(box.bytes_used == BYTES, f"bytes_used is {box.bytes_used} with one entry of {BYTES}")


async def _two_lanes(make: _Make, overflow: Overflow) -> None:
    box = _filled(make, overflow)
    entries = [_Entry(str(number)) for number in range(SYSTEM_ENTRIES)]
    for entry in entries:
        box.put_system(entry)
    require(len(box) == CAPACITY + SYSTEM_ENTRIES, "the system lane has room always, and counts")
    box.put_urgent(_Entry("u"))
    _took(box, "u", "what is urgent is read before all others")
    taken = [box.get() for _ in entries]
    require(taken == entries, "the system lane is read first, in its order")
    _took(box, "a", "the system lane is read first")
    require(box.put(_Entry("d")) is Put.ADMITTED, "a place is free once its entry was taken")
    box.put_reserved(_Entry("r"))
    _took(box, "bcdr.", "what has a reserved place needs no other, and is read in its order")


async def _wait_for_room(make: _Make, overflow: Overflow) -> None:
    box, loop = _filled(make, overflow), asyncio.get_running_loop()
    admitted = {name: loop.create_future() for name in "def"}
    for name, future in admitted.items():
        box.queue_for_room(_Entry(name), future)
    require(len(box) == CAPACITY, "those who wait for room do not count")
    admitted["d"].cancel()
    _took(box, "a", "first in, first out")
    require(admitted["e"].done(), "a free place goes to the first who still waits")
    require(not admitted["f"].done(), "one free place was given to two")
    require(box.put(_Entry("x")) is Put.FULL, "nobody steps in before those who wait")
    _took(box, "bcef.", "those who wait are served in the order they came")


async def _drop_oldest(make: _Make, overflow: Overflow) -> None:
    box = make(CAPACITY, overflow)
    box.put_reserved(_Entry("r", reserved=True))
    for entry in _entries("ab"):
        box.put(entry)
    box.put_system(_Entry("s"))
    oldest = box.pop_oldest()
    require(oldest == _Entry("a"), f"pop_oldest takes the oldest that is not reserved, 'a', got {oldest!r}")
    require(box.put(_Entry("d")) is Put.ADMITTED, "pop_oldest makes room")
    require(box.get() == _Entry("s"), "the system lane is read first")
    require(box.get() == _Entry("r", reserved=True), "what is reserved is never dropped")
    _took(box, "bd", "dropping the oldest keeps the others in order")
    require(box.pop_oldest() is None, "pop_oldest of an empty lane is None")


async def _wake_up(make: _Make, overflow: Overflow) -> None:
    loop = asyncio.get_running_loop()
    for name in ("put", "put_reserved", "put_system", "put_urgent", "close"):
        box = make(CAPACITY, overflow)
        arrival = box.arrival(loop)
        await settle()
        require(not arrival.done(), "a reader was woken although there was nothing")
        getattr(box, name)(*([] if name == "close" else [_Entry("a")]))
        require(arrival.done(), f"{name} does not wake the reader")
        require(box.arrival(loop).done(), f"after {name} a reader must not wait")


async def _cancelled_reader(make: _Make, overflow: Overflow) -> None:
    box, loop = make(CAPACITY, overflow), asyncio.get_running_loop()
    first = box.arrival(loop)
    try:
        box.arrival(loop)
    except RuntimeError:
        first.cancel()
    require(first.cancelled(), "a second reader is refused with RuntimeError: only one would be woken")
    box.put(_Entry("a"))
    _took(box, "a.", "a reader that is cancelled loses nothing")
    second = box.arrival(loop)
    box.put(_Entry("b"))
    require(second.done(), "a reader is not woken after another was cancelled")


async def _closing(make: _Make, overflow: Overflow) -> None:
    box = _filled(make, overflow)
    admitted = asyncio.get_running_loop().create_future()
    box.queue_for_room(_Entry("d"), admitted)
    box.close()
    require(box.closed, "closed is not set by close")
    require(box.put(_Entry("e")) is Put.CLOSED, "a closed mailbox takes no user entries")
    box.put_system(_Entry("s"))
    drained = box.drain()
    require(drained == _entries("sabc"), f"what was admitted stays, the system lane first, not {drained}")
    require(not admitted.done(), "who waits for room when it closes is not admitted")
    require(not len(box) and box.get() is None, "drain takes everything out")
    require(box.bytes_used == 0, f"an empty mailbox holds 0 bytes, not {box.bytes_used}")


class _Check(Protocol):
    def __call__(self, make: _Make, overflow: Overflow) -> Coroutine[Any, Any, None]:
        """Hold a mailbox to one rule."""


_CHECKS: Final[tuple[_Check, ...]] = (
    _bounded,
    _bounded_in_bytes,
    _two_lanes,
    _wait_for_room,
    _drop_oldest,
    _wake_up,
    _cancelled_reader,
    _closing,
)
