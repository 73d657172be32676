"""The mailbox: first in, first out, bounded in messages and bytes, two lanes; and nobody steps in between."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorError
from actors.errors import UnboundedMailbox
from actors.mailbox import BYTES_MAX, CAPACITY, ROOM_COMPACT_AT, Mailbox, Overflow, Put
from tests.helpers.virtual_loop import Deadlock, run_virtual, settle, virtual

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Item:
    """Something with a size."""

    name: str
    nbytes: int = 1
    reserved: bool = False


def _filled(*names: str, capacity: int = 3) -> Mailbox[Item]:
    box: Mailbox[Item] = Mailbox(capacity)
    for name in names:
        assert box.put(Item(name)) is Put.ADMITTED
    return box


def _sized(*sizes: int, bytes_max: int = 10) -> Mailbox[Item]:
    """A mailbox that holds entries of these sizes, named after their order."""
    box: Mailbox[Item] = Mailbox(bytes_max=bytes_max)
    for number, nbytes in enumerate(sizes):
        assert box.put(Item(str(number), nbytes)) is Put.ADMITTED
    return box


def _names(box: Mailbox[Item], most: int = 100) -> list[str]:
    """Take the next entries, and say how they are called."""
    entries = (box.get() for _ in range(most))
    return [entry.name for entry in entries if entry is not None]


def _arrival(box: Mailbox[Item]) -> asyncio.Future[None]:
    return box.arrival(asyncio.get_running_loop())


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_first_in_first_out() -> None:
    box = _filled("a", "b", "c")
    assert _names(box) == ["a", "b", "c"]
    assert box.get() is None


def test_it_never_grows() -> None:
    box = _filled("a", "b", "c")
    assert box.closed is False
    assert box.put(Item("d")) is Put.FULL
    assert len(box) == 3
    box.get()
    assert box.put(Item("d")) is Put.ADMITTED
    assert Mailbox[Item]().capacity == CAPACITY == 256
    assert Mailbox[Item]().bytes_max == BYTES_MAX == 2**30


@pytest.mark.parametrize("policy", Overflow)
def test_it_carries_its_policy_which_is_to_wait_unless_told_otherwise(policy: Overflow) -> None:
    assert Mailbox[Item](1, policy).overflow is policy
    assert Mailbox[Item]().overflow is Overflow.WAIT


@pytest.mark.parametrize("number", [0, -5, 1.5, math.inf, None, "many"])
@pytest.mark.parametrize("bound", ["capacity", "bytes_max"])
def test_it_is_bounded_and_there_is_room_for_one_at_least(bound: str, number: Any) -> None:
    with pytest.raises(UnboundedMailbox, match=f"bounded, and holds something: {bound}={number!r}"):
        Mailbox(**{bound: number})


def test_a_mailbox_without_bounds_is_an_error_of_the_runtime_and_of_the_value() -> None:
    assert issubclass(UnboundedMailbox, ActorError)
    assert issubclass(UnboundedMailbox, ValueError)


def test_the_system_lane_is_read_first_and_has_room_always() -> None:
    box = _filled("a", "b", "c")
    for number in range(1000):
        box.put_system(Item(f"s{number}", BYTES_MAX))
    assert _names(box, 1) == ["s0"]
    assert len(box) == 3 + 999
    assert box.bytes_used == 3, "it takes none of the user lane's credit"
    for _ in range(999):
        box.get()
    assert _names(box, 1) == ["a"]


def test_what_is_urgent_is_read_before_all_else_and_takes_no_credit() -> None:
    box = _filled("a", "b", "c")
    box.put_system(Item("s"))
    box.put_urgent(Item("u1"))
    box.put_urgent(Item("u2", BYTES_MAX))
    assert box.bytes_used == 3
    assert _names(box) == ["u2", "u1", "s", "a", "b", "c"]


@virtual
async def test_a_free_place_is_handed_to_the_first_who_waits() -> None:
    box = _filled("a", "b", "c")
    waiting = {name: _future() for name in "de"}
    for name, admitted in waiting.items():
        box.queue_for_room(Item(name), admitted)
    assert _names(box, 1) == ["a"]
    assert waiting["d"].done()
    assert not waiting["e"].done()
    assert box.put(Item("late")) is Put.FULL, "nobody steps in between"
    assert _names(box) == ["b", "c", "d", "e"]


@virtual
async def test_who_gives_up_loses_the_place() -> None:
    box = _filled("a", "b", "c")
    waiting = {name: _future() for name in "def"}
    for name, admitted in waiting.items():
        box.queue_for_room(Item(name), admitted)
    waiting["d"].cancel()
    waiting["e"].set_exception(LookupError())
    waiting["e"].exception()
    assert _names(box) == ["a", "b", "c", "f"]


@virtual
async def test_who_gave_up_is_forgotten_when_the_next_one_comes() -> None:
    box = _filled("a", "b", "c")
    for _ in range(100):
        admitted = _future()
        box.queue_for_room(Item("x"), admitted)
        admitted.cancel()
    assert box._room is not None
    assert len(box._room) == 1


@virtual
async def test_who_gave_up_does_not_collect_behind_one_who_is_patient() -> None:
    box = _filled("a", "b", "c")
    box.queue_for_room(Item("patient"), _future())
    for _ in range(1000):
        admitted = _future()
        box.queue_for_room(Item("x"), admitted)
        admitted.cancel()
        assert box._room is not None
        assert len(box._room) <= 70
    assert _names(box) == ["a", "b", "c", "patient"]


@virtual
async def test_looking_for_those_who_gave_up_is_rare_however_many_are_patient() -> None:
    box = _filled("a", "b", "c")
    patient = 100
    for _ in range(patient):
        box.queue_for_room(Item("patient"), _future())
    room, searched = box._room, 0
    for _ in range(1000):
        admitted = _future()
        box.queue_for_room(Item("x"), admitted)
        admitted.cancel()
        assert box._room is not None
        assert len(box._room) <= 2 * (patient + 1) + ROOM_COMPACT_AT
        if box._room is not room:
            room, searched = box._room, searched + 1
    assert 1 <= searched <= 1000 / patient


@virtual
async def test_making_room_by_dropping_serves_who_waits() -> None:
    box = _filled("a", "b", "c")
    admitted = _future()
    box.queue_for_room(Item("d"), admitted)
    assert box.pop_oldest() == Item("a")
    assert admitted.done()
    assert box.drain() == [Item("b"), Item("c"), Item("d")]
    assert box.pop_oldest() is None


@virtual
async def test_closing_refuses_and_keeps_what_was_admitted() -> None:
    box = _filled("a", "b", "c")
    admitted = _future()
    box.queue_for_room(Item("d"), admitted)
    box.close()
    assert box.put(Item("e")) is Put.CLOSED
    box.put_system(Item("s"))
    assert box.drain() == [Item("s"), Item("a"), Item("b"), Item("c")]
    assert not admitted.done(), "who waited for room hears of it from the end of the actor"
    assert len(box) == 0


@virtual
async def test_a_place_that_is_freed_after_closing_is_handed_to_nobody() -> None:
    box = _filled("a", "b", "c")
    admitted = _future()
    box.queue_for_room(Item("d"), admitted)
    box.close()
    assert _names(box) == ["a", "b", "c"]
    assert not admitted.done()


@virtual
async def test_who_has_been_handed_a_place_is_forgotten() -> None:
    box = _filled("a", capacity=1)
    for name in "bcd":
        box.queue_for_room(Item(name), _future())
    assert _names(box) == ["a", "b", "c", "d"]
    assert not box._room


def test_credit_for_bytes_is_taken_and_given_back() -> None:
    box = _sized(4, 3, 2)
    assert box.bytes_used == 9
    assert box.put(Item("x", 2)) is Put.FULL
    assert box.bytes_used == 9, "what is refused takes none"
    assert box.put(Item("x", 1)) is Put.ADMITTED
    assert box.bytes_used == 10
    assert box.get() == Item("0", 4)
    assert box.bytes_used == 6
    assert box.pop_oldest() == Item("1", 3)
    assert box.bytes_used == 3
    assert box.drain() == [Item("2", 2), Item("x", 1)]
    assert box.bytes_used == 0
    assert box.put(Item("all of it", 10)) is Put.ADMITTED


def test_one_entry_alone_is_always_admitted() -> None:
    """However large it is: otherwise it could wait for ever."""
    box = _sized(10**12)
    assert box.bytes_used == 10**12
    assert box.put(Item("another", 0)) is Put.FULL
    assert _names(box) == ["0"]
    assert box.bytes_used == 0


@virtual
async def test_one_that_is_larger_than_the_mailbox_waits_until_it_is_alone() -> None:
    box = _sized(5, 5)
    admitted = _future()
    box.queue_for_room(Item("huge", 99), admitted)
    box.get()
    assert not admitted.done()
    box.get()
    assert admitted.done()
    assert box.bytes_used == 99


@virtual
async def test_a_small_entry_does_not_step_in_before_a_large_one_that_waits() -> None:
    box = _sized(5, 3)
    large, small = _future(), _future()
    assert box.put(Item("large", 7)) is Put.FULL
    box.queue_for_room(Item("large", 7), large)
    assert box.put(Item("small", 1)) is Put.FULL, "there are two bytes left, and somebody came before"
    box.queue_for_room(Item("small", 1), small)
    assert _names(box, 1) == ["0"]
    assert (large.done(), small.done()) == (True, False), "3 + 7 bytes are all there are"
    assert _names(box) == ["1", "large", "small"]


@virtual
async def test_who_gave_up_keeps_nobody_out() -> None:
    box = _sized(5, 3)
    large = _future()
    box.queue_for_room(Item("large", 7), large)
    large.cancel()
    assert box.put(Item("small", 1)) is Put.ADMITTED
    assert box.bytes_used == 9


@virtual
async def test_one_place_that_is_freed_serves_as_many_as_its_bytes_admit() -> None:
    box = _sized(9)
    waiting = [_future() for _ in range(5)]
    for number, admitted in enumerate(waiting):
        box.queue_for_room(Item(f"w{number}", 3), admitted)
    box.get()
    assert [admitted.done() for admitted in waiting] == [True, True, True, False, False]
    assert box.bytes_used == 9


def test_a_reserved_place_is_there_in_a_full_mailbox_and_in_order() -> None:
    box = _filled("a", "b", "c")
    box.put_reserved(Item("r", 5, reserved=True))
    assert len(box) == 4
    assert box.bytes_used == 8
    box.get()
    assert box.put(Item("d")) is Put.FULL, "the reserved one has not made the mailbox larger for others"
    assert _names(box) == ["b", "c", "r"]
    assert box.bytes_used == 0


def test_a_reserved_entry_is_never_dropped_as_the_oldest() -> None:
    box: Mailbox[Item] = Mailbox(3)
    box.put_reserved(Item("r", 5, reserved=True))
    box.put(Item("a"))
    box.put(Item("b"))
    assert box.pop_oldest() == Item("a")
    assert box.pop_oldest() == Item("b")
    assert box.pop_oldest() is None
    assert box.bytes_used == 5
    assert _names(box) == ["r"]


@pytest.mark.parametrize("wake", ["put", "put_reserved", "put_system", "put_urgent", "close"])
def test_waiting_ends_when_something_comes(wake: str) -> None:
    @virtual
    async def scenario() -> None:
        box: Mailbox[Item] = Mailbox()
        arrival = _arrival(box)
        await settle()
        assert not arrival.done()
        getattr(box, wake)(*(() if wake == "close" else (Item("a"),)))
        await arrival
        await _arrival(box)  # at once, as long as it is there

    scenario()


@virtual
async def test_waiting_ends_when_who_waited_for_room_is_admitted() -> None:
    box = _filled("a", capacity=1)
    box.queue_for_room(Item("b"), _future())
    assert _names(box, 1) == ["a"]
    await _arrival(box)
    assert _names(box) == ["b"]


@virtual
async def test_cancelling_a_wait_loses_nothing() -> None:
    box: Mailbox[Item] = Mailbox()
    arrival = _arrival(box)
    await settle()
    box.put(Item("a"))
    arrival.cancel()
    await _arrival(box)
    assert _names(box) == ["a"]


@virtual
async def test_a_wait_that_was_cancelled_before_anything_came_loses_nothing() -> None:
    box: Mailbox[Item] = Mailbox()
    _arrival(box).cancel()
    box.put(Item("a"))
    box.put_system(Item("s"))
    await _arrival(box)
    assert _names(box) == ["s", "a"]


@virtual
async def test_a_reader_that_unwinds_late_does_not_disarm_the_next_one() -> None:
    box: Mailbox[Item] = Mailbox()

    async def read() -> None:
        await _arrival(box)

    first = asyncio.create_task(read())
    await settle()
    first.cancel()
    asyncio.get_running_loop().call_later(1, box.put, Item("a"))
    await _arrival(box)  # in this very turn, before the first one has unwound
    assert _names(box) == ["a"]
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()


@virtual
async def test_there_is_one_reader() -> None:
    box: Mailbox[Item] = Mailbox()
    first = _arrival(box)
    with pytest.raises(RuntimeError, match=r"^a mailbox has one reader, and it waits already$"):
        _arrival(box)
    box.put(Item("a"))
    await first


def test_waiting_for_nothing_at_all_is_a_deadlock() -> None:
    """What the tests' own loop is for: this would hang for ever."""

    async def wait_for_nothing() -> None:
        await _arrival(Mailbox())

    with pytest.raises(Deadlock):
        run_virtual(wait_for_nothing)


