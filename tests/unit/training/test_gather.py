from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorDown, ActorRef, Expired, freeze
from actors.notes import with_notes
from crystalline.errors import TrainingError
from crystalline.training.gather import ask_once, gather
from crystalline.training.messages import (
    Disturbed,
    EvaluateShards,
    ReduceSlices,
    ShardLosses,
    Shards,
    SliceSquares,
)
from crystalline.training.team import Team

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
    return EvaluateShards(1, 0, 0, lo, Shards.of([EMPTY] * (hi - lo), [EMPTY] * (hi - lo)))


def answer(lo: int, hi: int, batch: int = 0) -> ShardLosses:
    return ShardLosses(1, batch, lo, hi, freeze(np.zeros(hi - lo)))


WHOLE = request(0, 12)


def pair(*, redistribute: bool = False) -> Team:
    return Team({ONE: 1, TWO: 1}, redistribute=redistribute)


async def test_answers_come_in_the_order_of_the_asks() -> None:
    script: Any = Script([answer(0, 6), answer(6, 12)])
    assert [part.lo for part in await gather(script, pair(), WHOLE)] == [0, 6]


async def test_only_what_is_missing_is_asked_for_again() -> None:
    script: Any = Script(
        [answer(0, 6), ActorDown(TWO.path, "killed", restarting=True)],
        [ActorDown(TWO.path, "killed again", restarting=True)],
        [answer(6, 12)],
    )
    assert [part.lo for part in await gather(script, pair(), WHOLE)] == [0, 6]
    assert script.asked == [[ONE, TWO], [TWO], [TWO]]


@pytest.mark.parametrize("wrong", [answer(0, 6), answer(6, 12, batch=1)])
async def test_never_again_messages_were_counted_one_result_does_not_pass_for_another(
    wrong: ShardLosses,
) -> None:
    script: Any = Script([answer(0, 6), wrong])
    with pytest.raises(TrainingError, match="/root/sphere-1 answered something else"):
        await gather(script, pair(), WHOLE)


async def test_one_that_is_lost_for_good_is_named_with_its_story() -> None:
    script: Any = Script(
        [answer(0, 6), ActorDown(TWO.path, "out of luck", restarting=True)],
        [ActorDown(TWO.path, "no such actor")],
    )
    with pytest.raises(TrainingError, match=r"sphere-1 could not do its part.*before that.*out of luck"):
        await gather(script, pair(), WHOLE)


@pytest.mark.parametrize("last", [ActorDown(TWO.path, "no such actor"), Expired("waited too long")])
async def test_the_error_of_a_lost_one_has_what_was_known_of_both_its_ends(last: Any) -> None:
    first = ActorDown(TWO.path, "out of luck", restarting=True)
    script: Any = Script(
        [answer(0, 6), with_notes(first, ["sphere-1 waited for a job", "the job was at work.py:7"])],
        [with_notes(last, ["sphere-1 ended in life 4", "sphere-1 waited for a job"])],
    )
    with pytest.raises(TrainingError) as caught:
        await gather(script, pair(), WHOLE)
    notes = ["sphere-1 ended in life 4", "sphere-1 waited for a job", "the job was at work.py:7"]
    assert caught.value.__notes__ == notes


async def test_what_a_lost_one_should_have_done_goes_to_the_others() -> None:
    script: Any = Script(
        [answer(0, 6), ActorDown(TWO.path, "out of luck")],
        [answer(6, 12)],
    )
    team = pair(redistribute=True)
    assert [(part.lo, part.hi) for part in await gather(script, team, WHOLE)] == [(0, 6), (6, 12)]
    assert script.asked == [[ONE, TWO], [ONE]]
    assert team.refs == (ONE,)


async def test_when_all_are_lost_it_ends() -> None:
    script: Any = Script([ActorDown(ONE.path, "out of luck"), ActorDown(TWO.path, "out of luck")])
    with pytest.raises(TrainingError, match="sphere-1 was the last one left"):
        await gather(script, pair(redistribute=True), WHOLE)


REDUCE = ReduceSlices(3, 7, 0, 4)


def squares(lo: int, hi: int) -> SliceSquares:
    return SliceSquares(3, 7, lo, hi, freeze(np.zeros(hi - lo)), freeze(np.zeros((1, 3))))


async def test_asking_once_is_all_or_nothing() -> None:
    script: Any = Script([squares(0, 2), squares(2, 4)])
    parts, reasons = await ask_once(script, pair(), REDUCE)
    assert parts is not None
    assert [part.lo for part in parts] == [0, 2]
    assert not reasons


@pytest.mark.parametrize(
    "setback",
    [
        with_notes(ActorDown(TWO.path, "killed", restarting=True), ["/root/sphere-1 waited"]),
        Disturbed(3, 7, "killed below", ("/root/sphere-1 waited",)),
    ],
)
async def test_an_attempt_that_lost_somebody_on_the_way_is_void(setback: Any) -> None:
    script: Any = Script([squares(0, 2), setback])
    parts, reasons = await ask_once(script, pair(), REDUCE)
    assert parts is None
    assert list(reasons) == [TWO]
    assert reasons[TWO].story.endswith(("killed", "killed below"))
    assert reasons[TWO].notes == ("/root/sphere-1 waited",)


async def test_a_disturbance_of_another_attempt_is_no_answer() -> None:
    script: Any = Script([squares(0, 2), Disturbed(3, 6, "killed below")])
    with pytest.raises(TrainingError, match="sphere-1 answered something else"):
        await ask_once(script, pair(), REDUCE)


async def test_an_attempt_without_the_lost_one_is_another_attempt() -> None:
    team = pair(redistribute=True)
    script: Any = Script([squares(0, 2), ActorDown(TWO.path, "out of luck")])
    parts, reasons = await ask_once(script, team, REDUCE)
    assert parts is None
    assert list(reasons) == [TWO]
    assert team.share((0, 4)) == [(ONE, (0, 4))]


@given(rows=st.lists(st.integers(0, 3), min_size=1, max_size=8), data=st.data())
def test_shards_are_laid_end_to_end_and_cut_apart_again(rows: list[int], data: st.DataObject) -> None:
    numbers = iter(range(100))
    inputs = [
        np.array([[next(numbers)] * 4 for _ in range(count)], np.int32).reshape(-1, 4) for count in rows
    ]
    whole = Shards.of(inputs, [shard + 1 for shard in inputs])
    lo = data.draw(st.integers(0, len(rows)))
    hi = data.draw(st.integers(lo, len(rows)))
    part = whole.part(lo, hi)
    assert len(part) == hi - lo
    for expected, (found, targets) in zip(inputs[lo:hi], part, strict=True):
        assert np.array_equal(found, expected)
        assert np.array_equal(targets, expected + 1)
