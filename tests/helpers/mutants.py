"""Mistakes in the runtime, planted one at a time: a simulation that cannot find them proves nothing.

A mutant is a change to the text of one or more methods, so that it says exactly what is wrong.
"""

from __future__ import annotations
import __future__

import inspect
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors import epochs
from actors.cell import Cell
from actors.context import Context
from actors.delivery import Delivery
from actors.epochs import EpochWaits
from actors.host import Run
from actors.mailbox import Mailbox
from actors.waits import Deadlines, Wait
from tests.helpers import scenarios, storms

if TYPE_CHECKING:
    import pytest

    from actors.simulation import Scenario


@dataclass(frozen=True, slots=True)
class Change:
    """In the text of a method, `old` becomes `new`."""

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


_TELL_DOWN = "self.host.delivery.tell_system(self.origin, cell, down)"
_STOPPING = " or self._stop_alarms or not self.host.delivery.open"
_START = "self.phase = Phase.STARTING"
# A mailbox that stays closed would have a restarted actor spin, and never come to a schedule point again.
_REOPEN = Change(Cell, "start", _START, f"{_START}; self.mailbox.closed = False")

_SKIP_ENDED = """if ask is None or not ask.wait.open:
            delivery.dead_letter(entry.tag, "expired in the mailbox", self.origin, entry.msg_id)
            return
        ask.incarnation = incarnation
        deadline_s = ask.wait.deadline_s"""
_SKIP_NOTHING = """if ask is not None:
            ask.incarnation = incarnation
            deadline_s = max(deadline_s, ask.wait.deadline_s)"""

