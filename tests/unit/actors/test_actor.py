"""An actor's contract is a table, made from its methods."""

from __future__ import annotations

import pytest

from actors import Actor, Context, Down, State, UnregisteredMessage, message, on
from actors.messages import AbortEpoch, BeginEpoch, EpochState, Failure, FinishEpoch, Wake


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


@pytest.mark.parametrize("own", [Down, Wake, Failure, BeginEpoch, FinishEpoch, AbortEpoch, EpochState])
def test_what_the_runtime_itself_sends_has_no_handler(own: type) -> None:
    """It would never be called, or take the place of the runtime's own."""
    with pytest.raises(TypeError, match=f"{own.__name__} is the runtime's own"):
        on(own)
