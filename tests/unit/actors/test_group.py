"""Siblings that are started again together: what happened goes in, the next step comes out."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Strategy, Supervision
from actors.group import End, Group, Pause, Standing, Start, Step
from actors.supervision import GiveUp, Restart

ALL = Supervision(max_restarts=3, window_s=10, backoff_s=0.5, strategy=Strategy.ONE_FOR_ALL)
REST = Supervision(max_restarts=3, window_s=10, backoff_s=0.5, strategy=Strategy.REST_FOR_ONE)


def group_of(supervision: Supervision, members: str = "abcd") -> Group:
    group = Group(supervision)
    for member in members:
        group.is_up(member)
    return group


def carry_out(group: Group) -> list[Step]:
    """Do all that is to be done, as if every actor obeyed at once."""
    steps: list[Step] = []
    while (step := group.next_step()) is not None:
        steps.append(step)
        if isinstance(step, End):
            group.is_down(step.member)
        elif isinstance(step, Start):
            group.is_up(step.member)
        else:
            group.pause_is_over()
    return steps


def standings(group: Group) -> str:
    return " ".join(f"{member}:{stands.value}" for member, stands in group.standings.items())


def test_one_for_all_ends_all_in_reverse_and_starts_them_in_order() -> None:
    group = group_of(ALL)
    assert group.fail("b", "why", 0.0) == (Restart(0.5), [])
    assert carry_out(group) == [
        *(End(member) for member in "dca"),
        Pause(0.5),
        *(Start(member) for member in "abcd"),
    ]


def test_rest_for_one_touches_only_what_started_later() -> None:
    group = group_of(REST)
    assert group.fail("b", "why", 0.0) == (Restart(0.5), [])
    assert carry_out(group) == [End("d"), End("c"), Pause(0.5), Start("b"), Start("c"), Start("d")]


def test_one_step_waits_for_the_other() -> None:
    group = group_of(ALL, "abc")
    group.fail("a", "why", 0.0)
    assert group.next_step() == End("c")
    assert group.next_step() is None
    group.is_down("c")
    assert [group.next_step(), group.next_step()] == [End("b"), None]
    group.is_down("b")
    assert [group.next_step(), group.next_step()] == [Pause(0.5), None]
    group.pause_is_over()
    assert [group.next_step(), group.next_step()] == [Start("a"), None]
    group.is_up("a")
    assert [group.next_step(), group.next_step()] == [Start("b"), None]


def test_who_fails_while_the_group_ends_belongs_to_the_same_round() -> None:
    group = group_of(ALL, "abc")
    group.fail("a", "why", 0.0)
    assert group.next_step() == End("c")
    assert group.fail("b", "because of a", 0.1) == (Restart(0.5), []), (
        "the pause of the round, not one of its own"
    )
    assert group.fail("c", "badly", 0.2) == (Restart(0.5), [])
    assert carry_out(group) == [Pause(0.5), Start("a"), Start("b"), Start("c")]
    assert group.fail("a", "again", 0.3) == (Restart(1.0), [])  # the second failure, not the fourth


def test_a_failure_at_the_start_counts_again_and_begins_anew() -> None:
    group = group_of(ALL, "abc")
    group.fail("c", "why", 0.0)
    for member in "ba":
        assert group.next_step() == End(member)
        group.is_down(member)
    assert group.next_step() == Pause(0.5)
    group.pause_is_over()
    assert group.next_step() == Start("a")
    group.is_up("a")
    assert group.next_step() == Start("b")
    assert group.fail("b", "no luck", 1.0) == (Restart(1.0), [])
    assert standings(group) == "a:doomed b:down c:down"
    assert carry_out(group) == [End("a"), Pause(1.0), Start("a"), Start("b"), Start("c")]


def test_an_earlier_failure_widens_the_round() -> None:
    group = group_of(REST)
    group.fail("c", "why", 0.0)
    group.next_step()
    group.is_down("d")
    assert group.next_step() == Pause(0.5)
    group.fail("a", "me too", 0.1)
    assert group.next_step() == End("b")
    group.pause_is_over()  # that of the first pause: too late to mean anything
    assert group.next_step() is None
    group.is_down("b")
    assert carry_out(group) == [Pause(1.0), *(Start(member) for member in "abcd")]


@pytest.mark.parametrize(("rule", "lost"), [(ALL, "dca"), (REST, "dc")])
def test_beyond_the_intensity_those_affected_stay_down(rule: Supervision, lost: str) -> None:
    group = group_of(rule)
    for at_s in range(3):
        assert isinstance(group.fail("b", "why", at_s)[0], Restart)
        carry_out(group)
    decision, others = group.fail("b", "why", 3.0)
    assert isinstance(decision, GiveUp)
    assert decision.reason.startswith("why (")
    assert "failed 4 times within 10 s" in decision.reason
    assert others == list(lost)
    for member in lost:
        assert group.next_step() is None
        group.leave(member)
    assert set(group.standings) == set("abcd") - {"b", *lost}
    assert carry_out(group) == []


def test_what_was_given_up_does_not_count_against_those_that_remain() -> None:
    group = group_of(dataclasses.replace(REST, max_restarts=1), "abc")
    for at_s in range(2):
        decision, lost = group.fail("b", "why", at_s)
        if not lost:
            carry_out(group)
    assert isinstance(decision, GiveUp)
    assert group.fail("a", "why", 2.0) == (Restart(0.5), [])
    assert group.next_step() is None  # c has still to leave
    group.leave("c")
    assert carry_out(group) == [Pause(0.5), Start("a")]


@pytest.mark.parametrize("begun_s", [0.0, 1e6])
def test_the_failures_of_all_members_count_together(begun_s: float) -> None:
    group = group_of(ALL)
    for at_s, member in enumerate("abc"):
        group.fail(member, "why", begun_s + at_s)
        carry_out(group)
    assert isinstance(group.fail("d", "why", begun_s + 3.0)[0], GiveUp)


def test_who_leaves_for_good_is_not_waited_for() -> None:
    group = group_of(ALL, "abc")
    group.fail("a", "why", 0.0)
    assert group.next_step() == End("c")
    group.leave("c")
    assert carry_out(group) == [End("b"), Pause(0.5), Start("a"), Start("b")]


def test_who_is_not_in_the_group_any_more_may_leave_it_again() -> None:
    group = group_of(dataclasses.replace(ALL, max_restarts=0), "ab")
    group.fail("a", "why", 0.0)
    group.leave("a")  # it was given up: its end is heard of after the decision
    assert standings(group) == "b:leaving"


def test_who_joins_in_the_middle_of_a_round_takes_part_in_it() -> None:
    """It may have been told things by siblings that are no more."""
    group = group_of(ALL, "ab")
    group.fail("a", "why", 0.0)
    group.is_up("late")
    assert carry_out(group) == [
        End("late"),
        End("b"),
        Pause(0.5),
        *(Start(member) for member in ("a", "b", "late")),
    ]


def test_who_joins_after_the_pause_and_fails_is_not_paused_for_again() -> None:
    group = group_of(ALL, "a")
    group.fail("a", "why", 0.0)
    assert group.next_step() == Pause(0.5)
    group.pause_is_over()
    group.is_up("late")
    assert group.fail("late", "badly", 0.1) == (Restart(0.0), [])
    assert carry_out(group) == [Start("a"), Start("late")]


def test_who_comes_up_although_it_has_been_told_to_end_is_still_ending() -> None:
    group = group_of(ALL, "ab")
    group.fail("a", "why", 0.0)
    assert group.next_step() == End("b")
    group.is_up("b")
    assert standings(group) == "a:down b:leaving"
    assert group.next_step() is None


def test_who_joins_when_others_are_given_up_stays() -> None:
    group = group_of(dataclasses.replace(ALL, max_restarts=0), "ab")
    assert isinstance(group.fail("a", "why", 0.0)[0], GiveUp)
    group.is_up("new")
    group.leave("b")
    assert carry_out(group) == []
    assert group.standings == {"new": Standing.UP}


rules = st.builds(
    Supervision,
    max_restarts=st.integers(0, 4),
    window_s=st.floats(1, 50),
    backoff_s=st.floats(0, 10),
    strategy=st.sampled_from([Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE]),
)
events = st.lists(
    st.tuples(st.sampled_from(["fail", "leave", "join", "step", "obey", "pause"]), st.integers(0, 9)),
    max_size=60,
)


@given(rules, events)
def test_whatever_happens_the_group_comes_to_rest_with_everybody_up(
    rule: Supervision, events: list[tuple[str, int]]
) -> None:
    group, now_s, joined = group_of(rule, "ab"), 0.0, 0
    lost: set[str] = set()
    for event, number in events:
        now_s += number
        before = dict(group.standings)
        down = {member for member, stands in before.items() if stands is Standing.DOWN}
        alive = [member for member in before if member not in down | lost]
        member = alive[number % len(alive)] if alive else ""
        if event == "fail" and member:
            decision, given_up = group.fail(member, "why", now_s)
            assert isinstance(decision, Restart) == (member in group.standings)
            _check_order(rule, list(before), member, given_up)
            lost |= set(given_up)
        elif event == "leave" and member:
            group.leave(member)
        elif event == "join":
            joined += 1
            group.is_up(f"joined-{joined}")
        elif event == "step":
            _check_step(group)
        elif event == "obey":
            _obey(group, lost)
        elif event == "pause":
            group.pause_is_over()
        assert [name for name in before if name in group.standings] == [
            name for name in group.standings if name in before
        ]
    members = [member for member in group.standings if member not in lost]
    for _ in range(10 * len(members) + 10):
        _check_step(group)
        _obey(group, lost)
        group.pause_is_over()
    assert list(group.standings.items()) == [(member, Standing.UP) for member in members]


def _check_order(rule: Supervision, members: list[str], failed: str, lost: list[str]) -> None:
    at = members.index(failed)
    affected = (
        members[at + 1 :] if rule.strategy is Strategy.REST_FOR_ONE else members[:at] + members[at + 1 :]
    )
    assert lost in ([], affected[::-1])


def _check_step(group: Group) -> None:
    before = dict(group.standings)
    step = group.next_step()
    if isinstance(step, End):  # the last of those that must end, and none is ending yet
        doomed = [member for member, stands in before.items() if stands is Standing.DOOMED]
        assert step.member == doomed[-1]
        assert Standing.LEAVING not in before.values()
    elif isinstance(step, Start):  # the first of those that are down, when nobody ends or starts
        down = [member for member, stands in before.items() if stands is Standing.DOWN]
        assert step.member == down[0]
        assert not {Standing.DOOMED, Standing.LEAVING, Standing.RISING} & set(before.values())
    elif isinstance(step, Pause):
        assert 0 <= step.delay_s <= group.supervision.backoff_max_s


def _obey(group: Group, lost: set[str]) -> None:
    for member, stands in list(group.standings.items()):
        if member in lost:
            group.leave(member)
        elif stands is Standing.LEAVING:
            group.is_down(member)
        elif stands is Standing.RISING:
            group.is_up(member)
