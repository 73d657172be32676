"""Mistakes in the runtime, planted one at a time: a simulation that cannot find them proves nothing.

A mutant is a change to the text of one or more methods, so that it says exactly what is wrong.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors import ending, epochs, snapshots, watching
from actors.cell import Cell
from actors.context import Context
from actors.delivery import Delivery
from actors.epochs import EpochWaits
from actors.group import Group
from actors.host import Vigil
from actors.mailbox import Mailbox
from actors.system import ActorSystem
from actors.waits import Deadlines, Wait
from tests.helpers import scenarios, storms

if TYPE_CHECKING:
    import pytest

    from actors.simulation import Scenario


@dataclass(frozen=True, slots=True)
class Change:
    """In the text of a method, or of a function of a module, `old` becomes `new`."""

    owner: Any
    method: str
    old: str
    new: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        function = getattr(self.owner, self.method)
        text = textwrap.dedent(inspect.getsource(function))
        assert text.count(self.old) == 1, (
            f"{self.owner.__name__}.{self.method} does not read {self.old!r} once"
        )
        code = compile(
            text.replace(self.old, self.new), "mutant", "exec", __future__.annotations.compiler_flag
        )
        made: dict[str, Any] = {}
        exec(code, function.__globals__, made)  # noqa: S102 - the text is the runtime's own, with the change above
        patch.setattr(self.owner, self.method, made[self.method])


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mistake, and the scenario that meets it."""

    name: str
    scenario: Scenario
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


_TELL_DOWN = "cell.host.delivery.tell_system(cell.origin, hearer, down)"
_STOPPING = " or stopping or not cell.host.delivery.open"
_CLOSE_UNLESS_CANCELLED = "except TimeoutError:\n        delivery.close(ask)\n        raise\n    else:"
_START = "self.phase = Phase.STARTING"
# A mailbox that stays closed would have a restarted actor spin, and never come to a schedule point again.
_REOPEN = Change(Cell, "start", _START, f"{_START}; self.mailbox.closed = False")

_HAS_ENDED = "elif entry.future.done() or (now_s := delivery.clock()) > entry.deadline_s:"

