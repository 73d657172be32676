"""Rounds of samples in turn, and what follows from them: medians, ratios, goals. Pure, the clock apart."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.benchmarks.cost.ways import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.cost.ways import Measures

Cell: TypeAlias = tuple[str, str]  # a way and a measure
Samples: TypeAlias = dict[Cell, list[float]]  # microseconds a message, one for each round

WARM_SHARE: Final = 10


async def sample_rounds(
    ways: Mapping[str, Measures],
    counts: Callable[[str, str], int],
    rounds: int,
    progress: Callable[[int], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Samples:
    """Sample every measure of every way once a round, the ways in turn within a measure.

    Garbage is collected before each sample, never counted in it. A first, short round is thrown away.
    """
    measures = list(dict.fromkeys(name for of_way in ways.values() for name in of_way))
    samples: Samples = {}
    for number in range(rounds + 1):
        progress(number)
        for measure in measures:
            for way, of_way in ways.items():
                if measure not in of_way:
                    continue
                count = counts(way, measure)
                messages = [
                    Number(value) for value in range(count if number else max(1, count // WARM_SHARE))
                ]
                gc.collect()
                begun_s = clock()
                await of_way[measure](messages)
                spent_us = (clock() - begun_s) * 1e6
                if number:
                    samples.setdefault((way, measure), []).append(spent_us / count)
    return samples


def summaries(samples: Samples) -> dict[str, dict[str, dict[str, float]]]:
    """Best and median microseconds of each measure of each way."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (way, measure), values_us in samples.items():
        found.setdefault(way, {})[measure] = {
            "best_us": round(min(values_us), 2),
            "median_us": round(statistics.median(values_us), 2),
        }
    return found


def ratio(samples: Samples, over: Cell, under: Cell) -> float | None:
    """The median of the ratios within the same round; None when one of the two was not measured."""
    if over not in samples or under not in samples:
        return None
    return statistics.median(a / b for a, b in zip(samples[over], samples[under], strict=True))


def ratio_of_bests(samples: Samples, over: Cell, under: Cell) -> float | None:
    """The ratio of the best samples, which other work on the machine disturbs least."""
    if over not in samples or under not in samples:
        return None
    return min(samples[over]) / min(samples[under])


def ratios(samples: Samples, to: str) -> dict[str, dict[str, float]]:
    """For each measure how many times as much each other way takes as way `to`."""
    found: dict[str, dict[str, float]] = {}
    for way, measure in samples:
        times = ratio(samples, (way, measure), (to, measure))
        if way != to and times is not None:
            found.setdefault(measure, {})[way] = round(times, 2)
    return found


@dataclass(frozen=True, slots=True)
class Goal:
    """One number to reach.

    Attributes:
        figure: what was measured, None when it was not.
        of_bests: the same from the best samples alone; for information.
        at_most: the goal, if smaller is better.
        at_least: the goal, if larger is better.
    """

    figure: float | None
    of_bests: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def reached(self) -> bool | None:
        """None when nothing was measured."""
        if self.figure is None:
            return None
        below = self.at_most is None or self.figure <= self.at_most
        return below and (self.at_least is None or self.figure >= self.at_least)

    def report(self) -> dict[str, Any]:
        """For the JSON object."""
        goal = {"at_most": self.at_most} if self.at_most is not None else {"at_least": self.at_least}
        figures = {"figure": self.figure, "of_bests": self.of_bests}
        rounded = {name: None if value is None else round(value, 3) for name, value in figures.items()}
        return {**rounded, **goal, "reached": self.reached}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned text: the first column to the left, numbers to the right."""
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def goals_table(goals: Mapping[str, Mapping[str, Any]]) -> str:
    """Aligned text of what `Goal.report` gave, by name."""
    rows = []
    for name, goal in goals.items():
        side = "at_most" if "at_most" in goal else "at_least"
        bound = "no goal" if goal[side] is None else f"{side.replace('_', ' ')} {goal[side]}"
        word = {True: "reached", False: "MISSED", None: "not measured"}[goal["reached"]]
        figures = ["-" if goal[key] is None else f"{goal[key]:.2f}" for key in ("figure", "of_bests")]
        rows.append([name, *figures, bound, "" if goal[side] is None and goal["reached"] else word])
    return table(["goal", "figure", "of bests", "bound", ""], rows)
