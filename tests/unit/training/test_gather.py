from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors import ActorDown, ActorRef, freeze
from crystalline.errors import TrainingError
from crystalline.training.gather import gather
from crystalline.training.messages import EvaluateShards, ShardLosses

ONE: ActorRef[Any] = ActorRef("/root/sphere-0", 1)
TWO: ActorRef[Any] = ActorRef("/root/sphere-1", 2)
EMPTY = freeze(np.zeros((0, 4), np.int32))


class Script:
    """A context that answers as it was told, one round after the other."""

    remaining_s = 1.0

    def __init__(self, *rounds: list[Any]) -> None:
        self.rounds = list(rounds)
        self.asked: list[list[ActorRef[Any]]] = []

    async def ask_all(self, asks: list[tuple[ActorRef[Any], Any]], *, timeout_s: float) -> list[Any]:
        assert timeout_s == self.remaining_s
        self.asked.append([ref for ref, _ in asks])
        return self.rounds.pop(0)


def request(lo: int, hi: int) -> EvaluateShards:
    return EvaluateShards(1, 0, 0, lo, (EMPTY,) * (hi - lo), (EMPTY,) * (hi - lo))


def answer(lo: int, hi: int, batch: int = 0) -> ShardLosses:
    return ShardLosses(1, batch, lo, hi, freeze(np.zeros(hi - lo)))


ASKS = {ONE: request(0, 6), TWO: request(6, 12)}


async def test_answers_come_in_the_order_of_the_asks() -> None:
    script: Any = Script([answer(0, 6), answer(6, 12)])
    assert [part.lo for part in await gather(script, ASKS)] == [0, 6]


async def test_only_what_is_missing_is_asked_for_again() -> None:
    script: Any = Script(
        [answer(0, 6), ActorDown(TWO.path, "killed", restarting=True)],
        [ActorDown(TWO.path, "killed again", restarting=True)],
        [answer(6, 12)],
    )
    assert [part.lo for part in await gather(script, ASKS)] == [0, 6]
    assert script.asked == [[ONE, TWO], [TWO], [TWO]]


@pytest.mark.parametrize("wrong", [answer(0, 6), answer(6, 12, batch=1)])
async def test_never_again_messages_were_counted_one_result_does_not_pass_for_another(
    wrong: ShardLosses,
) -> None:
    script: Any = Script([answer(0, 6), wrong])
    with pytest.raises(TrainingError, match="/root/sphere-1 answered something else"):
        await gather(script, ASKS)


async def test_one_that_is_lost_for_good_is_named_with_its_story() -> None:
    script: Any = Script(
        [answer(0, 6), ActorDown(TWO.path, "out of luck", restarting=True)],
        [ActorDown(TWO.path, "no such actor")],
    )
    with pytest.raises(TrainingError, match=r"sphere-1 could not do its part.*before that.*out of luck"):
        await gather(script, ASKS)
