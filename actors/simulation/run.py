"""One run of a scenario: its world, built from one seed, and what was seen in it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from actors.errors import ActorError
from actors.simulation import history, oracles
from actors.simulation.executor import SimulatedExecutor
from actors.simulation.injector import Injector, RandomFaults
from actors.simulation.loop import Deadlock, SimulationLoop
from actors.simulation.observer import AskLedger, CellLedger
from actors.system import ActorSystem
from actors.tracing import Tracer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from actors.host import Host
    from actors.messages import ActorRef
    from actors.simulation.faults import Faults
    from actors.system import ShutdownReport
    from actors.tracing import TraceEvent

__all__ = ["Run", "Scenario", "Simulation", "Sources", "play", "run_seed"]

R = TypeVar("R")
T = TypeVar("T")

JOB_THREADS: Final = 2
SHUTDOWN_S: Final = 10.0
# After the shutdown so much time passes before the oracles look: what comes late must find its time.
SETTLE_S: Final = 3600.0
# The whole history of a run is checked, so all of it is kept.
EVENTS_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in one run.

    Attributes:
        name: of the seed or schedule, for people.
        seed: from which it follows; 0 when it was explored.
        choices: from which it follows when it was explored, else empty.
        events: the trace, faults included.
        problems: what the oracles found, in words; empty when all is well.
        faults: how many faults there were, by kind.
        steps: callbacks run, each a schedule point.
        time_s: virtual time until the scenario and the shutdown were over.
    """

    name: str
    seed: int
    choices: tuple[int, ...]
    events: list[TraceEvent]
    problems: list[str]
    faults: dict[str, int]
    steps: int
    time_s: float


@dataclass(slots=True)
class Sources:
    """Where the choices of one run come from, apart from the order of callbacks.

    Attributes:
        scenario: what the scenario draws itself.
        jobs: how long jobs take.
        faults: how bad faults are, and whom they hit.
        pick: called with a number of options, returns the index of one.
    """

    scenario: Random
    jobs: Random
    faults: Random
    pick: Callable[[int], int]


class Simulation:
    """The world of one run, as a scenario sees it.

    Args:
        loop: the event loop, which decides the order of things.
        sources: where the run's other choices come from.

    Attributes:
        system: an open actor system with a trace; it is shut down after the scenario.
        random: for choices of the scenario's own, which belong to the run.
        loop: the event loop.
    """

    def __init__(self, loop: SimulationLoop, sources: Sources) -> None:
        self.random = sources.scenario
        self.loop = loop
        self.executor = SimulatedExecutor(loop, sources.jobs, JOB_THREADS)
        loop.executor = self.executor
        self.tracer = Tracer(loop.time, ring_size=EVENTS_MAX)
        self.system = WatchedSystem(self)
        self.callers: list[asyncio.Task[Any]] = []
        self.problems: list[str] = []
        self.opened = False
        self.at_risk = False
        self.closing_at: int | None = None
        self.time_s = 0.0
        self.slowed_s = 0.0
        self.intervene: Callable[[], object] = bool
        self.injector = Injector(self, sources.faults)
        self._pick = sources.pick
        self._errands: list[asyncio.Task[Any]] = []

    @property
    def host(self) -> Host:
        """What the actors share."""
        return self.system._known()  # noqa: SLF001 - the simulation looks inside, so that users need not

    @property
    def faulty(self) -> bool:
        """Whether a fault was injected already: then asks may end in errors, and stops come unasked."""
        return bool(self.injector.counts)

    @property
    def late_s(self) -> float:
        """Seconds by which the loop and the callers outside were made late so far."""
        return self.loop.lagged_s + self.slowed_s

    def choose(self, options: Sequence[T]) -> T:
        """Return one of `options`: a random one of the run's own; when exploring, each in its turn."""
        return options[self._pick(len(options))]

    def call(self, coro: Coroutine[Any, Any, R], *, name: str | None = None) -> asyncio.Task[R]:
        """Run a coroutine as a caller outside the tree, who may be cancelled by a fault.

        The run waits for all callers before it shuts the system down, and looks at how they ended.
        """
        task = self.loop.create_task(coro, name=name or f"caller {len(self.callers)}")
        self.callers.append(task)
        return task

    def do(self, awaitable: Awaitable[Any]) -> None:
        """Run an errand of the simulation's own."""
        self._errands.append(asyncio.ensure_future(_quietly(awaitable)))

    def trace_outside(self, kind: str, *, detail: str) -> None:
        """Write what happens outside any actor into the trace."""
        self.tracer.emit(kind, "outside", detail=detail)

    async def live(self, scenario: Scenario) -> None:
        """Run the scenario between an opened and a closed system, then let time pass."""
        async with self.system:
            self._observe()
            self.call(scenario(self), name="scenario")
            while waiting := [task for task in self.callers if not task.done()]:
                await asyncio.wait(waiting)
        self.time_s = self.loop.time()
        self.at_risk = False  # all has ended: there is nothing left that a fault could be done to
        self.loop.before_step = bool
        self.loop.laggy = False
        await asyncio.sleep(SETTLE_S)
        for task in self.callers:
            self._judge(task)

    def _observe(self) -> None:
        host = self.host
        host.deadlines.waits = AskLedger(self.loop.time)
        host.cells = CellLedger()
        self.opened = self.at_risk = True
        self.loop.before_step = self._before_step
        self.loop.before_jump = self._before_jump

    def _before_step(self) -> None:
        self.intervene()
        if self.closing_at is None and not self.host.delivery.open:
            self.closing_at = len(self.tracer.events())

    def _before_jump(self) -> None:
        self.problems += oracles.overdue(self.host)
        self.problems += oracles.conserved(self)
        if self.loop.quiet:
            self.problems += oracles.lost(self.host)

    def _judge(self, caller: asyncio.Task[Any]) -> None:
        """A caller ends well; if faults were injected it may also end in what faults lead to."""
        if caller.cancelled():
            if not self.injector.counts["cancel_caller"]:
                self.problems.append(f"{caller.get_name()} was cancelled")
        elif (error := caller.exception()) is not None and not (self.faulty and _is_expected(error)):
            self.problems.append(f"{caller.get_name()} ended in {type(error).__name__}: {error}")


