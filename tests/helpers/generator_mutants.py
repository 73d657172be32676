"""Mistakes in the generator, planted one at a time, for its simulations to find."""

from __future__ import annotations

from typing import Final

from crystalline.inference import worker
from crystalline.inference.call import Calls
from crystalline.inference.desk import Desk
from crystalline.inference.editions import Shelf
from crystalline.inference.follower import Follower
from crystalline.inference.scheduler import Scheduler
from crystalline.inference.worker import Worker
from tests.helpers.asking import asking
from tests.helpers.following import following
from tests.helpers.mutants import Change, Mutant

__all__ = ["GENERATOR_MUTANTS"]

_FREE: Final = "heappush(self._free, self._running.pop(number).slot)"
_TELL_OVER: Final = "ctx.tell(request.listener, over)"

GENERATOR_MUTANTS: Final = (
    Mutant(
        "a place is given to two",
        asking,
        (Change(Scheduler, "_forget_running", _FREE, f"heappush(self._free, 0); {_FREE}"),),
    ),
    Mutant(
        "a place is lost with who had it",
        asking,
        (Change(Scheduler, "_forget_running", _FREE, "self._running.pop(number)"),),
    ),
    Mutant(
        "tokens go to the neighbour",
        asking,
        (
            Change(
                worker, "_continue", "[held.slot for held in group]", "[held.slot for held in group][::-1]"
            ),
        ),
    ),
    Mutant(
        "the queue has no bound",
        asking,
        (Change(Scheduler, "submit", "< self._open_max", "< 10_000"),),
    ),
    Mutant(
        "who leaves is worked for all the same",
        asking,
        (Change(Calls, "hear", "if goodbye:", "if False:"),),
    ),
    Mutant(
        "the end is told to nobody",
        asking,
        (Change(Desk, "_tell_ends", _TELL_OVER, "pass"),),
    ),
    Mutant(
        "requests are forgotten with the engine that held them",
        asking,
        (Change(Scheduler, "lost", "ends.append(self._end(number, LOST, story))", "pass"),),
    ),
    Mutant(
        "a step that was lost is waited for",
        asking,
        (Change(Scheduler, "lost", "self.working = False", "pass"),),
    ),
    Mutant(
        "an engine in which a step has failed is used again",
        asking,
        (
            Change(Worker, "on_start", "self._shelf.clear()", "pass"),
            Change(Shelf, "install", "and self._press() is None", ""),
        ),
    ),
    Mutant(
        "who is cancelled in the step in which it ends takes the others along",
        asking,
        (Change(Worker, "_end", "self._held.pop(number, None)", "self._held.pop(number)"),),
    ),
    Mutant(
        "what the engine is not told to forget stays there",
        asking,
        (Change(Scheduler, "cancel", "self._left.append(number)", "pass"),),
    ),
    Mutant(
        "weights are swapped within a request",
        following,
        (
            Change(
                worker,
                "_work",
                "group = [held for held in decode if held.press is press]",
                "press, group = decode[-1].press, [held for held in decode if held.press is press]",
            ),
        ),
    ),
    Mutant(
        "the old engine is closed while somebody needs it",
        following,
        (Change(Shelf, "_tidy", "not press.users and ", ""),),
    ),
    Mutant(
        "newer weights do not wait for the old ones",
        following,
        (Change(Follower, "look", "if not self._shelf.full:", "if True:"),),
    ),
    Mutant(
        "a checkpoint that was damaged once is not tried again",
        following,
        (Change(Follower, "_take", "shelf, press =", "self._known = mark; shelf, press ="),),
    ),
    Mutant(
        "the old engine stays open",
        following,
        (Change(Shelf, "end", "self._tidy()", "pass"), Change(Shelf, "offer", "self._tidy()", "pass")),
    ),
)
