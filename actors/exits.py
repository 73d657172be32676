"""How actors take part in the end of their program: whose task is whose, and which errors end more than one.

asyncio.run cancels every task that asyncio knows and waits for all of them, without limit. An actor whose
handler swallows its cancellation would hold up the exit for ever. So the tasks of actors are not in asyncio's
list: who ends them is the actor system, which has a budget for it and leaves behind what will not end.
"""

from __future__ import annotations

import asyncio.tasks
import contextlib
import threading
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

from actors.jobs import raised_in_job
from actors.reasons import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["disown", "end_reason", "leave_behind", "pass_on", "stack_of", "stacks_of"]


def disown(task: asyncio.Task[Any]) -> None:
    """Take a task out of `asyncio.all_tasks()`: whoever calls this answers for its end.

    Source: the Python documentation, "Extending asyncio": tasks that are not asyncio's own.
    """
    asyncio.tasks._unregister_task(task)  # noqa: SLF001 - documented for those who end their tasks themselves


def leave_behind(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Give up tasks that do not end, so that they cannot hold up the interpreter's exit either.

    The interpreter destroys at its exit what it holds, and a coroutine is destroyed by raising in it: one
    that swallows whatever is raised would go round for ever there. What the stack of a daemon thread refers
    to is never destroyed.
    """
    for task in tasks:
        if not task.done():
            _left_behind.add(task)
            task.add_done_callback(_left_behind.discard)
    if _left_behind and not _keeper.is_alive():
        with contextlib.suppress(RuntimeError):  # no thread to be had, or no more at the exit
            _keeper.start()


def _keep(_tasks: set[asyncio.Task[Any]]) -> None:
    threading.Event().wait()


_left_behind: set[asyncio.Task[Any]] = set()
_keeper = threading.Thread(target=_keep, args=(_left_behind,), name="actors-left-behind", daemon=True)


def pass_on(error: BaseException, loop: asyncio.AbstractEventLoop) -> None:
    """Return if an error is a failure of the actor it struck; raise it if it is the end of all around it.

    Ctrl-C strikes whatever runs at that moment; it must reach the event loop, which raises it out of
    `asyncio.run`. What is raised in a task when its loop is closed already is its coroutine's destruction:
    nothing can be awaited any more.
    """
    # A signal never strikes a job's thread: there somebody has raised it, as any other error.
    if (isinstance(error, KeyboardInterrupt) and not raised_in_job(error)) or loop.is_closed():
        raise error


def end_reason(error: BaseException | None) -> str:
    """Why an actor has ended whose task raised: Ctrl-C, or something that the runtime should have caught."""
    return f"{'' if isinstance(error, KeyboardInterrupt) else 'runtime fault: '}{describe(error)}"


def stack_of(task: asyncio.Task[Any]) -> str:
    """Where a task stands: the coroutines that await one another, the outermost first."""
    frames = []
    at: Any = task.get_coro()
    while (frame := getattr(at, "cr_frame", None)) is not None:
        frames.append((frame, frame.f_lineno))
        at = at.cr_await
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def stacks_of(tasks: Mapping[asyncio.Task[Any], str]) -> dict[str, str]:
    """Tasks that have not ended, each by the path of its actor, with where it stands."""
    stacks: dict[str, str] = {}
    lives: Counter[str] = Counter()
    for task, path in tasks.items():
        if not task.done():
            lives[path] += 1
            number = f" ({lives[path]})" if lives[path] > 1 else ""
            stacks[f"task of {path}{number}"] = stack_of(task)
    return stacks
