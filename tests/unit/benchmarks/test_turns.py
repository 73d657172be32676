"""What benchmarks of speed conclude from the steps of processes that took turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks import scaling
from tests.benchmarks.cost.rounds import Goal, goals_table
from tests.benchmarks.speed.options import let_libraries_choose
from tests.benchmarks.speed.turns import (
    arithmetic_of,
    differences,
    in_turn,
    samples_of,
    speeds,
    times_as_fast,
)
from tests.benchmarks.train import findings, show

if TYPE_CHECKING:
    from tests.benchmarks.speed.turns import Answer, Run

SAME = {"parameters": 7, "vocab_size": 5, "tokens_per_step": 100}


def answer(*step_s: float, **other: Any) -> Answer:
    return {**SAME, "step_s": list(step_s), "alone_s": [0.9 * seconds for seconds in step_s], **other}


# In the first round eager takes 3 times as long as ours, in the second 2 times, in the third 10 times.
RUNS: list[Run] = [
    ("ours", answer(1.0, 1.0, 5.0)),
    ("eager", answer(3.0, 3.0, 0.5)),
    ("eager", answer(4.0, 4.0, 4.0)),
    ("ours", answer(2.0, 2.0, 2.0)),
    ("ours", answer(1.0, 1.0, 0.25)),
    ("eager", answer(10.0, 10.0, 10.0)),
]


def test_each_second_round_has_the_opposite_order() -> None:
    turns = list(in_turn(["a", "b", "c"], 3))
    assert [way for _, way in turns] == ["a", "b", "c", "c", "b", "a", "a", "b", "c"]
    assert [number for number, _ in turns] == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_ratios_are_taken_within_a_round_and_their_median_counts() -> None:
    goal = times_as_fast(samples_of(RUNS), "ours", "eager", 3.0)
    assert goal == Goal(3.0, of_bests=2.0, at_least=3.0)
    assert goal.reached is True


def test_what_was_not_run_reaches_and_misses_nothing() -> None:
    goal = times_as_fast(samples_of(RUNS), "ours", "compile", 1.3)
    assert goal.figure is None
    assert goal.reached is None


def test_a_way_is_as_fast_as_the_median_of_its_processes() -> None:
    found = speeds(samples_of(RUNS), 100)
    assert found["ours"] == {"step_ms": 1000.0, "tokens_per_s_median": 100, "tokens_per_s_best": 400}
    assert found["eager"] == {"step_ms": 4000.0, "tokens_per_s_median": 25, "tokens_per_s_best": 200}


def test_it_is_told_which_libraries_computed() -> None:
    answers = [answer(1.0), *(answer(1.0, arithmetic=line) for line in ("b", "a", "b"))]
    assert arithmetic_of(answers) == ["a", "b"]
    assert findings("tiny", [("ours", each) for each in answers])["arithmetic"] == ["a", "b"]


@pytest.mark.parametrize("key", SAME)
def test_other_work_is_found(key: str) -> None:
    assert differences(RUNS) == []
    assert differences([*RUNS, ("compile", answer(1.0, **{key: 8}))]) == [
        f"{key}: ours {SAME[key]}, eager {SAME[key]}, compile 8"
    ]


@pytest.mark.parametrize(
    ("sizes", "slower", "reached"),
    [("headline", 2.0, True), ("headline", 1.99, False), ("tiny", 1.2, True), ("tiny", 1.19, False)],
)
def test_the_goal_beside_eager_depends_on_the_sizes(sizes: str, slower: float, *, reached: bool) -> None:
    found = findings(sizes, [("ours", answer(1.0)), ("eager", answer(slower))])
    assert found["reached"] is reached
    assert found["goals"]["ours_to_eager"]["reached"] is reached
    assert found["ways"]["ours"]["alone_ms"] == 900.0


@pytest.mark.parametrize(("slower", "reached"), [(1.3, True), (1.29, False)])
def test_beside_compile_only_the_headline_has_a_goal(slower: float, *, reached: bool) -> None:
    runs = [("ours", answer(1.0)), ("compile", answer(slower))]
    assert findings("headline", runs)["reached"] is reached
    assert findings("long", runs)["reached"] is True


def test_the_table_names_sizes_ways_and_goals() -> None:
    text = show({"sizes": {"headline": findings("headline", RUNS)}})
    assert "headline, ours" in text
    assert [line.split()[-1] for line in text.splitlines() if "ours_to" in line] == [
        "reached",
        "measured",
        "measured",
    ]


def test_goals_that_are_none_are_not_judged() -> None:
    goals = {"upper": Goal(2.0, at_most=1.0), "lower": Goal(2.0, at_least=1.0), "none": Goal(2.0)}
    _, upper, lower, none = goals_table({name: goal.report() for name, goal in goals.items()}).splitlines()
    assert upper.endswith("at most 1.0   MISSED")
    assert lower.endswith("at least 1.0  reached")
    assert none.rstrip().endswith("no goal")


def usage(busy_s: float, waiting_s: float, idle_s: float) -> dict[str, float]:
    return {"busy_s": busy_s, "waiting_s": waiting_s, "idle_s": idle_s}


def test_kinds_of_spheres_are_told_apart() -> None:
    """Of 25 spheres twelve have children, and one of the other thirteen gets none of twelve shards."""
    of_each = [usage(0.0, 3.0, 1.0)] * 12 + [usage(2.0, 1.0, 1.0)] * 11 + [usage(1.0, 1.0, 2.0)] * 2
    found = scaling.sharing(answer(1.0, spheres=25, shards=12, usage=of_each))
    assert {kind: of["spheres"] for kind, of in found.items()} == {
        "control": 12,
        "computing": 12,
        "resting": 1,
    }
    assert found["computing"]["shards"] == [1, 1]
    assert found["resting"]["shards"] == [0, 0]
    assert found["control"]["waiting"] == [0.75, 0.75, 0.75]
    assert found["computing"]["busy"][2] == 0.5


def test_all_spheres_of_one_kind_are_summed_up_by_least_mean_and_most() -> None:
    of_each = [usage(1.0, 0.0, 3.0), usage(3.0, 0.0, 1.0)]
    found = scaling.sharing(answer(1.0, spheres=2, shards=12, usage=of_each))
    assert found == {
        "computing": {
            "spheres": 2,
            "shards": [6, 6],
            "busy": [0.25, 0.5, 0.75],
            "waiting": [0.0, 0.0, 0.0],
            "idle": [0.25, 0.5, 0.75],
        }
    }


@pytest.mark.parametrize(("two_s", "reached"), [(1.0, True), (1.01, False)])
def test_two_spheres_must_be_nearly_twice_as_fast_as_one(two_s: float, *, reached: bool) -> None:
    found = scaling.findings([("one", answer(1.85)), ("two", answer(two_s))], [])
    assert found["goals_reached"] is reached
    assert found["ways"]["two"]["tokens_per_s_median"] == round(100 / two_s)
    assert "two_to_one" in scaling.show(found)


@pytest.mark.parametrize("name", ["DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS"])
def test_what_holds_pytorch_back_is_taken_out(name: str) -> None:
    assert let_libraries_choose({name: "x", "PATH": "/bin"}, as_set=False) == {name: "x"}


def test_libraries_choose_their_kernels_unless_the_environment_is_to_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pinned = {"OPENBLAS_CORETYPE": "Haswell", "PATH": "/bin"}
    assert let_libraries_choose(pinned, as_set=True) == {}
    assert pinned == {"OPENBLAS_CORETYPE": "Haswell", "PATH": "/bin"}
    assert not capsys.readouterr().err
    assert let_libraries_choose(pinned, as_set=False) == {"OPENBLAS_CORETYPE": "Haswell"}
    assert pinned == {"PATH": "/bin"}
    assert "OPENBLAS_CORETYPE=Haswell" in capsys.readouterr().err
    assert let_libraries_choose(pinned, as_set=False) == {}
