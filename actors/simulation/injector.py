"""Carries out a run's plan of faults, each at its schedule point, on a random target."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Final

from actors.simulation.coroutine import SteeredCoroutine
from actors.simulation.faults import InjectedCrash, InjectedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from random import Random

    from actors.cell import Cell
    from actors.simulation.run import Simulation

__all__ = ["Injector"]

STALLS_S: Final = (0.1, 2.0, 20.0)
SLOW_S: Final = (0.01, 0.5)
SLOW_AWAITS: Final = 20
STOPS_S: Final = (0.0, 0.5, 5.0)
# A fault that finds no target tries again within so many steps.
RETRY_STEPS: Final = 30


class Injector:
    """Does to a run what its plan says.

    Args:
        run: the run.
        plan: (schedule point, kind), sorted.
        random: chooses the targets.

    Attributes:
        counts: faults that were done, by kind.
    """

    def __init__(self, run: Simulation, plan: list[tuple[int, str]], random: Random) -> None:
        self._run = run
        self._plan = plan
        self._random = random
        self.counts: Counter[str] = Counter()

    def before_step(self) -> None:
        """Do what is due before the callback that comes next."""
        while self._plan and self._plan[0][0] <= self._run.loop.steps:
            _, kind = heapq.heappop(self._plan)
            inject: Callable[[], bool] = getattr(self, f"_{kind}")
            if inject():
                self.counts[kind] += 1
            else:
                again = self._run.loop.steps + self._random.randint(1, RETRY_STEPS)
                heapq.heappush(self._plan, (again, kind))

    def _actor(self) -> Cell | None:
        cells = [cell for cell in self._run.host.cells.values() if cell.has_task]
        return self._random.choice(cells) if cells else None

    def _steer(self) -> SteeredCoroutine | None:
        """Return the coroutine of a random actor's task, ready to be told what to do."""
        cell = self._actor()
        if cell is None:
            return None
        steered = _task(cell).get_coro()
        assert isinstance(steered, SteeredCoroutine)  # noqa: S101 - the loop makes no others
        incarnation = cell.incarnation

        def in_a_handler() -> bool:
            return cell.run is not None and cell.incarnation == incarnation

        steered.may_raise = in_a_handler
        steered.on_fault = lambda what: cell.trace("fault", detail=what)
        return steered

    def _raise(self, error: BaseException) -> bool:
        steered = self._steer()
        if steered is not None:
            steered.error = error
        return steered is not None

    def _error(self) -> bool:
        return self._raise(InjectedError("injected"))

    def _crash(self) -> bool:
        kind = self._random.choice((InjectedCrash, SystemExit))
        return self._raise(kind("injected"))

    def _kill(self) -> bool:
        cell = self._actor()
        if cell is not None:
            cell.trace("fault", detail="its task is cancelled from outside")
            _task(cell).cancel()
        return cell is not None

    def _stall(self) -> bool:
        steered = self._steer()
        if steered is not None:
            steered.delays.append(self._random.choice(STALLS_S))
        return steered is not None

    def _slow_actor(self) -> bool:
        steered = self._steer()
        if steered is not None:
            steered.delays += [self._random.choice(SLOW_S)] * SLOW_AWAITS
        return steered is not None

    def _full_mailbox(self) -> bool:
        cell = self._actor()
        if cell is not None:
            cell.trace("fault", detail="its mailbox has room for one message from now on")
            cell.mailbox.capacity = 1
        return cell is not None

    def _stuck_job(self) -> bool:
        self._run.executor.stuck_next += 1
        return True

    def _lag(self) -> bool:
        self._run.loop.laggy = True
        return True

    def _stop(self) -> bool:
        cell = self._actor()
        if cell is not None and self._run.host.delivery.open:
            cell.trace("fault", detail="it is stopped from outside")
            self._run.do(self._run.system.stop(cell.ref, timeout_s=self._random.choice(STOPS_S)))
            return True
        return False

    def _shutdown(self) -> bool:
        if not self._run.opened:
            return False
        timeout_s = self._random.choice(STOPS_S)
        self._run.note(f"the system is shut down within {timeout_s:g} s")
        self._run.do(self._run.system.shutdown(timeout_s))
        return True

    def _cancel_caller(self) -> bool:
        callers = [task for task in self._run.callers if not task.done()]
        if callers:
            task = self._random.choice(callers)
            self._run.note(f"{task.get_name()} is cancelled")
            task.cancel()
        return bool(callers)


def _task(cell: Cell) -> asyncio.Task[None]:
    task = cell._task  # noqa: SLF001 - a simulation may touch what users must not
    assert task is not None, cell.ref  # noqa: S101 - the caller has looked
    return task
