"""An actor's contract is a table, made from its methods."""

from __future__ import annotations

import pytest

from actors import Actor, Context, State, UnregisteredMessage, message, on


@message("actor.open")
class Open:
    pass


@message("actor.close")
class Close:
    pass


class Door(Actor):
    @on(Open)
    async def open(self, msg: Open, ctx: Context) -> None:
        """Open."""

    @on(Close, when=[State.RUNNING, State.IDLE])
    async def close(self, msg: Close, ctx: Context) -> None:
        """Close."""


class Gate(Door):
    @on(Close, when=State.RUNNING)
    async def close_slowly(self, msg: Close, ctx: Context) -> None:
        """Close."""


def test_the_contract_can_be_printed() -> None:
    rows = [row.split() for row in Door.contract().splitlines()]
    assert rows == [["actor.open", "any", "state", "open"], ["actor.close", "idle,", "running", "close"]]


def test_a_subclass_inherits_the_contract_and_may_replace_rows() -> None:
    rows = [row.split() for row in Gate.contract().splitlines()]
    assert rows == [["actor.open", "any", "state", "open"], ["actor.close", "running", "close_slowly"]]
    assert Door.handlers[Close].name == "close", "the base is not touched"


def test_only_messages_can_be_handled() -> None:
    with pytest.raises(UnregisteredMessage, match="declare it with @message"):
        on(int)
