"""Ways of training in turn, process after process, and what their steps tell. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.benchmarks.cost.rounds import Goal, Samples, ratio, ratio_of_bests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "BEST",
    "MEDIAN",
    "Answer",
    "Run",
    "arithmetic_of",
    "differences",
    "in_turn",
    "samples_of",
    "speeds",
    "times_as_fast",
]

MEDIAN: Final = "median_s"
BEST: Final = "best_s"
SAME: Final = ("parameters", "vocab_size", "tokens_per_step")

Answer: TypeAlias = dict[str, Any]
Run: TypeAlias = tuple[str, Answer]  # a way, and what its process found


def in_turn(ways: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Rounds from 1, each with all ways; each second round has the opposite order.

    >>> list(in_turn(["a", "b"], 2))
    [(1, 'a'), (1, 'b'), (2, 'b'), (2, 'a')]
    """
    for number in range(1, rounds + 1):
        for way in ways if number % 2 else reversed(ways):
            yield number, way


def samples_of(runs: Sequence[Run]) -> Samples:
    """Seconds of a step: of each process the median and the best. Entry r of each way is of round r."""
    samples: Samples = {}
    for way, answer in runs:
        for measure, of in ((MEDIAN, statistics.median), (BEST, min)):
            samples.setdefault((way, measure), []).append(of(answer["step_s"]))
    return samples


def times_as_fast(samples: Samples, fast: str, slow: str, at_least: float | None = None) -> Goal:
    """How many times as fast one way is as another, by the medians of the processes of the same round.

    Beside it the same by the best step of all. Nothing was measured when one of the two is missing.
    """
    return Goal(
        ratio(samples, (slow, MEDIAN), (fast, MEDIAN)),
        ratio_of_bests(samples, (slow, BEST), (fast, BEST)),
        at_least=at_least,
    )


def speeds(samples: Samples, tokens_per_step: int) -> dict[str, dict[str, float]]:
    """For each way the usual step and the tokens a second, by the median of the processes and by the best."""
    found: dict[str, dict[str, float]] = {}
    for way in dict.fromkeys(way for way, _ in samples):
        usual_s, best_s = statistics.median(samples[way, MEDIAN]), min(samples[way, BEST])
        found[way] = {
            "step_ms": round(usual_s * 1e3, 2),
            "tokens_per_s_median": round(tokens_per_step / usual_s),
            "tokens_per_s_best": round(tokens_per_step / best_s),
        }
    return found


def arithmetic_of(answers: Iterable[Answer]) -> list[str]:
    """Which libraries computed, in all processes that say so: one line, or more when they differ.

    >>> arithmetic_of([{"arithmetic": "a"}, {}, {"arithmetic": "a"}])
    ['a']
    """
    return sorted({answer["arithmetic"] for answer in answers if "arithmetic" in answer})


def differences(runs: Sequence[Run]) -> list[str]:
    """What is not the same in all runs though it must be, in words."""
    found = []
    for key in SAME:
        values = {way: answer[key] for way, answer in runs}
        if len(set(values.values())) > 1:
            found.append(f"{key}: {', '.join(f'{way} {value}' for way, value in values.items())}")
    return found
