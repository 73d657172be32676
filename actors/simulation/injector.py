"""Does faults to a run: which targets a kind has, and what is done to one of them."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actors.simulation.coroutine import SteeredCoroutine
from actors.simulation.faults import InjectedCrash, InjectedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from actors.cell import Cell
    from actors.simulation.run import Simulation

__all__ = ["Injector", "RandomFaults", "task_of"]

STALLS_S: Final = (0.1, 2.0, 20.0)
SLOW_S: Final = (0.01, 0.5)
SLOW_AWAITS: Final = 20
STOPS_S: Final = (0.0, 0.5, 5.0)
# A fault that finds no target tries again within so many steps.
RETRY_STEPS: Final = 30


class Injector:
    """Does faults to a run, and counts them when they take effect.

    Args:
        run: the run.
        random: decides how bad a fault is.

    Attributes:
        counts: faults that were done, by kind.
    """

    def __init__(self, run: Simulation, random: Random) -> None:
        self._run = run
        self._random = random
        self.counts: Counter[str] = Counter()

    def targets(self, kind: str) -> Sequence[Any]:
        """What a fault of this kind can be done to now, in an order that belongs to the run."""
        return TARGETS[kind](self._run) if self._run.at_risk else ()

    def inject(self, kind: str, target: Any) -> None:
        """Do it."""
        act: Callable[[Any], None] = getattr(self, f"_{kind}")
        act(target)

    def _error(self, cell: Cell) -> None:
        self._handler_of(cell).fail_next(InjectedError("injected"), self._note("error", cell.trace))

    def _crash(self, cell: Cell) -> None:
        kind = self._random.choice((InjectedCrash, SystemExit))
        self._handler_of(cell).fail_next(kind("injected"), self._note("crash", cell.trace))

    def _stall(self, cell: Cell) -> None:
        delay_s = self._random.choice(STALLS_S)
        self._handler_of(cell).delay_next(delay_s, 1, self._note("stall", cell.trace))

    def _slow_actor(self, cell: Cell) -> None:
        delay_s = self._random.choice(SLOW_S)
        self._handler_of(cell).delay_next(delay_s, SLOW_AWAITS, self._note("slow_actor", cell.trace))

    def _slow_caller(self, caller: asyncio.Task[Any]) -> None:
        delay_s = self._random.choice(SLOW_S)
        note = self._note("slow_caller", self._run.trace_outside)

        def slow(what: str) -> None:
            self._run.slowed_s += delay_s
            note(f"{caller.get_name()} {what}")

        steered = _coroutine(caller)
        steered.may_act = _always
        steered.delay_next(delay_s, SLOW_AWAITS, slow)

    def _handler_of(self, cell: Cell) -> SteeredCoroutine:
        """Return the coroutine of an actor's task; what it is ordered to do, it does inside a handler."""
        steered, incarnation = _coroutine(task_of(cell)), cell.incarnation
        steered.may_act = lambda: cell.run is not None and cell.incarnation == incarnation
        return steered

    def _note(self, kind: str, trace: Callable[..., None]) -> Callable[[str], None]:
        """Return what notes the effects of one fault: it is counted when it has the first."""
        fresh = [kind]

        def note(what: str) -> None:
            self.counts.update(fresh)
            fresh.clear()
            trace("fault", detail=what)

        return note

    def _kill(self, cell: Cell) -> None:
        self.counts["kill"] += 1
        cell.trace("fault", detail="its task is cancelled from outside")
        task_of(cell).cancel()

    def _full_mailbox(self, cell: Cell) -> None:
        self.counts["full_mailbox"] += 1
        cell.trace("fault", detail="its mailbox has room for one message from now on")
        cell.mailbox.capacity = 1

    def _stuck_job(self, run: Simulation) -> None:
        run.executor.stick_next(self._note_stuck_job)

    def _note_stuck_job(self, name: str) -> None:
        self.counts["stuck_job"] += 1
        self._run.trace_outside("fault", detail=f"the job {name} is stuck")

    def _lag(self, run: Simulation) -> None:
        self.counts["lag"] += 1
        run.loop.laggy = True

    def _stop(self, cell: Cell) -> None:
        self.counts["stop"] += 1
        cell.trace("fault", detail="it is stopped from outside")
        self._run.do(self._run.system.stop(cell.ref, timeout_s=self._random.choice(STOPS_S)))

    def _shutdown(self, run: Simulation) -> None:
        self.counts["shutdown"] += 1
        timeout_s = self._random.choice(STOPS_S)
        run.trace_outside("fault", detail=f"the system is shut down within {timeout_s:g} s")
        run.do(run.system.shutdown(timeout_s))

    def _cancel_caller(self, caller: asyncio.Task[Any]) -> None:
        self.counts["cancel_caller"] += 1
        self._run.trace_outside("fault", detail=f"{caller.get_name()} is cancelled")
        caller.cancel()


class RandomFaults:
    """Carries out a plan of faults, each at its schedule point, on a random target.

    Args:
        injector: does them.
        plan: (schedule point, kind), sorted.
        random: chooses the targets.
    """

    def __init__(self, injector: Injector, plan: list[tuple[int, str]], random: Random) -> None:
        self._injector = injector
        self._plan = plan
        self._random = random

    def before_step(self, step: int) -> None:
        """Do what is due before the callback that comes next."""
        while self._plan and self._plan[0][0] <= step:
            _, kind = heapq.heappop(self._plan)
            targets = self._injector.targets(kind)
            if targets:
                self._injector.inject(kind, self._random.choice(targets))
            else:
                heapq.heappush(self._plan, (step + self._random.randint(1, RETRY_STEPS), kind))


def task_of(cell: Cell) -> asyncio.Task[None]:
    """The task of an actor that has one."""
    task = cell._task  # noqa: SLF001 - a simulation may touch what users must not
    assert task is not None, cell.ref  # noqa: S101 - the caller has looked
    return task


def _coroutine(task: asyncio.Task[Any]) -> SteeredCoroutine:
    steered = task.get_coro()
    assert isinstance(steered, SteeredCoroutine)  # noqa: S101 - the loop makes no others
    return steered


def _always() -> bool:
    return True


def _actors(run: Simulation) -> Sequence[Cell]:
    return [cell for cell in run.host.cells.values() if cell.has_task]


def _actors_of_open_system(run: Simulation) -> Sequence[Cell]:
    return _actors(run) if run.host.delivery.open else ()


def _callers(run: Simulation) -> Sequence[asyncio.Task[Any]]:
    return [task for task in run.callers if not task.done()]


def _itself(run: Simulation) -> Sequence[Simulation]:
    return (run,)


# What each kind of fault is done to; how, is the method of its name.
TARGETS: Final[Mapping[str, Callable[[Simulation], Sequence[Any]]]] = {
    **dict.fromkeys(("error", "crash", "kill", "stall", "slow_actor", "full_mailbox"), _actors),
    **dict.fromkeys(("cancel_caller", "slow_caller"), _callers),
    **dict.fromkeys(("stuck_job", "lag", "shutdown"), _itself),
    "stop": _actors_of_open_system,
}
