"""Who is worked for next: a bounded queue, slots, and the plan of one step after the other.

Everything here is decided from what was told, the moments included; nothing waits. Who calls whom:

    submit      a request joins the queue, or is refused
    plan        what the next step does; from then on a step is under way, until
    stepped     says what came of it, or
    lost        says that the engine is gone, and with it every request that it held
    cancel, expire, close     a request ends for another reason, at any time

Every request that was submitted ends exactly once: in one `End`, which one of these calls returns. A request
that ends while a step works on it gives its slot free at once: the next plan, which may use the slot for
somebody else, comes after that step.

**Fair.** Each request has a caller, a name. The slots that become free go to the callers in turn, one request
each, and among the requests of one caller to the oldest: a caller who submits hundreds delays the others by
one request of its own at a time. It cannot fill the queue either: when there is no room, a newcomer whose
caller has fewer requests waiting takes the place of the latest request of whoever has the most. (McKenney
1991, "Stochastic fairness queueing", drops from the longest queue for the same reason.)

**No long stalls.** A step reads at most `prefill_tokens` tokens of prompts, so that those who are being
answered wait a bounded time for their next token. A long prompt is read in pieces, one a step; a piece that
is larger than `prefill_tokens` is read alone.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, TypeVar

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystalline.inference.messages import Outcome

__all__ = [
    "CANCELLED",
    "CLOSED",
    "EXPIRED",
    "FAILED",
    "LOST",
    "REFUSED",
    "Begin",
    "End",
    "Plan",
    "Scheduler",
    "Statistics",
    "Tally",
    "Ticket",
]

T = TypeVar("T")

REFUSED: Final = "refused"
CANCELLED: Final = "cancelled"
EXPIRED: Final = "expired"
FAILED: Final = "failed"
LOST: Final = "lost"
CLOSED: Final = "closed"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the scheduler knows of a request.

    Attributes:
        number: of the request, unique.
        caller: in whose name it comes.
        prompt: how many tokens have to be read before the first one can be drawn.
        deadline_s: the moment at which it is over.
    """

    number: int
    caller: str
    prompt: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class End:
    """How a request ended: well, with a finish reason and no story, or otherwise."""

    number: int
    reason: str
    story: str = ""


@dataclass(frozen=True, slots=True)
class Begin:
    """A request gets a slot."""

    number: int
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one step does, all in terms of requests.

    Attributes:
        begun: they get their slots now.
        left: they had slots until now, and ended for a reason that the engine's side does not know.
        prefill: for these a prompt is read, in this order.
        decode: for these one more token is computed.
    """

    begun: tuple[Begin, ...] = ()
    left: tuple[int, ...] = ()
    prefill: tuple[int, ...] = ()
    decode: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.begun or self.left or self.prefill or self.decode)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the beginning, but for `queued` and `running`, which are of now.

    Attributes:
        queued: requests that wait for a slot.
        running: requests that have one.
        submitted: requests in all.
        ended: how many ended for which reason: `stop`, `length` and `context` well, `refused`, `cancelled`,
            `expired`, `failed`, `lost` (with their engine) and `closed` otherwise.
        tokens: tokens drawn.
        prefill_tokens: tokens of prompts read.
        steps: steps that were done.
        begun: requests that got a slot.
        waited_s: seconds that these had waited for it, in all.
        waited_s_max: the longest of these waits.
    """

    queued: int
    running: int
    submitted: int
    ended: dict[str, int]
    tokens: int
    prefill_tokens: int
    steps: int
    begun: int
    waited_s: float
    waited_s_max: float


@dataclass(slots=True)
class Tally:
    """The counts behind `Statistics`; one may outlive several schedulers."""

    queued: int = 0
    running: int = 0
    submitted: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    prefill_tokens: int = 0
    steps: int = 0
    begun: int = 0
    waited_s: float = 0.0
    waited_s_max: float = 0.0

    def adopt(self) -> None:
        """Another scheduler goes on counting here: what the one before it had open was lost with it."""
        if lost := self.queued + self.running:
            self.ended[LOST] += lost
        self.queued = self.running = 0

    def statistics(self) -> Statistics:
        """What is counted now."""
        return Statistics(
            self.queued,
            self.running,
            self.submitted,
            dict(self.ended),
            self.tokens,
            self.prefill_tokens,
            self.steps,
            self.begun,
            self.waited_s,
            self.waited_s_max,
        )


