"""One training run in its own event loop, and what Ctrl-C does to it at every moment."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

import anyio
from anyio import CancelScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio.abc import TaskStatus

    from crystalline.training import Trainer, TrainReport
    from crystalline.training.events import Event

__all__ = ["GRACE_S", "Board", "train_until_signal"]

GRACE_S: Final = 4.5
"""Seconds from the first signal to the end of the process, finished or not. The promise is 5."""

_SHOW_CURSOR = b"\x1b[?25h"


class Board(Protocol):
    """Something that is told every event of a run."""

    def take(self, event: Event) -> None:
        """Hear one."""

    def close(self) -> None:
        """Hear that there will be no more."""


class _NoBoard:
    def take(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextmanager
def _nobody(_trainer: Trainer) -> Iterator[None]:
    yield


@dataclass(slots=True)
class _Interruption:
    """What has happened so far, for whoever takes the signal.

    Attributes:
        number: the first signal, None before it.
        trainer: set once there is something to stop in an orderly way.
        run: all of it; cancelled while there is no trainer yet.
    """

    number: int | None = None
    trainer: Trainer | None = None
    run: CancelScope = field(default_factory=CancelScope)


async def train_until_signal(
    trainer: Trainer,
    show: Callable[[Event], None],
    board: Callable[[int], Board] | None = None,
    looked_at: Callable[[Trainer], AbstractContextManager[None]] = _nobody,
) -> tuple[TrainReport | None, int | None]:
    """Train to the end, or to the first SIGINT or SIGTERM.

    The first signal ends data preparation, or stops the training at a step with a checkpoint. A second
    one ends the process at once, and so does the end of `GRACE_S`.

    Args:
        trainer: not entered yet.
        show: is called with every event.
        board: makes something else that takes every event, given the number of steps taken before.
        looked_at: what lets others look at the actors, while they are at work.

    Returns:
        The report, None if training had not begun; and the signal's number, None without one.

    Raises:
        CrystallineError: preparation or training failed; perhaps as the only member of a group.
    """
    interruption = _Interruption()
    report = None
    async with anyio.create_task_group() as group:
        await group.start(_watch, interruption)
        with interruption.run:
            async with trainer:
                interruption.trainer = trainer
                with looked_at(trainer):
                    with closing(board(trainer.begins_after) if board else _NoBoard()) as taker:
                        async for event in trainer.events():
                            show(event)
                            taker.take(event)
                    report = await trainer.fit()
        group.cancel_scope.cancel()
    return report, interruption.number


async def _watch(interruption: _Interruption, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        number = await anext(signals)
    interruption.number = number
    _insist(number)
    if interruption.trainer is None:
        interruption.run.cancel()
    else:
        await interruption.trainer.stop()


def _insist(number: int) -> None:
    """From now on another signal, or too much time, ends the process whatever it is doing."""

    def leave(*_: object) -> NoReturn:
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # the live display has hidden it
        os._exit(128 + number)

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, leave)
    deadline = threading.Timer(GRACE_S, leave)
    deadline.daemon = True
    deadline.start()
