"""Exits in, a decision out: restart intensity, backoff, giving up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Strategy, Supervision
from actors.supervision import GiveUp, Restart, on_child_exit

RULE = Supervision(max_restarts=3, window_s=10, backoff_s=0.5, backoff_max_s=1.5)


@pytest.mark.parametrize(
    ("recent_s", "expected"),
    [
        ([], Restart(0.5)),
        ([99.0], Restart(1.0)),
        ([98.0, 99.0], Restart(1.5)),
        ([90.0, 98.0, 99.0], Restart(1.5)),  # the first one has just left the window
        ([10.0, 20.0, 30.0, 40.0], Restart(0.5)),
    ],
)
def test_inside_the_intensity_it_is_restarted(recent_s: list[float], expected: Restart) -> None:
    assert on_child_exit("why", recent_s, 100.0, RULE) == expected


def test_beyond_the_intensity_it_is_given_up_with_the_story() -> None:
    decision = on_child_exit("ValueError: no", [97.0, 98.0, 99.0], 100.0, RULE)
    assert decision == GiveUp(
        "ValueError: no (restarts exhausted: failed 4 times within 10 s, 3 restarts are allowed)"
    )


def test_no_restarts_at_all_give_the_reason_alone() -> None:
    assert on_child_exit("why", [], 0.0, Supervision(max_restarts=0)) == GiveUp("why")


def test_a_group_has_a_name_only_where_there_is_a_group() -> None:
    assert Supervision(strategy=Strategy.REST_FOR_ONE, group="workers").group == "workers"
    with pytest.raises(ValueError, match="impossible supervision"):
        Supervision(group="workers")


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_restarts": -1},
        {"window_s": 0.0},
        {"window_s": -1.0},
        {"window_s": math.nan},
        {"backoff_s": -0.1},
        {"backoff_s": math.inf},
        {"backoff_s": math.nan},
        {"backoff_max_s": -1.0},
        {"backoff_max_s": math.inf},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="impossible supervision"):
        Supervision(**wrong)  # type: ignore[arg-type] # the point of the test


rules = st.builds(
    Supervision,
    max_restarts=st.integers(0, 5_000),
    window_s=st.floats(0.001, 1e6),
    backoff_s=st.floats(0, 1e3),
    backoff_max_s=st.floats(0, 1e3),
)


@given(rules, st.lists(st.floats(0, 1e6), max_size=20), st.floats(0, 1e6))
def test_the_decision_is_within_its_rule(rule: Supervision, recent_s: list[float], now_s: float) -> None:
    recent_s = [min(at, now_s) for at in recent_s]
    inside = sum(now_s - at < rule.window_s for at in recent_s)
    decision = on_child_exit("why", recent_s, now_s, rule)
    assert isinstance(decision, Restart) == (inside < rule.max_restarts)
    if isinstance(decision, Restart):
        assert 0 <= decision.delay_s <= rule.backoff_max_s
    else:
        assert decision.reason.startswith("why")


@given(rules, st.integers(0, 50))
def test_the_pause_never_shrinks_within_a_window(rule: Supervision, count: int) -> None:
    shorter = on_child_exit("why", [0.0] * count, 0.0, rule)
    longer = on_child_exit("why", [0.0] * (count + 1), 0.0, rule)
    if isinstance(longer, Restart):
        assert isinstance(shorter, Restart)
        assert longer.delay_s >= shorter.delay_s


def test_thousands_of_restarts_have_a_finite_pause() -> None:
    rule = Supervision(max_restarts=10_000, backoff_s=1.0, backoff_max_s=7.0)
    assert on_child_exit("why", [0.0] * 5000, 0.0, rule) == Restart(7.0)
