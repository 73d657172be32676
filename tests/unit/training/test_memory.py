"""The memory of a run: named by version and attempt, read-only while it is current, shared with nobody."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import freeze
from crystalline.errors import TrainingError
from crystalline.model import initialise
from crystalline.training.memory import Pool, RunMemory, Target
from crystalline.training.messages import NodeSum
from tests.helpers.models import TIED

if TYPE_CHECKING:
    from crystalline.optim import AdamWBuffers


def fresh() -> RunMemory:
    return RunMemory(TIED, initialise(TIED, 0))


def fill(target: Target, value: float) -> None:
    for array in (*target.buffers, target.gradient):
        array.fill(value)


def shares(one: AdamWBuffers, other: AdamWBuffers) -> bool:
    return any(np.shares_memory(a, b) for a in one for b in other)


def test_the_first_version_is_what_it_was_given() -> None:
    memory = fresh()
    assert (memory.version, memory.attempt) == (0, 0)
    assert memory.current.weights.tobytes() == initialise(TIED, 0).tobytes()
    assert not memory.current.first_moment.any()
    assert not memory.current.second_moment.any()


def test_a_commit_makes_the_target_the_current_version() -> None:
    memory = fresh()
    fill(memory.target(0), 3.0)
    memory.commit()
    assert (memory.version, memory.attempt) == (1, 1)
    assert all((buffer == 3.0).all() for buffer in memory.current)


def test_a_commit_makes_the_old_version_the_next_target() -> None:
    memory = fresh()
    old = memory.current
    memory.commit()
    assert shares(memory.target(1).buffers, old)
    assert not shares(memory.target(1).buffers, memory.current)


@pytest.mark.parametrize("stale", [-1, 1, 2])
def test_another_version_or_attempt_than_the_present_one_is_refused(stale: int) -> None:
    memory = fresh()
    with pytest.raises(TrainingError, match=rf"weights {stale}, but 0 is current"):
        memory.weights(stale)
    with pytest.raises(TrainingError, match=rf"attempt {stale}, but 0 is under way"):
        memory.target(stale)


@pytest.mark.parametrize("move", ["commit", "discard_target"])
def test_an_attempt_ends_with_its_commit_and_with_its_discard(move: str) -> None:
    memory = fresh()
    getattr(memory, move)()
    with pytest.raises(TrainingError, match="attempt 0"):
        memory.target(0)
    memory.target(1)


def test_the_current_version_cannot_be_written_to() -> None:
    """Never again: raw pointers in messages; the sender cleared the buffer while the root read it."""
    memory = fresh()
    weights = memory.weights(0)
    arrays = [weights.flat, *weights.views.values(), *memory.current]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0


def test_weights_are_those_of_the_version_after_every_commit() -> None:
    memory = fresh()
    for version in range(5):
        assert np.shares_memory(memory.weights(version).flat, memory.current.weights)
        fill(memory.target(memory.attempt), float(version))
        memory.commit()
        assert (memory.weights(version + 1).flat == version).all()


def test_after_a_discard_the_target_is_memory_that_nobody_has_seen() -> None:
    memory = fresh()
    seen = memory.target(0)
    memory.discard_target()
    target = memory.target(1)
    assert not shares(target.buffers, seen.buffers)
    assert not shares(target.buffers, memory.current)
    assert not np.shares_memory(target.gradient, seen.gradient)


@dataclass(frozen=True)
class Life:
    """Commits (True) and discards (False) in the life of a memory."""

    moves: list[bool]


@given(st.builds(Life, st.lists(st.booleans(), max_size=12)))
def test_a_job_that_was_left_behind_can_change_nothing(life: Life) -> None:
    """Whoever kept a target that was discarded may write to it at any time: no version shows it."""
    memory, left_behind, expected = fresh(), list[Target](), 0.0
    for number, commits in enumerate(life.moves, start=1):
        target = memory.target(memory.attempt)
        fill(target, float(number))
        if commits:
            expected = float(number)
            memory.commit()
        else:
            left_behind.append(target)
            memory.discard_target()
        for zombie in left_behind:
            fill(zombie, -1.0)
        if any(life.moves[:number]):
            assert all((buffer == expected).all() for buffer in memory.current)
        else:
            assert memory.current.weights.tobytes() == initialise(TIED, 0).tobytes()


def test_a_pool_hands_out_each_thing_to_one_taker_at_a_time() -> None:
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    pool, clash, out = Pool(make), threading.Event(), set[int]()

    def work() -> None:
        for _ in range(300):
            thing = pool.take()
            if id(thing) in out:
                clash.set()
            out.add(id(thing))
            out.discard(id(thing))
            pool.give(thing)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not clash.is_set()
    assert 1 <= len(made) <= 4


def test_a_pool_makes_another_only_when_none_is_free() -> None:
    pool = Pool(object)
    one, other = pool.take(), pool.take()
    assert one is not other
    pool.give(one)
    assert pool.take() is one


def test_what_is_staged_belongs_to_one_attempt_at_one_step() -> None:
    memory = fresh()
    node = NodeSum(0, 12, freeze(np.zeros(memory.size, np.float32)))
    memory.stage((node,))
    target = memory.target(0)
    assert target.nodes == (node,)
    memory.discard_target()
    assert memory.target(1).nodes == ()
    assert target.nodes == (node,)  # what was left behind goes on with its own
    memory.stage((node,))
    memory.commit()
    assert memory.target(2).nodes == ()