@dataclass(slots=True)
class _Waiting:
    ticket: Ticket
    since_s: float


@dataclass(slots=True)
class _Running:
    ticket: Ticket
    slot: int


class Scheduler:
    """Decides for whom the next step works.

    Args:
        slots: requests that may have a place in the engine.
        queue: requests that may wait besides those; while slots are free as many more, who will take them.
        prefill_tokens: tokens of prompts to read in one step, at most.
        piece: tokens of one prompt that a step reads, at most.
        tally: where to count.

    Attributes:
        working: whether a step is under way.

    Raises:
        SettingError: one of the numbers is below 1.
    """

    def __init__(
        self,
        *,
        slots: int,
        queue: int,
        prefill_tokens: int,
        piece: float = math.inf,
        tally: Tally | None = None,
    ) -> None:
        for name, number in (("slots", slots), ("queue", queue), ("prefill_tokens", prefill_tokens)):
            if number < 1:
                raise SettingError(f"{name} is {number}: choose a number >= 1")
        self._open_max = slots + queue
        self._queue = queue
        self._prefill_tokens, self._piece = prefill_tokens, piece
        self._tally = Tally() if tally is None else tally
        self._tally.adopt()
        # By caller; the caller in front has the next turn. One who has nothing left to wait for is not there.
        self._queued: dict[str, deque[_Waiting]] = {}
        self._waiting: dict[int, str] = {}
        self._running: dict[int, _Running] = {}
        self._to_prefill: deque[tuple[int, int]] = deque()  # of the running: number, tokens
        self._left: list[int] = []
        self._free = list(range(slots))
        self.working = False

    # What comes in

    def submit(self, ticket: Ticket, now_s: float) -> list[End]:
        """Put a request into the queue. What is returned found no room: it, or one whose place it took."""
        self._tally.submitted += 1
        if len(self._waiting) + len(self._running) < self._open_max:
            self._enqueue(ticket, now_s)
            return []
        greediest = self._greediest()
        own = len(self._queued.get(ticket.caller, ()))
        if greediest is None or len(self._queued[greediest]) <= own + 1:
            return [self._end(ticket.number, REFUSED, self._no_room())]
        displaced = self._queued[greediest][-1].ticket.number
        self._forget_waiting(displaced)
        self._enqueue(ticket, now_s)
        story = f"{self._no_room()} Its place was given to a caller who has fewer requests waiting."
        return [self._end(displaced, REFUSED, story)]

    def cancel(self, number: int, reason: str = CANCELLED, story: str = "") -> list[End]:
        """End a request, if it has not ended yet."""
        if number in self._waiting:
            self._forget_waiting(number)
        elif number in self._running:
            self._forget_running(number)
            self._left.append(number)
        else:
            return []
        return [self._end(number, reason, story)]

    def expire(self, now_s: float) -> list[End]:
        """End every request whose time is over."""
        waiting = (entry.ticket for line in self._queued.values() for entry in line)
        running = (entry.ticket for entry in self._running.values())
        over = [ticket for ticket in (*waiting, *running) if ticket.deadline_s <= now_s]
        return [
            end for ticket in over for end in self.cancel(ticket.number, EXPIRED, _expired(ticket, now_s))
        ]

    def close(self, story: str, reason: str = CLOSED) -> list[End]:
        """End every request."""
        everybody = [*self._waiting, *self._running]
        return [end for number in everybody for end in self.cancel(number, reason, story)]

    # Steps

    def plan(self, now_s: float) -> Plan:
        """Say what the next step does. If there is anything to do, a step is under way from now on.

        Raises:
            RuntimeError: a step is under way already.
        """
        if self.working:
            raise RuntimeError("a step is planned while another one is under way")
        budget: float = self._prefill_tokens
        prefill: list[int] = []

        def fits(tokens: float) -> bool:
            return not prefill or tokens <= budget

        while self._to_prefill and fits(min(self._to_prefill[0][1], self._piece)):
            number, tokens = self._to_prefill.popleft()
            prefill.append(number)
            budget -= min(tokens, self._piece)
        begun = [] if self._to_prefill else self._begin(prefill, budget, now_s)
        waiting = {number for number, _ in self._to_prefill}
        decode = tuple(self._running.keys() - waiting - set(prefill))
        left, self._left = tuple(self._left), []
        plan = Plan(tuple(begun), left, tuple(prefill), tuple(sorted(decode)))
        self.working = bool(plan)
        self._count()
        return plan

    def stepped(self, outcomes: Iterable[Outcome]) -> list[End]:
        """Take note of what a step did. What it did for requests that have ended meanwhile is ignored."""
        self.working = False
        self._tally.steps += 1
        ends: list[End] = []
        for outcome in outcomes:
            self._tally.tokens += outcome.drawn
            self._tally.prefill_tokens += outcome.prefilled
            if outcome.number not in self._running:
                continue
            if outcome.finish or outcome.story:
                self._forget_running(outcome.number)
                reason = outcome.finish or FAILED
                ends.append(self._end(outcome.number, reason, outcome.story))
            elif outcome.prefill:
                self._to_prefill.append((outcome.number, outcome.prefill))
        return ends

    def lost(self, story: str) -> list[End]:
        """The engine is gone: every request that had a slot ends. Those who wait go on waiting."""
        self.working = False
        ends = []
        for number in list(self._running):
            self._forget_running(number)
            ends.append(self._end(number, LOST, story))
        self._left.clear()  # there is nobody left to be told
        return ends

    # Looking at it

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many requests have a slot."""
        return len(self._running)

    @property
    def free(self) -> int:
        """How many slots nobody has."""
        return len(self._free)

    def slots(self) -> dict[int, int]:
        """Which request has which slot."""
        return {number: entry.slot for number, entry in self._running.items()}

    # Inside

    def _begin(self, prefill: list[int], budget: float, now_s: float) -> list[Begin]:
        """Give free slots to those who wait, as many as there is time to read the prompts of."""
        begun = []
        while self._free and self._queued:
            caller, line = next(iter(self._queued.items()))
            waiting = line[0]
            tokens = min(waiting.ticket.prompt, self._piece)
            if prefill and tokens > budget:
                break  # nobody with a shorter prompt steps in, or a long one might wait for ever
            self._forget_waiting(waiting.ticket.number)
            if caller in self._queued:  # it has had its turn
                self._queued[caller] = self._queued.pop(caller)
            slot, number = heappop(self._free), waiting.ticket.number
            self._running[number] = _Running(waiting.ticket, slot)
            begun.append(Begin(number, slot))
            prefill.append(number)
            budget -= tokens
            self._tally.begun += 1
            self._tally.waited_s += now_s - waiting.since_s
            self._tally.waited_s_max = max(self._tally.waited_s_max, now_s - waiting.since_s)
        return begun

    def _enqueue(self, ticket: Ticket, now_s: float) -> None:
        self._queued.setdefault(ticket.caller, deque()).append(_Waiting(ticket, now_s))
        self._waiting[ticket.number] = ticket.caller
        self._count()

    def _greediest(self) -> str | None:
        """Who has the most requests waiting; of several the one whose turn comes last."""
        return max(reversed(self._queued), key=lambda caller: len(self._queued[caller]), default=None)

    def _forget_waiting(self, number: int) -> None:
        caller = self._waiting.pop(number)
        line = self._queued[caller]
        _remove(line, lambda entry: entry.ticket.number == number)
        if not line:
            del self._queued[caller]

    def _forget_running(self, number: int) -> None:
        heappush(self._free, self._running.pop(number).slot)
        _remove(self._to_prefill, lambda entry: entry[0] == number)

    def _end(self, number: int, reason: str, story: str) -> End:
        self._tally.ended[reason] += 1
        self._count()
        return End(number, reason, story)

    def _count(self) -> None:
        self._tally.queued, self._tally.running = len(self._waiting), len(self._running)

    def _no_room(self) -> str:
        return (
            f"the queue is full: {len(self._running)} requests are being answered and {len(self._waiting)} "
            f"wait, the limit is {self._queue}. Try again later, or allow a longer queue."
        )


def _expired(ticket: Ticket, now_s: float) -> str:
    late = f", by {now_s - ticket.deadline_s:.3f} s" if math.isfinite(now_s) else ""
    return f"the time of the request was over before its text was{late}"


def _remove(line: deque[T], unwanted: Callable[[T], bool]) -> None:
    for index, entry in enumerate(line):
        if unwanted(entry):
            del line[index]
            return
