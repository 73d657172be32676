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
from actors.simulation.injector import Injector
from actors.simulation.loop import Deadlock, SimulationLoop
from actors.simulation.observer import AskLedger, Ledger
from actors.system import ActorSystem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from actors.host import Host
    from actors.simulation.faults import Faults
    from actors.tracing import TraceEvent

__all__ = ["Run", "Scenario", "Simulation", "run_seed"]

R = TypeVar("R")

JOB_THREADS: Final = 2
SHUTDOWN_S: Final = 10.0
# After the shutdown so much time passes before the oracles look: what comes late must find its time.
SETTLE_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in one run.

    Attributes:
        seed: from which it follows.
        events: the trace, faults included.
        problems: what the oracles found, in words; empty when all is well.
        faults: how many faults there were, by kind.
        steps: callbacks run, each a schedule point.
        time_s: virtual time until the scenario and the shutdown were over.
    """

    seed: int
    events: list[TraceEvent]
    problems: list[str]
    faults: dict[str, int]
    steps: int
    time_s: float


class Simulation:
    """The world of one run, as a scenario sees it.

    Attributes:
        system: an open actor system with a trace; it is shut down after the scenario.
        random: for choices of the scenario's own, which belong to the seed.
        loop: the event loop.
    """

    def __init__(self, seed: int, faults: Faults) -> None:
        # Separate streams: what a fault draws must not shift the scenario's own choices.
        self.random = Random(f"scenario {seed}")  # a text is hashed in full, and the same everywhere
        self.loop = SimulationLoop(Random(f"loop {seed}"))
        self.executor = SimulatedExecutor(self.loop, Random(f"jobs {seed}"), JOB_THREADS)
        self.loop.executor = self.executor
        self.system = ActorSystem("simulated", trace=True, shutdown_s=SHUTDOWN_S, executor=self.executor)
        self.callers: list[asyncio.Task[Any]] = []
        self.problems: list[str] = []
        self.opened = False
        self.closing_at: int | None = None
        self.time_s = 0.0
        self._errands: list[asyncio.Task[Any]] = []
        self.injector = Injector(self, faults.plan(Random(f"plan {seed}")), Random(f"faults {seed}"))

    @property
    def host(self) -> Host:
        """What the actors share."""
        return self.system._known()  # noqa: SLF001 - the simulation looks inside, so that users need not

    @property
    def faulty(self) -> bool:
        """Whether a fault was injected already: then asks may end in errors, and stops come unasked."""
        return bool(self.injector.counts)

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

    def note(self, what: str) -> None:
        """Write a fault outside any actor into the trace."""
        if self.host.tracer is not None:
            self.host.tracer.emit("fault", "outside", detail=what)

    def events(self) -> list[TraceEvent]:
        """The trace so far."""
        return self.host.tracer.events() if self.opened and self.host.tracer is not None else []

    async def live(self, scenario: Scenario) -> None:
        """Run the scenario between an opened and a closed system, then let time pass."""
        async with self.system:
            self._observe()
            self.call(scenario(self), name="scenario")
            while waiting := [task for task in self.callers if not task.done()]:
                await asyncio.wait(waiting)
        self.time_s = self.loop.time()
        self.loop.before_step = bool  # all has ended: there is nothing left that a fault could be done to
        self.loop.laggy = False
        await asyncio.sleep(SETTLE_S)
        for task in self.callers:
            self._judge(task)

    def _observe(self) -> None:
        host = self.host
        host.delivery.asks = AskLedger()
        host.cells = Ledger()
        self.opened = True
        self.loop.before_step = self._before_step
        self.loop.before_jump = self._before_jump

    def _before_step(self) -> None:
        self.injector.before_step()
        if self.closing_at is None and not self.host.delivery.open:
            self.closing_at = len(self.events())

    def _before_jump(self) -> None:
        self.problems += oracles.overdue(self.host)
        if self.loop.quiet:
            self.problems += oracles.lost(self.host)

    def _judge(self, caller: asyncio.Task[Any]) -> None:
        """A caller ends well; if faults were injected it may also end in what faults lead to."""
        if caller.cancelled():
            if not self.injector.counts["cancel_caller"]:
                self.problems.append(f"{caller.get_name()} was cancelled")
        elif (error := caller.exception()) is not None and not (self.faulty and _is_expected(error)):
            self.problems.append(f"{caller.get_name()} ended in {type(error).__name__}: {error}")


LOGGER = logging.getLogger("actors")

Scenario: TypeAlias = "Callable[[Simulation], Coroutine[Any, Any, None]]"


def run_seed(scenario: Scenario, seed: int, faults: Faults) -> Run:
    """Run a scenario once, in a world of its own."""
    collecting = gc.isenabled()
    gc.disable()  # when a cycle is collected must not decide what happens
    quiet = LOGGER.disabled
    LOGGER.disabled = True  # the story tells of failures that were planted
    try:
        return _play(scenario, seed, faults)
    finally:
        LOGGER.disabled = quiet
        if collecting:
            gc.enable()


def _play(scenario: Scenario, seed: int, faults: Faults) -> Run:
    run = Simulation(seed, faults)
    run.loop.set_exception_handler(lambda _, what: run.problems.append(f"unhandled: {_in_words(what)}"))
    try:
        run.loop.run_until_complete(run.live(scenario))
    except Deadlock as deadlock:
        run.problems.append(f"Deadlock: {deadlock}; {_blocked(run)}")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever reached the loop is what was found
        run.problems.append(f"{type(error).__name__} left the event loop: {error}")
    else:
        run.problems += oracles.leftovers(run)
    events = run.events()
    run.problems += history.check(events, run)
    _clear_away(run.loop)
    return Run(seed, events, run.problems, dict(run.injector.counts), run.loop.steps, run.time_s)


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
