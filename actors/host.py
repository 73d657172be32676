"""What all cells of a system share, and the small records that cells are made of."""

from __future__ import annotations

import asyncio
import enum
import math
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors import notes
from actors.errors import EndlessWait, Refused
from actors.exits import disown
from actors.waits import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from actors.actor import Actor
    from actors.cell import Cell
    from actors.delivery import Delivery, Entry
    from actors.jobs import JobExecutor
    from actors.siblings import Siblings
    from actors.supervision import Supervision
    from actors.waits import Deadlines

__all__ = [
    "HANDLER_TIMEOUT_S",
    "INSIDE",
    "UNWIND_TURNS",
    "Abandoned",
    "Alarm",
    "CellOrigin",
    "ChildSpec",
    "Host",
    "Interrupted",
    "Interruption",
    "Phase",
    "Run",
    "Vigil",
]

HANDLER_TIMEOUT_S: Final = 30.0
# A handler that was cancelled, in a loop that was late, gets so many turns of it to unwind.
UNWIND_TURNS: Final = 16

INSIDE: ContextVar[tuple[Host, str] | None] = ContextVar("actors_inside", default=None)
"""The system and the actor whose handler runs here, also in tasks that the handler has made."""


class Phase(enum.Enum):
    """Where a cell stands, apart from the lifecycle that users see."""

    STARTING = "starting"
    LIVE = "live"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    ENDED = "ended"


