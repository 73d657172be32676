"""Law 8: the whole table of states, by enumeration."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import TRANSITIONS, Event, IllegalTransition, Lifecycle, State, advance

LISTED = {
    (State.IDLE, Event.BEGIN): State.RUNNING,
    (State.RUNNING, Event.FINISH): State.EPOCH_DONE,
    (State.RUNNING, Event.FAIL): State.EPOCH_DONE,
    (State.EPOCH_DONE, Event.BEGIN): State.RUNNING,
    (State.EPOCH_DONE, Event.REST): State.IDLE,
    (State.IDLE, Event.STOP): State.SHUTDOWN,
    (State.RUNNING, Event.STOP): State.SHUTDOWN,
    (State.EPOCH_DONE, Event.STOP): State.SHUTDOWN,
    (State.SHUTDOWN, Event.STOP): State.SHUTDOWN,
}
ALL = list(itertools.product(State, Event))
NUMBER = {Event.BEGIN: 5, Event.FINISH: 4, Event.FAIL: 4, Event.REST: None, Event.STOP: None}


def test_the_table_is_the_designs() -> None:
    assert dict(TRANSITIONS) == LISTED


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL if pair in LISTED])
def test_every_listed_pair_moves(state: State, event: Event) -> None:
    before = Lifecycle(state, 4)
    after = advance(before, event, NUMBER[event], failure="why")
    assert after.state is LISTED[state, event]
    assert after.epoch == (5 if event is Event.BEGIN else 4)
    assert after.failure == ("why" if event is Event.FAIL else None)
    assert before == Lifecycle(state, 4), "the argument is not modified"


@pytest.mark.parametrize(("state", "event"), [pair for pair in ALL if pair not in LISTED])
def test_every_pair_that_is_not_listed_raises(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=f"in state {state.value}.* there is no {event.value}"):
        advance(Lifecycle(state, 4), event, NUMBER[event])


@pytest.mark.parametrize("epoch", [None, -1, 0, 3, 4])
def test_epochs_only_grow(epoch: int | None) -> None:
    with pytest.raises(IllegalTransition, match=f"epoch {epoch} cannot begin after epoch 4"):
        advance(Lifecycle(State.EPOCH_DONE, 4), Event.BEGIN, epoch)


@pytest.mark.parametrize("event", [Event.FINISH, Event.FAIL])
@pytest.mark.parametrize("epoch", [None, 3, 5])
def test_only_the_epoch_under_way_can_end(event: Event, epoch: int | None) -> None:
    with pytest.raises(IllegalTransition, match=rf"epoch {epoch} cannot {event.value}: running\(4\)"):
        advance(Lifecycle(State.RUNNING, 4), event, epoch)


def test_a_second_epoch_can_begin() -> None:
    """Never again: root and sphere ran one epoch and returned; the second one waited for ever."""
    now = Lifecycle()
    for epoch in (1, 2, 3):
        now = advance(advance(now, Event.BEGIN, epoch), Event.FINISH, epoch)
    assert now == Lifecycle(State.EPOCH_DONE, 3)


def test_a_failure_is_forgotten_when_the_next_epoch_begins() -> None:
    failed = advance(Lifecycle(State.RUNNING, 1), Event.FAIL, 1, failure="a child was lost")
    assert failed.failure == "a child was lost"
    assert advance(failed, Event.REST).failure == "a child was lost"
    assert advance(failed, Event.BEGIN, 2).failure is None


def test_a_failure_is_one_without_words_too() -> None:
    assert advance(Lifecycle(State.RUNNING, 1), Event.FAIL, 1) == Lifecycle(State.EPOCH_DONE, 1, "")


@pytest.mark.parametrize(
    ("lifecycle", "over"),
    [
        (Lifecycle(), {0}),
        (Lifecycle(State.RUNNING, 2), {0, 1}),
        (Lifecycle(State.EPOCH_DONE, 2), {0, 1, 2}),
        (Lifecycle(State.IDLE, 2), {0, 1, 2}),
    ],
)
def test_over_is_a_level(lifecycle: Lifecycle, over: set[int]) -> None:
    assert {epoch for epoch in range(5) if lifecycle.over(epoch)} == over


def test_it_reads_as_in_the_design() -> None:
    assert str(Lifecycle()) == "idle"
    assert str(Lifecycle(State.RUNNING, 3)) == "running(3)"
    assert str(Lifecycle(State.EPOCH_DONE, 3)) == "epoch_done(3)"


@given(st.lists(st.tuples(st.sampled_from(Event), st.integers(0, 6))))
def test_no_story_leads_backwards(story: list[tuple[Event, int]]) -> None:
    now = Lifecycle()
    for event, epoch in story:
        try:
            after = advance(now, event, epoch)
        except IllegalTransition:
            continue
        assert after.epoch >= now.epoch
        assert all(after.over(n) for n in range(7) if now.over(n)), "what is over stays over"
        if now.state is State.SHUTDOWN:
            assert after.state is State.SHUTDOWN
        now = after