MUTANTS = (
    Mutant(
        "a reply is dropped",
        scenarios.fan_out,
        (Change(Delivery, "answer", "ask.future.set_result(packed)", "pass"),),
    ),
    Mutant(
        "a reply is dropped without a trace",
        scenarios.fan_out,
        (Change(Delivery, "answer", "packed = self.codec.pack(body)", "return"),),
    ),
    Mutant(
        "a late reply is delivered",
        scenarios.impatience,
        (Change(Delivery, "answer", " or ask.future.done()", ""),),
    ),
    Mutant("a Down is not sent", scenarios.watchers, (Change(ending, "_announce", _TELL_DOWN, "pass"),)),
    Mutant(
        "a Down is sent twice",
        scenarios.watchers,
        (Change(ending, "_announce", _TELL_DOWN, f"{_TELL_DOWN}; {_TELL_DOWN}"),),
    ),
    Mutant(
        "watchers are forgotten",
        scenarios.watchers,
        (Change(ending, "_announce", "in cell.watchers.values() if", "in () if"),),
    ),
    Mutant(
        "a wait has no deadline",
        scenarios.impatience,
        (Change(Wait, "on_deadline", "self.fail(", "bool() and self.fail("),),
    ),
    Mutant(
        "a handler has no deadline",
        scenarios.impatience,
        (Change(Vigil, "on_deadline", "self._cell.interrupt(Interruption.EXPIRED)", "pass"),),
    ),
    Mutant(
        "the timer is not armed again",
        scenarios.impatience,
        (Change(Deadlines, "_sweep", "self.arm(self._heap[0][0] if self._heap else math.inf)", "pass"),),
    ),
    Mutant(
        "an actor is restarted during a shutdown",
        scenarios.stops,
        (
            Change(ending, "_decide", _STOPPING, ""),
            Change(ending, "abandon", "failed=not cell.stop_alarms", "failed=True"),
            Change(Cell, "_live", "failed and not stopping", "failed"),
            _REOPEN,
        ),
    ),
    Mutant(
        "a stop forgets the planned restart",
        scenarios.families,
        (Change(ending, "_leave_tree", "cell.restart_alarm.open = False", "pass"), _REOPEN),
    ),
    Mutant(
        "a wait is not closed",
        scenarios.fan_out,
        (Change(Delivery, "close", "self.waits.close(ask)", "pass"),),
    ),
    Mutant(
        "a mailbox loses what was queued when it closes",
        scenarios.stops,
        (Change(Mailbox, "close", "self._room = None", "self._room = None; self._user.clear()"),),
    ),
    Mutant(
        "a mailbox loses who waited for room",
        scenarios.crowding,
        (Change(Mailbox, "_serve_room", "self._admit(waiting)", "pass"),),
    ),
    Mutant(
        "a mailbox does not wake its reader",
        scenarios.fan_out,
        (Change(Mailbox, "put", "wakeup.set_result(None)", "pass"),),
    ),
    Mutant(
        "an abandoned task goes on in its successor's place",
        scenarios.clinging,
        (
            Change(Cell, "_serve", "task is not self._task", "False"),
            Change(Cell, "_returned", "if run.task is not self._task:", "if False:"),
            Change(Cell, "_hook", "if task is not self._task:", "if False:"),
        ),
    ),
    Mutant(
        "a stop forgets the children",
        scenarios.families,
        (
            Change(ending, "terminate", "reversed(list(cell.children.values()))", "()"),
            Change(ending, "finalise", "_abandon_children(cell, reason)", "pass"),
        ),
    ),
    Mutant(
        "a cancelled ask leaks",
        scenarios.impatience,
        (
            Change(ActorSystem, "ask", "finally:", _CLOSE_UNLESS_CANCELLED),
            Change(Context, "ask", "finally:", _CLOSE_UNLESS_CANCELLED),
        ),
    ),
    Mutant(
        "the asks of an actor that ends are left to their deadlines",
        scenarios.families,
        (Change(ending, "_settle", "ask.fail(", "str("),),
    ),
    Mutant(
        "a job that is late keeps its thread",
        scenarios.jobs,
        (Change(Context, "_offload", "host.executor.abandon(job)", "False"),),
    ),
    Mutant(
        "one for all starts only the failed one again",
        scenarios.groups,
        (Change(Group, "fail", "affected = self._affected(member)", "affected = []"),),
    ),
    Mutant(
        "rest for one forgets the rest",
        scenarios.groups,
        (Change(Group, "_affected", "members[members.index(member) + 1 :]", "[]"),),
    ),
    Mutant(
        "a group restart forgets a sibling",
        scenarios.groups,
        (Change(Group, "is_down", "= Standing.DOWN", "= Standing.UP"),),
    ),
    Mutant(
        "a group starts in the wrong order",
        scenarios.groups,
        (
            Change(
                Group,
                "next_step",
                "self.standings[down[0]] = Standing.RISING\n    return Start(down[0])",
                "self.standings[down[-1]] = Standing.RISING\n    return Start(down[-1])",
            ),
        ),
    ),
    Mutant(
        "a group starts while some of it are still ending",
        scenarios.groups,
        (Change(Group, "next_step", " or self._those(Standing.LEAVING)", ""),),
    ),
    Mutant(
        "a sibling that was stopped on purpose is started again",
        scenarios.groups,
        (Change(ending, "begin_stop", 'cell.recycled = ""', "pass"), _REOPEN),
    ),
    Mutant(
        "a snapshot is not restored",
        scenarios.snapshots,
        (Change(Cell, "_come_up", "if self.snapshot is not None:", "if False:"),),
    ),
    Mutant(
        "a snapshot is lost with its incarnation",
        scenarios.snapshots,
        (Change(ending, "_clear_stop", 'cell.recycled = ""', 'cell.recycled = ""; cell.snapshot = None'),),
    ),
    Mutant(
        "a snapshot is taken once only",
        scenarios.snapshots,
        (
            Change(
                snapshots, "_take", "cell.snapshot = cell.host", "cell.snapshot = cell.snapshot or cell.host"
            ),
        ),
    ),
    Mutant(
        "the end of an epoch wakes nobody",
        scenarios.epochs,
        (Change(EpochWaits, "add", "wait.succeed(lifecycle)", "pass"),),
    ),
    Mutant(
        "children end after their parent",
        scenarios.families,
        (
            Change(ending, "terminate", "await wait.future", "pass"),
            Change(ending, "finalise", "_abandon_children(cell, reason)", "pass"),
        ),
    ),
    Mutant(
        "the end of a later life is told twice",
        scenarios.watchers,
        (
            Change(
                ending,
                "_announce",
                "for hearer in hearers:",
                "for hearer in hearers * min(2, cell.incarnation):",
            ),
        ),
    ),
    Mutant(
        "a watch outlives the life that asked for it",
        storms.watch_churn,
        (
            Change(ending, "_announce", " if watcher.incarnation == life", ""),
            Change(watching, "unwatch_all", "target.watchers.pop(watcher.ref.path, None)", "pass"),
        ),
    ),
    Mutant(
        "a stop takes longer than it may",
        scenarios.stops,
        (
            Change(
                ending,
                "begin_stop",
                "cell.host.alarm(budget_s, lambda",
                "cell.host.alarm(budget_s + 1, lambda",
            ),
        ),
    ),
    Mutant(
        "an ask that has ended is handled",
        scenarios.impatience,
        (Change(Cell, "_begin", _HAS_ENDED, "elif (now_s := delivery.clock()) < 0:"),),
    ),
    Mutant(
        "who has left goes on being worked for",
        scenarios.impatience,
        (Change(Cell, "leave", "self.run is not None", "False"),),
    ),
    Mutant(
        "the system lane is read last",
        scenarios.watchers,
        (Change(Mailbox, "get", "if self._system:", "if self._system and not self._user:"),),
    ),
    Mutant(
        "who waits for room is overtaken",
        scenarios.crowding,
        (
            Change(
                Mailbox,
                "queue_for_room",
                "self._room.append((entry, admitted))",
                "self._room.appendleft((entry, admitted))",
            ),
        ),
    ),
    Mutant(
        "a deadline grows on its way down",
        storms.descent,
        (Change(Context, "_deadline_s", "run.deadline_s < own_s", "run.deadline_s > own_s"),),
    ),
    Mutant(
        "a reminder outlives the life that set it",
        storms.reminders,
        (Change(ending, "_settle", "later.forget(cell)", "pass"),),
    ),
    Mutant(
        "a foreign awaitable is left behind",
        storms.foreign_waits,
        (Change(Context, "wait", "cell.host.give_up(inner, cell.ref.path)", "pass"),),
    ),
    Mutant(
        "an actor that is started again misses the epoch",
        scenarios.epochs,
        (Change(epochs, "join_running", "scope is None or cell.ref not in scope.children", "True"),),
    ),
    Mutant(
        "an actor that is started again begins an epoch that is ending",
        storms.epochs_pressed,
        (Change(epochs, "join_running", "if scope.finishing:", "if False:"),),
    ),
    Mutant(
        "an epoch ends before the children have ended it",
        scenarios.epochs,
        (Change(epochs, "_finish_children", "pending = list(scope.children)", "pending = []"),),
    ),
    Mutant(
        "an epoch that failed goes on in the children",
        storms.epochs_pressed,
        (Change(epochs, "_abort_children", "recipient is not None", "False"),),
    ),
    Mutant(
        "a wait for an epoch is left when its actor ends",
        storms.epochs_stopped,
        (Change(EpochWaits, "fail", "wait.fail(error)", "pass"),),
    ),
    Mutant(
        "a dead letter is not counted",
        scenarios.impatience,
        (Change(Delivery, "_drop", "self.dead_letters[reason] += 1", "pass"),),
    ),
    Mutant(
        "a receiver that is closed lets its reader wait",
        storms.subscribers,
        (Change(Mailbox, "close", "self._wake()", "pass"),),
    ),
    Mutant(
        "credit for bytes is not given back",
        storms.heavy_messages,
        (Change(Mailbox, "get", "self.bytes_used -= entry.nbytes", "pass"),),
    ),
    Mutant(
        "a message that is dropped keeps its credit",
        storms.heavy_messages,
        (Change(Mailbox, "pop_oldest", "self.bytes_used -= entry.nbytes", "pass"),),
    ),
    Mutant(
        "a message that waited for room takes no credit",
        storms.heavy_messages,
        (Change(Mailbox, "_admit", "self.bytes_used += entry.nbytes", "pass"),),
    ),
    Mutant(
        "an actor that is started again keeps the credit of what it has lost",
        storms.heavy_messages,
        (Change(Mailbox, "drain", "self.bytes_used = 0", "pass"),),
    ),
    Mutant(
        "bytes are not limited",
        storms.heavy_messages,
        (Change(Mailbox, "_full_for", "self.bytes_used + entry.nbytes > self.bytes_max", "False"),),
    ),
)