class WatchedSystem(ActorSystem):
    """The system of a run: it notices when a stop or a shutdown takes longer than it was given."""

    def __init__(self, run: Simulation) -> None:
        super().__init__("simulated", trace=run.tracer, shutdown_s=SHUTDOWN_S, executor=run.executor)
        self._run = run

    async def stop(self, ref: ActorRef[Any], *, timeout_s: float = 5.0) -> None:
        """As that of an `ActorSystem`."""
        with self._within(timeout_s, f"the stop of {ref}"):
            await super().stop(ref, timeout_s=timeout_s)

    async def shutdown(self, timeout_s: float = SHUTDOWN_S) -> ShutdownReport:
        """As that of an `ActorSystem`."""
        with self._within(timeout_s, "the shutdown"):
            return await super().shutdown(timeout_s)

    @contextlib.contextmanager
    def _within(self, timeout_s: float, what: str) -> Iterator[None]:
        loop, run = self._run.loop, self._run
        begun_s, late_s = loop.time(), run.late_s
        try:
            yield
        finally:
            took_s = loop.time() - begun_s
            if took_s > timeout_s + run.late_s - late_s + oracles.SLACK_S:
                run.problems.append(f"{what} took {took_s:.3f} s and was given {timeout_s:g} s")


LOGGER = logging.getLogger("actors")

Scenario: TypeAlias = "Callable[[Simulation], Coroutine[Any, Any, None]]"


def run_seed(scenario: Scenario, seed: int, faults: Faults) -> Run:
    """Run a scenario once, in a world that follows from a seed."""
    # Separate streams: what a fault draws must not shift the scenario's own choices.
    # A text is hashed in full, and the same everywhere.
    own, jobs, at_random = (Random(f"{name} {seed}") for name in ("scenario", "jobs", "faults"))
    run = Simulation(
        SimulationLoop(Random(f"loop {seed}")),
        Sources(own, jobs, at_random, own.randrange),
    )
    planned = RandomFaults(run.injector, faults.plan(Random(f"plan {seed}")), at_random)
    run.intervene = lambda: planned.before_step(run.loop.steps)
    return play(run, scenario, f"seed {seed}", seed)


def play(run: Simulation, scenario: Scenario, name: str, seed: int = 0) -> Run:
    """Run a scenario in a world, hold it to the laws, and clear the world away."""
    collecting = gc.isenabled()
    gc.disable()  # when a cycle is collected must not decide what happens
    quiet = LOGGER.disabled
    LOGGER.disabled = True  # the story tells of failures that were planted
    try:
        _play(run, scenario)
        events = run.tracer.events()
        if len(events) < EVENTS_MAX:
            run.problems += history.check(events, run)
        else:  # without its beginning a history tells nothing
            run.problems.append(f"the run has {EVENTS_MAX} events or more: its history was not checked")
        _clear_away(run.loop)
    finally:
        LOGGER.disabled = quiet
        if collecting:
            gc.enable()
    return Run(
        name,
        seed,
        (),
        events,
        run.problems,
        dict(run.injector.counts),
        run.loop.steps,
        run.time_s,
    )


def _play(run: Simulation, scenario: Scenario) -> None:
    run.loop.set_exception_handler(lambda _, what: run.problems.append(f"unhandled: {_in_words(what)}"))
    try:
        run.loop.run_until_complete(run.live(scenario))
    except Deadlock as deadlock:
        run.problems.append(f"Deadlock: {deadlock}; {_blocked(run)}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever reached the loop is what was found
        run.problems.append(f"{type(error).__name__} left the event loop: {error}")
    else:
        run.problems += oracles.leftovers(run)


def _blocked(run: Simulation) -> str:
    names = [task.get_name() for task in run.loop.tasks if not task.done()]
    waits = [str(wait) for wait in run.host.waits] if run.opened else []
    return f"blocked are {', '.join(names)}; open waits: {'; '.join(waits) or 'none'}"


def _clear_away(loop: SimulationLoop) -> None:
    """Close what a run that failed has left, so that it does not speak up later, in another test."""
    loop.set_exception_handler(lambda _loop, _context: None)
    for task in loop.tasks:
        if not task.done() and (coro := task.get_coro()) is not None:
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no other way
            with contextlib.suppress(BaseException):  # it may raise anything on its way out
                coro.close()
    loop.close()


def _in_words(what: dict[str, Any]) -> str:
    error = what.get("exception")
    said = str(what.get("message", ""))
    return said if error is None else f"{said} ({type(error).__name__}: {error})"


def _is_expected(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_expected, error.exceptions))
    return isinstance(error, ActorError | asyncio.CancelledError)


async def _quietly(awaitable: Awaitable[Any]) -> None:
    with contextlib.suppress(ActorError):
        await awaitable
