from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from crystalline.training.ahead import ahead

LIMIT_S = 10.0


class Maker:
    """Makes the double of a number, and notes when it began, was done, and was cancelled."""

    def __init__(self, *, stuck_at: int | None = None, broken_at: int | None = None) -> None:
        self.stuck_at, self.broken_at = stuck_at, broken_at
        self.notes: list[tuple[str, int]] = []

    async def make(self, number: int) -> int:
        self.notes.append(("begun", number))
        try:
            if number == self.stuck_at:
                await asyncio.get_running_loop().create_future()
            if number == self.broken_at:
                raise ValueError("broken")
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.notes.append(("cancelled", number))
            raise
        self.notes.append(("done", number))
        return 2 * number


async def test_everything_comes_in_order() -> None:
    maker = Maker()
    async with asyncio.timeout(LIMIT_S), aclosing(ahead(maker.make, range(4))) as made:
        assert [each async for each in made] == [0, 2, 4, 6]


async def test_without_anything_wanted_nothing_is_made() -> None:
    maker = Maker()
    async with asyncio.timeout(LIMIT_S), aclosing(ahead(maker.make, ())) as made:
        assert [each async for each in made] == []
    assert maker.notes == []


async def test_the_next_one_is_made_while_this_one_is_in_use() -> None:
    maker = Maker()
    async with asyncio.timeout(LIMIT_S), aclosing(ahead(maker.make, range(3))) as made:
        async for each in made:
            for _ in range(3):  # the consumer awaits something of its own
                await asyncio.sleep(0)
            following = each // 2 + 1
            assert ("done", following) in maker.notes or following == 3
            assert ("begun", following + 1) not in maker.notes


async def test_what_is_being_made_ends_with_whoever_wanted_it() -> None:
    maker = Maker(stuck_at=1)

    async def fail_at_the_first() -> None:
        async with aclosing(ahead(maker.make, range(9))) as made:
            async for _ in made:
                await asyncio.sleep(0)
                raise KeyError

    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(KeyError):
            await fail_at_the_first()
    assert maker.notes[-1] == ("cancelled", 1)


async def test_an_error_comes_where_the_thing_would_have() -> None:
    maker = Maker(broken_at=1)
    async with asyncio.timeout(LIMIT_S), aclosing(ahead(maker.make, range(3))) as made:
        assert await anext(made) == 0
        with pytest.raises(ValueError, match="broken"):
            await anext(made)