MUTANTS = (
    Mutant(
        "a reply is dropped",
        scenarios.fan_out,
        (Change(Delivery, "_answer", "ask.wait.succeed(frame)", "pass"),),
    ),
    Mutant(
        "a reply is dropped without a trace",
        scenarios.fan_out,
        (Change(Delivery, "reply", "self._answer(", "bool() and self._answer("),),
    ),
    Mutant(
        "a late reply is delivered",
        scenarios.impatience,
        (Change(Delivery, "_answer", " or not ask.wait.open", ""),),
    ),
    Mutant("a Down is not sent", scenarios.watchers, (Change(Cell, "_announce", _TELL_DOWN, "pass"),)),
    Mutant(
        "a Down is sent twice",
        scenarios.watchers,
        (Change(Cell, "_announce", _TELL_DOWN, f"{_TELL_DOWN}; {_TELL_DOWN}"),),
    ),
    Mutant(
        "watchers are forgotten",
        scenarios.watchers,
        (Change(Cell, "_announce", "in self.watchers.values() if", "in () if"),),
    ),
    Mutant(
        "a wait has no deadline",
        scenarios.impatience,
        (Change(Wait, "on_deadline", "self.fail(", "bool() and self.fail("),),
    ),
    Mutant(
        "a handler has no deadline",
        scenarios.impatience,
        (Change(Run, "on_deadline", "self.cell.interrupt(Interruption.EXPIRED)", "pass"),),
    ),
    Mutant(
        "the timer is not armed again",
        scenarios.impatience,
        (Change(Deadlines, "_sweep", "self._arm(self._heap[0][0] if self._heap else math.inf)", "pass"),),
    ),
    Mutant(
        "an actor is restarted during a shutdown",
        scenarios.stops,
        (
            Change(Cell, "_decide", _STOPPING, ""),
            Change(Cell, "abandon", "failed=not self._stop_alarms", "failed=True"),
            Change(Cell, "_live", "failed and not stopping", "failed"),
            _REOPEN,
        ),
    ),
    Mutant(
        "a stop forgets the planned restart",
        scenarios.families,
        (Change(Cell, "_leave_tree", "self._restart_alarm.open = False", "pass"), _REOPEN),
    ),
    Mutant(
        "a wait is not closed",
        scenarios.fan_out,
        (Change(Delivery, "_close", "self.waits.close(ask.wait)", "pass"),),
    ),
    Mutant(
        "a mailbox loses what was queued when it closes",
        scenarios.stops,
        (Change(Mailbox, "close", "self._room.clear()", "self._room.clear(); self._user.clear()"),),
    ),
    Mutant(
        "a mailbox loses who waited for room",
        scenarios.crowding,
        (Change(Mailbox, "_take_user", "self._user.append(waiting)", "pass"),),
    ),
    Mutant(
        "a mailbox does not wake its reader",
        scenarios.fan_out,
        (Change(Mailbox, "put", "self._wake()", "pass"),),
    ),
    Mutant(
        "an abandoned task goes on in its successor's place",
        scenarios.clinging,
        (
            Change(Cell, "_serve", "task is not self._task", "False"),
            Change(Cell, "_guard", "if task is not self._task:\n        raise", "if False:\n        raise"),
        ),
    ),
    Mutant(
        "a stop forgets the children",
        scenarios.families,
        (
            Change(Cell, "_terminate", "reversed(list(self.children.values()))", "()"),
            Change(Cell, "_finalise", "self._abandon_children(reason)", "pass"),
        ),
    ),
    Mutant(
        "a cancelled ask leaks",
        scenarios.impatience,
        (
            Change(
                Delivery,
                "finish_ask",
                "finally:",
                "except TimeoutError:\n        self._close(ask)\n        raise\n    else:",
            ),
        ),
    ),
    Mutant(
        "the asks of an actor that ends are left to their deadlines",
        scenarios.families,
        (Change(Cell, "_settle", "ask.wait.fail(down)", "pass"),),
    ),
    Mutant(
        "a job that is late keeps its thread",
        scenarios.jobs,
        (Change(Context, "_offload", "host.executor.abandon(job)", "False"),),
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
            Change(Cell, "_terminate", "await wait.future", "pass"),
            Change(Cell, "_finalise", "self._abandon_children(reason)", "pass"),
        ),
    ),
    Mutant(
        "the end of a later life is told twice",
        scenarios.watchers,
        (
            Change(
                Cell, "_announce", "for cell in hearers:", "for cell in hearers * min(2, self.incarnation):"
            ),
        ),
    ),
    Mutant(
        "a watch outlives the life that asked for it",
        storms.watch_churn,
        (
            Change(Cell, "_announce", " if cell.incarnation == life", ""),
            Change(Cell, "_settle", "target.watchers.pop(self.ref.path, None)", "pass"),
        ),
    ),
    Mutant(
        "a stop takes longer than it may",
        scenarios.stops,
        (
            Change(
                Cell, "begin_stop", "self.host.alarm(budget_s, lambda", "self.host.alarm(budget_s + 1, lambda"
            ),
        ),
    ),
    Mutant(
        "an ask that has ended is handled",
        scenarios.impatience,
        (Change(Cell, "_handle", _SKIP_ENDED, _SKIP_NOTHING),),
    ),
    Mutant(
        "who has left goes on being worked for",
        scenarios.impatience,
        (Change(Cell, "leave", "self.interrupt(Interruption.LEFT)", "pass"),),
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
        (Change(Context, "_deadline_s", "return min(own_s, ", "return max(own_s, "),),
    ),
    Mutant(
        "a reminder outlives the life that set it",
        storms.reminders,
        (Change(Context, "tell_later", "cell.incarnation == self._incarnation and ", ""),),
    ),
    Mutant(
        "a foreign awaitable is left behind",
        storms.foreign_waits,
        (Change(Context, "wait", "finally:\n        inner.cancel()", "finally:\n        pass"),),
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
        (Change(Delivery, "dead_letter", "self.dead_letters[reason] += 1", "pass"),),
    ),
    Mutant(
        "a receiver that is closed lets its reader wait",
        storms.subscribers,
        (Change(Mailbox, "close", "self._wake()", "pass"),),
    ),
)