class Model:
    """Two plain queues and a list of those who wait, moved in step with a mailbox."""

    def __init__(self, capacity: int, bytes_max: int) -> None:
        self.box: Mailbox[Item] = Mailbox(capacity, bytes_max=bytes_max)
        self.system: deque[Item] = deque()
        self.user: deque[Item] = deque()
        self.room: deque[tuple[Item, asyncio.Future[None]]] = deque()

    @property
    def bytes_used(self) -> int:
        """Counted anew."""
        return sum(item.nbytes for item in self.user)

    def put(self, item: Item) -> None:
        """Offer an entry."""
        somebody_waits = any(not admitted.cancelled() for _, admitted in self.room)
        admitted = self._fits(item) and not somebody_waits
        assert self.box.put(item) is (Put.ADMITTED if admitted else Put.FULL)
        if admitted:
            self.user.append(item)

    def put_or_queue(self, item: Item) -> None:
        """Offer an entry, and wait for room when there is none."""
        before = len(self.user)
        self.put(item)
        if len(self.user) == before:
            self.room.append((item, _future()))
            self.box.queue_for_room(*self.room[-1])

    def put_reserved(self, item: Item) -> None:
        """Use the place that the runtime keeps."""
        reserved = Item(item.name, item.nbytes, reserved=True)
        self.box.put_reserved(reserved)
        self.user.append(reserved)

    def put_system(self, item: Item) -> None:
        """Add to the system lane."""
        self.box.put_system(item)
        self.system.append(item)

    def give_up(self, item: Item) -> None:
        """One of those who wait does not want to any more."""
        if self.room:
            self.room[item.nbytes % len(self.room)][1].cancel()

    def get(self, _item: Item) -> None:
        """Take the next one."""
        from_user = not self.system
        lane = self.system or self.user
        assert self.box.get() == (lane.popleft() if lane else None)
        if from_user:
            self._refill()

    def pop_oldest(self, _item: Item) -> None:
        """Drop one of the user lane."""
        oldest = next((item for item in self.user if not item.reserved), None)
        assert self.box.pop_oldest() == oldest
        if oldest is not None:
            self.user.remove(oldest)
            self._refill()

    def drain(self, _item: Item) -> None:
        """Take everything out."""
        assert self.box.drain() == [*self.system, *self.user]
        self.system.clear()
        self.user.clear()
        self.room.clear()

    def check(self) -> None:
        """Compare what can be seen."""
        assert len(self.box) == len(self.system) + len(self.user)
        assert self.box.bytes_used == self.bytes_used
        for item, admitted in self.room:
            assert admitted.cancelled() or not admitted.done(), f"{item} has stepped in"

    def _fits(self, item: Item) -> bool:
        in_bounds = len(self.user) < self.box.capacity and self.bytes_used + item.nbytes <= self.box.bytes_max
        return in_bounds or not self.user

    def _refill(self) -> None:
        while self.room and (self.room[0][1].cancelled() or self._fits(self.room[0][0])):
            item, admitted = self.room.popleft()
            if not admitted.cancelled():
                assert admitted.done(), f"there is room for {item}"
                self.user.append(item)


ACTIONS = [
    Model.put,
    Model.put_or_queue,
    Model.put_reserved,
    Model.put_system,
    Model.give_up,
    Model.get,
    Model.pop_oldest,
    Model.drain,
]


@given(
    st.integers(1, 4),
    st.integers(1, 12),
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 14)), max_size=60),
)
def test_it_behaves_like_its_model(
    capacity: int, bytes_max: int, story: list[tuple[Callable[[Model, Item], None], int]]
) -> None:
    async def scenario() -> None:
        model = Model(capacity, bytes_max)
        for number, (action, nbytes) in enumerate(story):
            action(model, Item(f"{number}", nbytes))
            model.check()
        model.drain(Item("the end"))
        assert model.box.bytes_used == 0

    run_virtual(scenario)