class Interruption(enum.Enum):
    """Why a handler run was cancelled by the runtime."""

    EXPIRED = "its deadline passed"
    LEFT = "nobody waits for its answer any more"
    STOPPED = "the actor is stopping"
    FAILED = "the actor has failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """Everything needed to start an actor, again and again.

    Raises:
        EndlessWait: `handler_timeout_s` is not a finite time above 0 (law 5).
    """

    actor: type[Actor]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    supervision: Supervision | None
    handler_timeout_s: float

    def __post_init__(self) -> None:
        if not 0 < self.handler_timeout_s < math.inf:
            raise EndlessWait(
                f"{self.actor.__name__} needs a deadline for its handlers: "
                f"handler_timeout_s={self.handler_timeout_s} is not a finite time above 0"
            )


class Run(Origin):
    """One handler or hook at work, under a deadline (law 5). Whoever begins one must `end` it.

    It is also the origin of whatever is sent meanwhile.

    Args:
        cell: the actor.
        task: in which it runs.
        cause_id: the message that is handled, 0 for a hook.
        deadline_s: on the loop's clock.
        begun_s: when it began, on the same clock.
        entry: that message; None for a hook. It is let go of when the run is over: what was sent in it
            refers to it, and would hold every message that led to it.

    Attributes:
        interrupted: why the runtime has cancelled it, None if it has not.
        turns_left: of the loop, to unwind in, once it was interrupted.
    """

    __slots__ = ("begun_s", "cell", "deadline_s", "entry", "interrupted", "task", "turns_left")

    def __init__(
        self,
        cell: Cell,
        task: asyncio.Task[None],
        cause_id: int,
        deadline_s: float,
        begun_s: float,
        entry: Entry | None = None,
    ) -> None:
        self.name = cell.path
        self.incarnation = cell.incarnation
        self.cause_id = cause_id
        self.cell = cell
        self.task = task
        self.deadline_s = deadline_s
        self.begun_s = begun_s
        self.entry = entry
        self.interrupted: Interruption | None = None
        self.turns_left = UNWIND_TURNS
        cell.run = self

    @property
    def state(self) -> str:
        """Where the lifecycle of the actor stands."""
        return self.cell.state

    @property
    def open(self) -> bool:
        """Whether it is under way, in an incarnation that was not given up."""
        return self.cell.run is self

    def end(self, error: BaseException | None = None) -> None:
        """Hear that the call has returned, or raised `error`.

        Raises:
            Interrupted: the runtime cancelled it and it has unwound.
        """
        if self.cell.run is self:
            self.cell.run = None
        if self.interrupted is not None:
            # Not the runtime's doing alone: whoever else cancels the task ends the actor.
            alone = self.task.uncancel() == 0
            if alone and isinstance(error, asyncio.CancelledError):
                raise Interrupted(self.interrupted.value) from None


class CellOrigin(Origin):
    """An actor that does something apart from its runs: between them, or because it cannot begin one.

    Args:
        cell: the actor.
        cause_id: the message that this is about, 0 for none.
    """

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell, cause_id: int = 0) -> None:
        super().__init__(cell.path, cell.incarnation, cause_id)
        self._cell = cell

    @property
    def state(self) -> str:
        """Where the lifecycle of the actor stands."""
        return self._cell.state


class Vigil:
    """Sees to it that no run of an actor outlasts its deadline.

    The deadlines of an actor's runs mostly come one after the other. So one entry in the heap does for many:
    when its time comes it looks at the run that is under way then, and is entered again for that one's end.

    Args:
        cell: the actor.

    Attributes:
        looks_s: when it looks next; a run that ends later needs nothing done.
    """

    __slots__ = ("_cell", "looks_s")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.looks_s = math.inf

    @property
    def open(self) -> bool:
        """Whether there is an actor to look at."""
        return not self._cell.ended

    def over(self, deadline_s: float) -> None:
        """Watch over a run that has begun."""
        if deadline_s < self.looks_s:
            self.looks_s = deadline_s
            self._cell.host.deadlines.add(deadline_s, self)

    def on_deadline(self) -> None:
        """Interrupt the run that is under way if its time is over."""
        self.looks_s = math.inf
        run = self._cell.run
        if run is None:
            return
        if run.deadline_s <= self._cell.host.loop.time():
            self._cell.interrupt(Interruption.EXPIRED)
        else:
            self.over(run.deadline_s)


class Interrupted(Exception):
    """A handler run was cancelled by the runtime and has unwound."""


class Abandoned(BaseException):
    """This task was left behind when its incarnation was given up; it ends as soon as it can."""


class Alarm:
    """A call at a deadline."""

    __slots__ = ("action", "open")

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action
        self.open = True

    def on_deadline(self) -> None:
        """Make the call."""
        self.open = False
        self.action()


class Host:
    """What all cells of a system share."""

    def __init__(self, delivery: Delivery, deadlines: Deadlines, executor: JobExecutor) -> None:
        self.delivery = delivery
        self.deadlines = deadlines
        self.executor = executor
        self.waits = delivery.waits
        self.tracer = delivery.tracer
        self.loop = delivery.loop
        deadlines.explain = partial(notes.of_expiry, delivery)
        self.thread_id = threading.get_ident()
        self.uids = 0
        self.cells: dict[str, Cell] = {}
        self.tasks: dict[asyncio.Task[None], str] = {}
        self.strays: dict[asyncio.Task[Any], str] = {}
        self.groups: dict[tuple[str, Supervision], Siblings] = {}

    def check_thread(self) -> None:
        """Return in the thread of the event loop.

        Raises:
            Refused: in any other thread: what is sent from there could be lost.
        """
        if threading.get_ident() != self.thread_id:
            raise Refused(
                "actors belong to the thread of their event loop: return the value from the job, or send "
                "with loop.call_soon_threadsafe"
            )

    def start_task(
        self, life: Coroutine[Any, Any, None], cell: Cell, then: Callable[[asyncio.Task[None]], None]
    ) -> asyncio.Task[None]:
        """Run an incarnation as a task for whose end the system answers, not asyncio; then call `then`."""
        task = self.loop.create_task(life, name=f"{cell.ref.path}#{cell.incarnation}")
        self.tasks[task] = cell.ref.path
        disown(task)
        task.add_done_callback(then)
        return task

    def give_up(self, task: asyncio.Task[Any], path: str) -> None:
        """Cancel a task on which an actor waits no more; it is a stray until it has obeyed."""
        if task.cancel():
            self.strays[task] = path
            task.add_done_callback(lambda done: self.strays.pop(done, None))

    def alarm(self, delay_s: float, action: Callable[[], None]) -> Alarm:
        """Call `action` after `delay_s` seconds."""
        alarm = Alarm(action)
        self.deadlines.add(self.loop.time() + delay_s, alarm)
        return alarm
