"""The contract of a mailbox: two lanes, a bound, order, and policies for when it is full."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

from actors.mailbox import Mailbox, Overflow, Put
from actors.simulation import Deadlock
from actors.testing.clock import run_virtual, settle
from actors.testing.contract import ContractBroken, require

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_mailbox"]

CAPACITY: Final = 3
SYSTEM_ENTRIES: Final = 1000


def check_mailbox(make: Callable[[int, Overflow], Mailbox[Any]]) -> None:
    """Hold any mailbox to the contract of `actors.mailbox.Mailbox`, under each policy.

    To be called outside any event loop: it runs virtual ones of its own.

    Args:
        make: builds an empty mailbox with this capacity and policy, in a running event loop.

    Raises:
        ContractBroken: with the rule, and what was found instead.
    """
    for overflow in Overflow:
        for check in _CHECKS:
            try:
                run_virtual(functools.partial(check, make, overflow))
            except Deadlock as deadlock:
                raise ContractBroken(f"{check.__name__.strip('_')}: a reader was never woken") from deadlock


def _filled(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> Mailbox[Any]:
    box = make(CAPACITY, overflow)
    for entry in "abc":
        require(box.put(entry) is Put.ADMITTED, f"put({entry!r}) was not admitted although there was room")
    return box


def _took(box: Mailbox[Any], expected: list[Any], rule: str) -> None:
    taken = [box.get() for _ in expected]
    require(taken == expected, f"{rule}: expected {expected}, got {taken}")


async def _bounded(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box = _filled(make, overflow)
    require(box.capacity == CAPACITY, f"capacity is {box.capacity}, asked for {CAPACITY}")
    require(box.overflow is overflow, f"overflow is {box.overflow}, asked for {overflow}")
    require(box.put("d") is Put.FULL, "a full mailbox refuses; it never grows")
    require(len(box) == CAPACITY, f"len is {len(box)} with {CAPACITY} entries")
    _took(box, ["a", "b", "c", None], "first in, first out, and None when empty")
    try:
        make(0, overflow)
    except ValueError:
        return
    raise ContractBroken("a mailbox without room was made: capacity 0 is a ValueError")


async def _two_lanes(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box = _filled(make, overflow)
    for number in range(SYSTEM_ENTRIES):
        box.put_system(number)
    require(len(box) == CAPACITY + SYSTEM_ENTRIES, "the system lane has room always, and counts")
    _took(box, [*range(SYSTEM_ENTRIES), "a"], "the system lane is read first")
    require(box.put("d") is Put.ADMITTED, "a place is free once its entry was taken")


async def _wait_for_room(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box, loop = _filled(make, overflow), asyncio.get_running_loop()
    admitted = {name: loop.create_future() for name in "def"}
    for name, future in admitted.items():
        box.queue_for_room(name, future)
    require(len(box) == CAPACITY, "those who wait for room do not count")
    admitted["d"].cancel()
    _took(box, ["a"], "first in, first out")
    require(admitted["e"].done(), "a free place goes to the first who still waits")
    require(not admitted["f"].done(), "one free place was given to two")
    require(box.put("late") is Put.FULL, "nobody steps in before those who wait")
    _took(box, ["b", "c", "e", "f", None], "those who wait are served in the order they came")


async def _drop_oldest(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box = _filled(make, overflow)
    box.put_system("s")
    oldest = box.pop_oldest()
    require(oldest == "a", f"pop_oldest takes the oldest of the user lane, expected 'a', got {oldest!r}")
    require(box.put("d") is Put.ADMITTED, "pop_oldest makes room")
    _took(box, ["s", "b", "c", "d"], "dropping the oldest keeps the others in order")
    require(box.pop_oldest() is None, "pop_oldest of an empty lane is None")


async def _wake_up(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    for name, args in (("put", "a"), ("put_system", "a"), ("close", "")):
        box = make(CAPACITY, overflow)
        waiting = asyncio.ensure_future(box.wait())
        await settle()
        require(not waiting.done(), "wait returned although there was nothing")
        getattr(box, name)(*args)
        await settle()
        require(waiting.done(), f"{name} does not wake the reader")
        await box.wait()


async def _cancelled_reader(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box = make(CAPACITY, overflow)
    first = asyncio.ensure_future(box.wait())
    await settle()
    second = asyncio.ensure_future(box.wait())
    await settle()
    refused = second.done() and isinstance(second.exception(), RuntimeError)
    second.cancel()
    require(refused, "a second reader is refused with RuntimeError: only one of two would be woken")
    box.put("a")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    _took(box, ["a"], "a reader that is cancelled loses nothing")
    first = asyncio.ensure_future(box.wait())
    await settle()
    first.cancel()
    asyncio.get_running_loop().call_later(1.0, box.put, "b")
    await box.wait()  # before the first has unwound, which must not disarm this one
    _took(box, ["b"], "a reader is woken after another was cancelled")


async def _closing(make: Callable[[int, Overflow], Mailbox[Any]], overflow: Overflow) -> None:
    box = _filled(make, overflow)
    admitted = asyncio.get_running_loop().create_future()
    box.queue_for_room("d", admitted)
    box.close()
    require(box.closed, "closed is not set by close")
    require(box.put("e") is Put.CLOSED, "a closed mailbox takes no user entries")
    box.put_system("s")
    drained = box.drain()
    require(drained == ["s", *"abc"], f"what was admitted stays, the system lane first: drain gave {drained}")
    require(not admitted.done(), "who waits for room when it closes is not admitted")
    require(not len(box) and box.get() is None, "drain takes everything out")


_CHECKS: Final = (
    _bounded,
    _two_lanes,
    _wait_for_room,
    _drop_oldest,
    _wake_up,
    _cancelled_reader,
    _closing,
)
