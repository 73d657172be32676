"""The mailbox: first in, first out, bounded, two lanes; and nobody steps in between."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mailbox import CAPACITY, Mailbox, Put
from tests.helpers.virtual_loop import Deadlock, run_virtual, settle, virtual

if TYPE_CHECKING:
    from collections.abc import Callable


def _filled(*entries: str, capacity: int = 3) -> Mailbox[str]:
    box: Mailbox[str] = Mailbox(capacity)
    for entry in entries:
        assert box.put(entry) is Put.ADMITTED
    return box


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_first_in_first_out() -> None:
    box = _filled("a", "b", "c")
    assert [box.get(), box.get(), box.get(), box.get()] == ["a", "b", "c", None]


def test_it_never_grows() -> None:
    box = _filled("a", "b", "c")
    assert box.put("d") is Put.FULL
    assert len(box) == 3
    box.get()
    assert box.put("d") is Put.ADMITTED
    assert Mailbox[str]().capacity == CAPACITY == 256


@pytest.mark.parametrize("capacity", [0, -5])
def test_there_is_room_for_one_at_least(capacity: int) -> None:
    with pytest.raises(ValueError, match=f"got capacity {capacity}"):
        Mailbox(capacity)


def test_the_system_lane_is_read_first_and_has_room_always() -> None:
    box = _filled("a", "b", "c")
    for number in range(1000):
        box.put_system(f"s{number}")
    assert box.get() == "s0"
    assert len(box) == 3 + 999
    for _ in range(999):
        box.get()
    assert box.get() == "a"


@virtual
async def test_a_free_place_is_handed_to_the_first_who_waits() -> None:
    box = _filled("a", "b", "c")
    waiting = {name: _future() for name in "de"}
    for name, admitted in waiting.items():
        box.queue_for_room(name, admitted)
    assert box.get() == "a"
    assert waiting["d"].done()
    assert not waiting["e"].done()
    assert box.put("late") is Put.FULL, "nobody steps in between"
    assert [box.get() for _ in range(5)] == ["b", "c", "d", "e", None]


@virtual
async def test_who_gives_up_loses_the_place() -> None:
    box = _filled("a", "b", "c")
    waiting = {name: _future() for name in "def"}
    for name, admitted in waiting.items():
        box.queue_for_room(name, admitted)
    waiting["d"].cancel()
    waiting["e"].set_exception(LookupError())
    waiting["e"].exception()
    assert [box.get() for _ in range(5)] == ["a", "b", "c", "f", None]


@virtual
async def test_who_gave_up_is_forgotten_when_the_next_one_comes() -> None:
    box = _filled("a", "b", "c")
    for _ in range(100):
        admitted = _future()
        box.queue_for_room("x", admitted)
        admitted.cancel()
    assert len(box._room) == 1


@virtual
async def test_making_room_by_dropping_serves_who_waits() -> None:
    box = _filled("a", "b", "c")
    admitted = _future()
    box.queue_for_room("d", admitted)
    assert box.pop_oldest() == "a"
    assert admitted.done()
    assert box.drain() == ["b", "c", "d"]
    assert box.pop_oldest() is None


@virtual
async def test_closing_refuses_and_keeps_what_was_admitted() -> None:
    box = _filled("a", "b", "c")
    admitted = _future()
    box.queue_for_room("d", admitted)
    box.close()
    assert box.put("e") is Put.CLOSED
    box.put_system("s")
    assert box.drain() == ["s", "a", "b", "c"]
    assert not admitted.done(), "who waited for room hears of it from the end of the actor"
    assert len(box) == 0


@pytest.mark.parametrize("wake", ["put", "put_system", "close"])
def test_waiting_ends_when_something_comes(wake: str) -> None:
    @virtual
    async def scenario() -> None:
        box: Mailbox[str] = Mailbox()
        waiting = asyncio.create_task(box.wait())
        await settle()
        assert not waiting.done()
        getattr(box, wake)(*(() if wake == "close" else ("a",)))
        await waiting
        await box.wait()  # at once, as long as it is there

    scenario()


@virtual
async def test_cancelling_a_wait_loses_nothing() -> None:
    box: Mailbox[str] = Mailbox()
    waiting = asyncio.create_task(box.wait())
    await settle()
    box.put("a")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    await box.wait()
    assert box.get() == "a"


@virtual
async def test_a_reader_that_unwinds_late_does_not_disarm_the_next_one() -> None:
    box: Mailbox[str] = Mailbox()
    first = asyncio.create_task(box.wait())
    await settle()
    first.cancel()
    asyncio.get_running_loop().call_later(1, box.put, "a")
    await box.wait()  # in this very turn, before the first one has unwound
    assert box.get() == "a"


@virtual
async def test_there_is_one_reader() -> None:
    box: Mailbox[str] = Mailbox()
    first = asyncio.create_task(box.wait())
    await settle()
    with pytest.raises(RuntimeError, match="one reader"):
        await box.wait()
    box.put("a")
    await first


def test_waiting_for_nothing_at_all_is_a_deadlock() -> None:
    """What the tests' own loop is for: this would hang for ever."""

    async def wait_for_nothing() -> None:
        await Mailbox[str]().wait()

    with pytest.raises(Deadlock):
        run_virtual(wait_for_nothing)


class Model:
    """Two plain queues and a list of those who wait, moved in step with a mailbox."""

    def __init__(self, capacity: int) -> None:
        self.box: Mailbox[int] = Mailbox(capacity)
        self.system: deque[int] = deque()
        self.user: deque[int] = deque()
        self.room: deque[tuple[int, asyncio.Future[None]]] = deque()

    def put(self, number: int) -> None:
        """Offer an entry."""
        full = len(self.user) == self.box.capacity
        assert self.box.put(number) is (Put.FULL if full else Put.ADMITTED)
        if not full:
            self.user.append(number)

    def put_system(self, number: int) -> None:
        """Add to the system lane."""
        self.box.put_system(number)
        self.system.append(number)

    def queue(self, number: int) -> None:
        """Wait for room, when there is none."""
        if len(self.user) == self.box.capacity:
            self.room.append((number, _future()))
            self.box.queue_for_room(*self.room[-1])

    def give_up(self, number: int) -> None:
        """One of those who wait does not want to any more."""
        if self.room:
            self.room[number % len(self.room)][1].cancel()

    def get(self, _number: int) -> None:
        """Take the next one."""
        lane = self.system or self.user
        assert self.box.get() == (lane.popleft() if lane else None)
        self._refill()

    def pop_oldest(self, _number: int) -> None:
        """Drop one of the user lane."""
        assert self.box.pop_oldest() == (self.user.popleft() if self.user else None)
        self._refill()

    def _refill(self) -> None:
        while self.room and len(self.user) < self.box.capacity:
            entry, admitted = self.room.popleft()
            if not admitted.cancelled():
                self.user.append(entry)


ACTIONS = [Model.put, Model.put_system, Model.queue, Model.give_up, Model.get, Model.pop_oldest]


@given(st.integers(1, 4), st.lists(st.sampled_from(ACTIONS), max_size=60))
def test_it_behaves_like_its_model(capacity: int, story: list[Callable[[Model, int], None]]) -> None:
    async def scenario() -> None:
        model = Model(capacity)
        for number, action in enumerate(story):
            action(model, number)
            assert len(model.box) == len(model.system) + len(model.user)
        assert model.box.drain() == [*model.system, *model.user]

    run_virtual(scenario)
