"""Every schedule of a small scope, one after the other.

A run is a sequence of choices: which of the callbacks that are ready runs next, whether a fault happens
first, and what the scenario asks by `sim.choose`. The space of all sequences is a tree, and it is searched
depth-first without keeping any state: each schedule is a run from the start which follows a prefix of
choices, and takes the first option wherever the prefix says nothing. (Godefroid 1997, "Model checking for
programming languages using VeriSoft", has the idea.)

What is not a choice is not branched on: a point with a single option costs nothing. Beyond that nothing is
reduced. Two callbacks of asyncio may share any object of the program, so that no two of them are known to
commute, and leaving out one of their orders could leave out the one that fails.

A scope whose space is too large can be bounded by `delays_max`: the number of places, over the whole
schedule, by which callbacks other than the longest ready are preferred. (Emmi, Qadeer and Rakamarić 2011,
"Delay-bounded scheduling".) The report says what was searched, and whether that was all of it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from actors.simulation.injector import task_of
from actors.simulation.loop import ChoosingLoop
from actors.simulation.report import SimulationFailed
from actors.simulation.run import Run, Scenario, Simulation, Sources, play
from actors.simulation.story import tell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from _typeshed import SupportsLenAndGetItem

T = TypeVar("T")

__all__ = ["SCHEDULES_MAX", "Bounds", "Exploration", "explore", "replay_choices"]

SCHEDULES_MAX: Final = 100_000
STEPS_MAX: Final = 10_000
# Faults that are a yes or a no at a schedule point. The others have sizes, which a seed can draw.
AT_ANY_POINT: Final = ("kill", "stop", "cancel_caller", "shutdown", "full_mailbox")
IN_A_HANDLER: Final = ("error", "crash")
LAG: Final = "lag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of which schedules a space consists.

    Attributes:
        faults: kinds of faults that may happen, of `error`, `crash`, `kill`, `stop`, `cancel_caller`,
            `shutdown`, `full_mailbox` and `lag`. For each of them, every point and every target is tried.
        faults_max: how many faults a schedule has at the most.
        delays_max: by how many places in all a schedule departs from first come, first served; None: by any.
        steps_max: a run that is not done after so many callbacks has failed.

    Raises:
        ValueError: there is no such kind of fault, or a number is negative.
    """

    faults: tuple[str, ...] = ()
    faults_max: int = 1
    delays_max: int | None = None
    steps_max: int = STEPS_MAX

    def __post_init__(self) -> None:
        known = {*AT_ANY_POINT, *IN_A_HANDLER, LAG}
        if unknown := set(self.faults) - known:
            raise ValueError(f"cannot explore {', '.join(sorted(unknown))}: only {', '.join(sorted(known))}")
        for name in ("faults_max", "delays_max", "steps_max"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is negative")


@dataclass(slots=True)
class Exploration:
    """What an exploration has seen; as text, how many schedules, and the story of the first that failed.

    Attributes:
        schedules: how many different ones were run.
        exhausted: whether these are all that there are within the bounds.
        deepest: most points with a choice in one schedule.
        widest: most options at one point.
        steps: callbacks run in all of them.
        failures: the runs in which something was wrong.
        faults: how many faults there were, by kind.
        duration_s: real time that it took.
    """

    schedules: int = 0
    exhausted: bool = False
    deepest: int = 0
    widest: int = 0
    steps: int = 0
    failures: list[Run] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0

    def check(self) -> None:
        """Return if every schedule within the bounds was run, and nothing was wrong in any.

        Raises:
            SimulationFailed: with the story of the first schedule that failed; or the space is larger than
                the number of schedules that were allowed.
        """
        if self.failures or not self.exhausted:
            raise SimulationFailed(str(self))

    def __str__(self) -> str:
        """The numbers, and the story of the first failure."""
        space = "all there are" if self.exhausted else "there are more"
        faults = ", ".join(f"{count} {kind}" for kind, count in sorted(self.faults.items())) or "none"
        head = (
            f"{self.schedules} schedules ({space}), {len(self.failures)} failed; "
            f"at most {self.deepest} choices in one and {self.widest} options at a point; "
            f"{self.steps} steps; faults: {faults}"
        )
        if not self.failures:
            return head
        first = self.failures[0]
        return f"{head}\n{tell(first.name, first.problems, first.events)}"

    def note(self, run: Run, choices: Choices) -> None:
        """Add one schedule."""
        self.schedules += 1
        self.steps += run.steps
        self.faults.update(run.faults)
        self.deepest = max(self.deepest, len(choices.taken))
        self.widest = max([self.widest, *choices.options])
        if run.problems:
            self.failures.append(run)


class Choices:
    """The choices of one schedule: those of a prefix, then the first option at each point.

    Attributes:
        taken: the option taken at each point that had more than one.
        options: how many there were.
        misfit: why the prefix belongs to no schedule of this scenario; empty if it does.
    """

    __slots__ = ("_prefix", "misfit", "options", "taken")

    def __init__(self, prefix: Sequence[int] = ()) -> None:
        self._prefix = prefix
        self.taken: list[int] = []
        self.options: list[int] = []
        self.misfit = ""

    def pick(self, count: int) -> int:
        """Choose one of `count` options."""
        if count == 1:
            return 0
        at = len(self.taken)
        choice = self._prefix[at] if at < len(self._prefix) else 0
        if not 0 <= choice < count:
            self.misfit = self.misfit or f"choice {at} is {choice}, and there are {count} options"
            choice = 0
        self.taken.append(choice)
        self.options.append(count)
        return choice

    @property
    def planned(self) -> int:
        """How many choices the prefix holds."""
        return len(self._prefix)

    def following(self) -> tuple[int, ...] | None:
        """The prefix of the schedule that comes next, depth-first; None after the last."""
        taken = list(self.taken)
        while taken:
            if taken[-1] + 1 < self.options[len(taken) - 1]:
                return (*taken[:-1], taken[-1] + 1)
            taken.pop()
        return None


class _Fault(NamedTuple):
    """A fault that can be chosen: what it does, and the ready callback that runs at once then, if any."""

    act: Callable[[], None]
    then: int | None


class _Chooser:
    """Makes the choices of one run, within bounds."""

    def __init__(self, choices: Choices, bounds: Bounds) -> None:
        self._choices = choices
        self._bounds = bounds
        self._faults_left = bounds.faults_max
        self._delays_left = bounds.delays_max
        self.run = Simulation(
            ChoosingLoop(self.choose),
            Sources(Random(0), _FirstOption(0), _EveryOption(choices), choices.pick),
        )
        self.run.loop.steps_max = bounds.steps_max

    def choose(self, ready: list[asyncio.Handle]) -> int | None:
        """Choose the next callback, or a fault."""
        orders = len(ready) if self._delays_left is None else min(len(ready), self._delays_left + 1)
        faults = self._menu(ready) if self._faults_left and self.run.at_risk else []
        picked = self._choices.pick(orders + len(faults))
        if picked < orders:
            if self._delays_left is not None:
                self._delays_left -= picked
            return picked
        self._faults_left -= 1
        fault = faults[picked - orders]
        fault.act()
        return fault.then

    def _menu(self, ready: list[asyncio.Handle]) -> list[_Fault]:
        kinds, run = self._bounds.faults, self.run
        menu = [
            _Fault(lambda kind=kind, target=target: run.injector.inject(kind, target), None)  # type: ignore[misc] # mypy knows no type for a lambda's defaults
            for kind in kinds
            if kind in AT_ANY_POINT
            for target in run.injector.targets(kind)
        ]
        handlers = {task_of(cell): cell for cell in run.injector.targets("error") if cell.run is not None}
        for index, handle in enumerate(ready):
            cell = handlers.get(_task_stepped_by(handle))
            menu += [
                _Fault(lambda kind=kind, cell=cell: run.injector.inject(kind, cell), index)  # type: ignore[misc] # the same
                for kind in kinds
                if kind in IN_A_HANDLER and cell is not None
            ]
        if LAG in kinds and run.loop.may_lag():
            menu.append(_Fault(self._lag, None))
        return menu

    def _lag(self) -> None:
        self.run.injector.counts[LAG] += 1
        self.run.loop.lag()


def _task_stepped_by(handle: asyncio.Handle) -> Any:
    """The task that goes on when this callback runs, None if it is another callback."""
    return getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined] # noqa: SLF001 - the one place where asyncio tells


