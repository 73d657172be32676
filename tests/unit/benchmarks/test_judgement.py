"""What the benchmarks conclude from what they have seen: a check that cannot fail would be worth nothing."""

from __future__ import annotations

import time

import pytest

from actors import ActorRef, Down
from tests.benchmarks.cost.rounds import Goal, Samples, ratio, ratio_of_bests, ratios, summaries, table
from tests.benchmarks.soaking.board import VIOLATIONS_KEPT, Board, Ends
from tests.benchmarks.soaking.memory import Flatness

SAMPLES: Samples = {
    ("actors", "ask"): [10.0, 30.0, 12.0],
    ("future", "ask"): [5.0, 5.0, 4.0],
    ("future", "tell"): [1.0, 1.0, 1.0],
}
OWN, BARE = ("actors", "ask"), ("future", "ask")
REF: ActorRef[object] = ActorRef("/boss/worker", 7)


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    assert ratio(SAMPLES, OWN, BARE) == 3.0
    assert ratio_of_bests(SAMPLES, OWN, BARE) == 2.5
    assert ratios(SAMPLES, "actors") == {"ask": {"future": round(1 / 3, 2)}}


def test_what_was_not_measured_has_no_ratio() -> None:
    assert ratio(SAMPLES, OWN, ("pykka", "ask")) is None
    assert ratio_of_bests(SAMPLES, ("pykka", "ask"), OWN) is None


def test_a_summary_has_best_and_median() -> None:
    assert summaries(SAMPLES)["actors"] == {"ask": {"best_us": 10.0, "median_us": 12.0}}


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (Goal(2.0, at_most=2.0), True),
        (Goal(2.01, at_most=2.0), False),
        (Goal(3.0, at_least=3.0), True),
        (Goal(2.99, at_least=3.0), False),
        (Goal(None, at_least=3.0), None),
    ],
)
def test_a_goal_is_reached_missed_or_not_measured(goal: Goal, *, reached: bool | None) -> None:
    assert goal.reached is reached
    assert goal.report()["reached"] is reached


def test_a_table_is_aligned() -> None:
    assert table(["way", "us"], [["actors", "9.5"], ["a", "10.25"]]).splitlines() == [
        "way        us",
        "actors    9.5",
        "a       10.25",
    ]


def board() -> Board:
    return Board(callers=2, slack_s=0.5)


def test_an_ask_that_goes_well_breaks_no_law() -> None:
    seen = board()
    seen.begin(1, 1)
    seen.handle(1, 1)
    assert seen.open_asks() == 1
    seen.end(1, "reply", -1.0)
    assert (seen.open_asks(), seen.report()["laws_held"]) == (0, True)


def test_an_ask_that_ends_twice_is_seen() -> None:
    seen = board()
    seen.begin(0, 1)
    seen.end(0, "reply", -1.0)
    seen.end(0, "reply", -1.0)
    assert seen.violated == {"one end": 1}


def test_an_ask_that_ends_late_is_seen() -> None:
    seen = board()
    seen.begin(0, 1)
    seen.end(0, "expired", 0.6)
    seen.judge([])
    assert seen.violated == {"deadlines": 1}


@pytest.mark.parametrize(("stood_still_s", "wrong"), [(3.0, 0), (1.0, 1)])
def test_what_is_late_because_the_machine_stood_still_breaks_no_law(stood_still_s: float, wrong: int) -> None:
    seen = board()
    seen.begin(0, 1)
    seen.end(0, "expired", 3.2)
    now_s = time.monotonic()
    seen.judge([(now_s - 100.0, now_s - 50.0), (now_s - stood_still_s, now_s)])
    assert seen.violated.total() == wrong


def test_an_ask_that_is_handled_twice_or_after_its_end_is_seen() -> None:
    seen = board()
    seen.begin(0, 1)
    seen.handle(0, 1)
    seen.handle(0, 1)
    seen.end(0, "reply", -1.0)
    seen.handle(0, 1)
    assert seen.violated == {"handled once": 1, "handled in time": 1}


def test_violations_are_all_counted_and_the_first_kept() -> None:
    seen = board()
    for number in range(100):
        seen.violate("a law", str(number))
    assert len(seen.violations) == VIOLATIONS_KEPT
    assert seen.report()["violations"] == {"a law": 100}


@pytest.mark.parametrize(
    ("heard", "wrong"),
    [
        ([(1, True), (2, True), (3, False)], 0),
        ([(1, True), (1, False)], 0),  # a restart that was promised is called off
        ([(1, True), (1, True)], 1),
        ([(1, True), (3, True)], 1),
        ([(1, False), (1, False)], 0),  # another one at the same place
        ([(2, False)], 1),
    ],
)
def test_each_end_is_heard_once(heard: list[tuple[int, bool]], wrong: int) -> None:
    seen = board()
    ends = Ends(seen)
    for incarnation, restarting in heard:
        ends.hear(Down(REF, incarnation, "a reason", restarting))
    assert seen.violated.total() == wrong


def test_what_was_heard_last_is_known() -> None:
    ends = Ends(board())
    assert ends.heard(REF.path) == 0
    ends.hear(Down(REF, 1, "a reason", restarting=True))
    assert ends.heard(REF.path) == 1


def test_memory_is_compared_with_the_end_of_the_warm_up() -> None:
    flat = Flatness(warm_s=2.0)
    for second, kib in enumerate([100.0, 900.0, 1000.0, 1040.0, 1060.0, 1000.0]):
        flat.add(second, kib)
    assert flat.drift_percent == pytest.approx(6.0)
    assert flat.report()["last_mib"] == round(1000 / 1024, 2)


def test_without_a_sample_after_the_warm_up_nothing_is_said_of_memory() -> None:
    flat = Flatness(warm_s=60.0)
    flat.add(1.0, 1000.0)
    assert flat.drift_percent is None
    assert "drift_percent" not in flat.report()
