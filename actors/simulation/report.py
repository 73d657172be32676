"""Many runs of one scenario, and what became of them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.simulation.faults import Faults
from actors.simulation.run import Run, Scenario, run_seed
from actors.simulation.story import tell

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Report", "SimulationFailed", "replay", "simulate"]


class SimulationFailed(AssertionError):
    """A law of the runtime, or the scenario itself, was broken. The text is the story of the run."""


@dataclass(slots=True)
class Report:
    """What became of many runs; as text, their number and the story of the first that failed.

    Attributes:
        runs: how many there were.
        failures: those in which something was wrong.
        faults: how many faults were injected, by kind.
        steps: callbacks run in all of them, each a schedule point.
        duration_s: real time that they took.
    """

    runs: int = 0
    failures: list[Run] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    duration_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong in any run."""
        return not self.failures

    def check(self) -> None:
        """Return if nothing was wrong.

        Raises:
            SimulationFailed: with the story of the first run in which something was.
        """
        if self.failures:
            raise SimulationFailed(str(self))

    def __str__(self) -> str:
        """How many runs, how many failed; and the story of the first failure."""
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"
        head = f"{self.runs} runs, {len(self.failures)} failed; {self.steps} steps; faults: {faults}"
        if self.ok:
            return head
        first = self.failures[0]
        return f"{head}\n{tell(first.name, first.problems, first.events)}"


def simulate(
    scenario: Scenario, *, seeds: int | Iterable[int], faults: Faults | None = None, failures_max: int = 1
) -> Report:
    """Run a scenario under many schedules, and hold each run to the laws of the runtime.

    Args:
        scenario: `async def scenario(sim)`; `sim.system` is an open actor system, `sim.random` makes choices
            that belong to the seed. It may assert; under faults it may also end in any `ActorError`.
        seeds: which schedules; a number n means 0 to n - 1.
        faults: what may go wrong in a run, nothing by default.
        failures_max: stop after so many runs in which something was wrong.

    Returns:
        The report; `simulate(...).check()` is a test.
    """
    report, begun_s = Report(), time.perf_counter()
    for seed in range(seeds) if isinstance(seeds, int) else seeds:
        run = run_seed(scenario, seed, faults or Faults())
        report.runs += 1
        report.steps += run.steps
        report.faults.update(run.faults)
        if run.problems:
            report.failures.append(run)
            if len(report.failures) >= failures_max:
                break
    report.duration_s = time.perf_counter() - begun_s
    return report


def replay(scenario: Scenario, seed: int, faults: Faults | None = None) -> Run:
    """Run one seed again: the same scenario, seed and faults give the same trace, event by event."""
    return run_seed(scenario, seed, faults or Faults())