class _FirstOption(Random):
    """Takes the first of any options, so that jobs take no time, only turns of the loop."""

    def random(self) -> float:
        return 0.0


class _EveryOption(Random):
    """Leaves it to the choices how bad a fault is."""

    def __init__(self, choices: Choices) -> None:
        super().__init__(0)
        self._choices = choices

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[self._choices.pick(len(seq))]


def explore(
    scenario: Scenario,
    bounds: Bounds | None = None,
    *,
    schedules_max: int = SCHEDULES_MAX,
    failures_max: int = 1,
) -> Exploration:
    """Run every schedule of a scenario, and hold each run to the laws of the runtime.

    Args:
        scenario: as for `simulate`, and small: two or three actors, a handful of messages. `sim.random` draws
            the same in every schedule, `sim.choose` takes each option in its turn, jobs take no time.
        bounds: which faults are tried, and how far a schedule may depart from the usual order; by default all
            orders, without faults.
        schedules_max: stop after so many schedules.
        failures_max: stop after so many runs in which something was wrong.

    Returns:
        The report; `explore(...).check()` is a test.

    Raises:
        ValueError: the scenario does not do the same twice, apart from what is chosen.

    All orders are those in which any ready callback can be the next, whenever it became ready: more than
    asyncio's, which runs what is ready in turns. So a task may be passed over for as long as others have
    something to do; a scenario that polls in a loop has schedules without end.
    """
    bounds, report, begun_s = bounds or Bounds(), Exploration(), time.perf_counter()
    prefix: tuple[int, ...] | None = ()
    while prefix is not None and report.schedules < schedules_max and len(report.failures) < failures_max:
        choices = Choices(prefix)
        report.note(_follow(scenario, choices, bounds), choices)
        prefix = choices.following()
    report.exhausted = prefix is None
    report.duration_s = time.perf_counter() - begun_s
    return report


def replay_choices(scenario: Scenario, choices: Sequence[int], bounds: Bounds | None = None) -> Run:
    """Run one schedule again: the same scenario, choices and bounds give the same trace, event by event.

    Raises:
        ValueError: the choices are not those of a schedule of this scenario within these bounds.
    """
    return _follow(scenario, Choices(choices), bounds or Bounds())


def _follow(scenario: Scenario, choices: Choices, bounds: Bounds) -> Run:
    run = play(_Chooser(choices, bounds).run, scenario, "a schedule")
    taken = tuple(choices.taken)
    if choices.misfit or len(taken) < choices.planned:
        raise ValueError(f"{choices.misfit or 'too many choices'}: another scenario, or not always the same")
    return replace(run, name=f"schedule {taken}", choices=taken)
