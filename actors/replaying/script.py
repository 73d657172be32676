"""The record as a script: what happens next, when nothing else can."""

from __future__ import annotations

import bdb
import heapq
import itertools
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors import ending, errors
from actors.delivery import Ask, Told
from actors.errors import ActorDown, AskError, Expired, MailboxFull
from actors.host import Interruption, Phase
from actors.replaying.bodies import packed_of
from actors.replaying.checking import Checker
from actors.replaying.host import Ghost
from actors.replaying.report import Difference, Replay, ReplayDiffers
from actors.tracing.events import TraceQueryError
from actors.waits import Origin, Witness

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from actors.delivery import Entry
    from actors.host import ChildSpec
    from actors.messages import ActorRef
    from actors.replaying.bodies import Rebuild
    from actors.replaying.host import ReplayedCell
    from actors.replaying.loop import ReplayLoop
    from actors.replaying.record import At, LifeRecord, Received
    from actors.replaying.refs import Refs
    from actors.wire import Packed

__all__ = ["Orders", "Script"]

# What a handler is given when the record does not say.
LIMIT_S: Final = 3600.0
STOP_S: Final = 5.0
# How long at a time, in real seconds, a handler is let wait for something that no record can have.
PATIENCE_S: Final = 0.02
# Two times this near are the same: sums of seconds are rounded.
CLOCK_S: Final = 1e-6
# How the wait for a job ended whose result nobody took.
NEVER_TAKEN: Final = frozenset({Expired.__name__, "given up"})
GONE: Final = re.compile(r"\S+ is gone: (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How to replay; see `replay`."""

    until: int | None
    stop_at: int | None
    on_message: Callable[[int, Any], None] | None
    rebuild: Rebuild | None
    ignore: Collection[str]
    strict: bool


class Script:
    """Gives one actor what it was given, in the order of the record.

    Args:
        record: of the life.
        refs: addresses as the record has them.
        orders: what is wanted.
        loop: in which it happens.

    Attributes:
        refs: as given.
        clock: of the record, in seconds.
        finished: done when there is nothing more to play; has an error if that is what came of it.
    """

    def __init__(self, record: LifeRecord, refs: Refs, orders: Orders, loop: ReplayLoop) -> None:
        self._record = record
        self.refs = refs
        self._orders = orders
        self._loop = loop
        self._checker = Checker(record, orders.ignore, self._differs, self.fail)
        self._at = 0  # how many messages were handed over
        self._closed = 0  # how many of them were found handled
        self._pending: list[tuple[int, int, float, Callable[[], object]]] = []
        self._ties = itertools.count()
        self._lives = sorted(at for events in record.children.values() for at in events)
        self._lives_passed = 0
        self._cell: ReplayedCell | None = None
        self._error: BaseException | None = None
        self._stopping = False
        self._why = ""
        self.clock = loop.time
        self.finished: asyncio.Future[None] = loop.create_future()

    @property
    def cell(self) -> ReplayedCell:
        """The actor's.

        Raises:
            AssertionError: it was not set.
        """
        if self._cell is None:
            raise AssertionError("a script needs an actor")
        return self._cell

    @cell.setter
    def cell(self, cell: ReplayedCell) -> None:
        self._cell = cell

    def outcome(self) -> Replay:
        """What came of it."""
        numbers = [received.number for received in self._record.messages[: self._at]]
        played = tuple(map(self._checker.played, numbers))
        early = bool(self._why) or self._checker.difference is not None
        return Replay(
            self._record.path,
            self._record.incarnation,
            played,
            self._checker.played(0),
            len(self._record.messages),
            self._checker.difference,
            self._error if early else None,
            self._why,
        )

    def fail(self, error: BaseException) -> None:
        """End the replay with an error for whoever asked for it."""
        if not self.finished.done():
            self.finished.set_exception(error)

    def _differs(self, difference: Difference) -> None:
        if self._orders.strict:
            self.fail(ReplayDiffers(difference))

    def _finish(self, why: str = "") -> None:
        self._why = self._why or why
        if not self.finished.done():
            self.finished.set_result(None)

    # What happens next

    def patience_s(self, timer_s: float | None) -> float:
        """Above 0 while a handler waits for something foreign that no timer before its recorded end ends."""
        if not any(wait.witness is Witness.TIMER for wait in self.cell.host.waits):
            return 0.0
        done = self._record.messages[self._at - 1].done if self._at else None
        if timer_s is not None and done is not None and timer_s <= done.event.time_s:
            return 0.0
        return PATIENCE_S

    def prompt(self, timer_s: float | None) -> bool:
        """Let the next recorded thing happen, unless a timer comes before it."""
        if self.finished.done():
            return False
        try:
            return self._prompt(timer_s)
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked for the replay
            self.fail(error)
            return True

    def _prompt(self, timer_s: float | None) -> bool:
        cell = self.cell
        if cell.ended:
            left = len(self._record.messages) - self._at
            self._finish(f"the actor has ended with {left} messages left" if left else "")
            return True
        idle = cell.run is None and cell.phase is Phase.LIVE
        if idle:
            self._close()
        upcoming = self._next_message() if idle else None
        if upcoming is not None and not (self._pending and self._pending[0][0] < upcoming.receive.position):
            return self._hand_over(upcoming, timer_s)
        if self._pending:
            return self._complete(timer_s)
        return self._run_out(timer_s, idle=idle)

    def _next_message(self) -> Received | None:
        messages = self._record.messages
        if self._at == len(messages) or (self._at and messages[self._at - 1].number == self._orders.until):
            return None
        return messages[self._at]

    def _hand_over(self, received: Received, timer_s: float | None) -> bool:
        receive = received.receive
        if self._timer_is_first(timer_s, receive.event.time_s):
            return False
        self._reach(receive)
        if received.sent is None:
            raise TraceQueryError(
                f"message {received.number} ({receive.event.type}) was sent before the trace begins"
            )
        packed = packed_of(received.sent, self._orders.rebuild)
        self._at += 1
        if self._orders.on_message is not None:
            self._orders.on_message(received.number, packed[3])
        self._put(received, packed)
        if received.interrupted is not None:
            self._later(received.interrupted, lambda: self._interrupt(received.number))
        return True

    def _timer_is_first(self, timer_s: float | None, time_s: float) -> bool:
        """Whether to go to a timer; not for deadlines: in the record a busy loop may have missed them."""
        if timer_s is None or timer_s >= time_s:
            return False
        return abs(timer_s - self.cell.host.deadlines.armed_s) > CLOCK_S

    def _put(self, received: Received, packed: Packed) -> None:
        cell, event = self.cell, received.receive.event
        limit_s = event.limit_s or LIMIT_S
        origin = Origin(event.detail)
        entry: Entry
        if received.sent is not None and received.sent.wait_id == received.number:
            future = self._loop.create_future()
            deadline_s = event.time_s + limit_s
            entry = Ask(received.number, origin, cell, packed, event.time_s, deadline_s, future)
            cell.asks[received.number] = entry
        else:
            entry = Told(packed, origin, received.number)
            cell.give(limit_s)
        cell.mailbox.put(entry)

    def _interrupt(self, number: int) -> None:
        if self.cell.run is not None and self.cell.run.cause_id == number:
            self.cell.interrupt(Interruption.LEFT)

    def _complete(self, timer_s: float | None) -> bool:
        position, _, time_s, action = self._pending[0]
        if self._timer_is_first(timer_s, time_s):
            return False
        heapq.heappop(self._pending)
        self._loop.advance_to(time_s)
        self._pass_lives(position)
        action()
        return True

    def _run_out(self, timer_s: float | None, *, idle: bool) -> bool:
        """Nothing is left in the record that could happen now."""
        messages = self._record.messages
        if idle and not self._stopping:
            end, early = self._record.end, self._at < len(messages)
            if early or end is None or end.event.detail != "stopped":
                self._finish(f"as asked, after message {self._orders.until}" if early else "")
            else:
                self._stopping = True
                self._reach(end)
                ending.begin_stop(self.cell, self.clock() + STOP_S)
            return True
        under_way = messages[self._at - 1] if self._at else None
        if under_way is not None and under_way.done is None and self.cell.run is not None:
            self._finish(f"the record ends while message {under_way.number} is handled")
            return True
        if timer_s is None and not self.patience_s(timer_s):
            doing = f"message {under_way.number}" if under_way is not None else "its start"
            self._finish(f"{doing} waits for something that is not in the record")
            return True
        return False

    def _close(self) -> None:
        """Check that all is sent that the record says, up to the message that comes next."""
        messages = self._record.messages
        if self._closed == 0 and self._at == 0 and messages:
            self._checker.over(0, messages[0].receive.position)
        while self._closed < self._at:
            received = messages[self._closed]
            self._closed += 1
            if received.done is not None:
                self._checker.over(received.number, received.done.position)

    def _reach(self, at: At) -> None:
        self._loop.advance_to(at.event.time_s)
        self._pass_lives(at.position)

    def _pass_lives(self, position: int) -> None:
        """Have those below live and end as they did up to there."""
        while self._lives_passed < len(self._lives) and self._lives[self._lives_passed].position <= position:
            event = self._lives[self._lives_passed].event
            self._lives_passed += 1
            ghost: Any = self.cell.host.cells.get(event.actor)  # of ghosts, and of the actor itself
            if ghost is None:
                continue
            if event.kind == "start":
                ghost.incarnation, ghost.phase = event.incarnation, Phase.LIVE
            elif self._comes_back(self._lives_passed - 1):
                ghost.phase = Phase.RESTARTING
            elif event.kind == "end":
                self.cell.host.cells.pop(event.actor, None)
                self.cell.children.pop(ghost.name, None)

    def _comes_back(self, index: int) -> bool:
        """Whether the end there is one that a restart follows."""
        actor = self._lives[index].event.actor
        following = (at.event.kind for at in self._lives[index + 1 :] if at.event.actor == actor)
        return self._lives[index].event.kind == "restart" or next(following, "") == "restart"

    def _later(self, at: At, action: Callable[[], object]) -> None:
        heapq.heappush(self._pending, (at.position, next(self._ties), at.event.time_s, action))

    # What the actor does

    def told(self, origin: Origin, ref: ActorRef[Any], packed: Packed) -> None:
        """Compare a message.

        Raises:
            MailboxFull: as the record says.
        """
        at = self._checker.sent(origin.cause_id, ref, packed, ask=False)
        if at is not None and at.event.msg_id in self._record.full:
            raise MailboxFull(f"{ref} takes no {packed[0].tag} now, as in the record")

    def asked(self, origin: Origin, ask: Ask) -> None:
        """Compare a question, and have it answered at its place in the record.

        Raises:
            AskError: it was refused, as the record says.
        """
        at = self._checker.sent(origin.cause_id, ask.recipient.ref, ask.packed, ask=True)
        if at is None:
            self._finish(f"{ask.tag} is asked of {ask.target}, and the record has no answer")
        elif at.event.kind == "refuse":
            raise _refusal(ask, at.event.detail)
        else:
            self._promise(ask, at.event.msg_id)

    def _promise(self, ask: Ask, number: int) -> None:
        answer, end = self._record.answers.get(number), self._record.wait_ends.get(number)
        if answer is not None:
            self._later(answer, lambda: self._answer(ask, answer))
        elif end is not None and end.event.detail == "answered":
            self.fail(TraceQueryError(f"the answer to message {number} is not in the trace"))
        elif end is not None and end.event.detail == Expired.__name__:
            self._later(end, ask.on_deadline)
        elif end is not None and end.event.detail != "given up":
            self._later(end, lambda: ask.fail(self._outcome(ask.target, end)))

    def _answer(self, ask: Ask, answer: At) -> None:
        packed = packed_of(answer.event, self._orders.rebuild)
        ask.recipient.asks.clear()
        if not ask.future.done():
            ask.future.set_result(packed)

    def _outcome(self, target: str, end: At) -> AskError:
        """The error in which a wait ended."""
        name = end.event.detail
        if name == ActorDown.__name__:
            lives = [at for at in self._record.children[target] if at.position <= end.position]
            reason = next(
                (at.event.detail for at in reversed(lives) if at.event.kind == "end"), "as recorded"
            )
            coming = bool(lives) and lives[-1].event.kind == "restart"
            return ActorDown(target, reason, restarting=coming)
        kind = getattr(errors, name, None)
        if not (isinstance(kind, type) and issubclass(kind, AskError)) or kind is Expired:
            return Expired(f"{end.event.actor} waited for {target}, which ended in {name}")
        return kind(f"as recorded: {name}")

    async def started(self, cell: ReplayedCell, name: str | None, spec: ChildSpec) -> ActorRef[Any]:
        """Start a child that is none, at its place in the record.

        Raises:
            AskError: it did not start, as the record says.
        """
        starts, wanted = self._record.starts, f"{cell.path}/{name}"
        outcome: asyncio.Future[ActorRef[Any]] = self._loop.create_future()
        if not starts or (name is not None and starts[0].event.type != wanted):
            what = spec.actor.__name__ if name is None else wanted
            end = self._record.end
            ended = f": that life had ended by then ({end.event.detail})" if end is not None else ""
            self._finish(f"{what} is started, and the record has no such start{ended}")
            return await outcome
        begin = starts.popleft()
        path = begin.event.type
        end = self._record.wait_ends.get(begin.event.wait_id)
        if end is not None and end.event.detail == "answered":
            self._later(end, partial(_settle, outcome, self.refs.of(path), None))
        elif end is not None:
            self._later(end, partial(_settle, outcome, None, self._outcome(path, end)))
        ref = await outcome
        ghost: Any = Ghost(ref, cell)
        cell.children[ghost.name] = cell.host.cells[path] = ghost
        return ref

    def answered(self, packed: Packed) -> None:
        """Compare an answer."""
        self._checker.answered(self._record.messages[self._at - 1], packed)

    def job_done(self, name: str, publish: Callable[[], object]) -> None:
        """A job has run; its result is known at its place in the record, never if nobody waited so long."""
        cause = self.cell.origin.cause_id
        ends = self._record.job_ends[cause, name]
        if not ends:
            publish()
            return
        end = ends.popleft()
        wait_end = self._record.wait_ends.get(end.event.wait_id)
        left = end.event.detail.startswith("left behind")
        if left or (wait_end is not None and wait_end.event.detail in NEVER_TAKEN):
            self._later(end, _nothing)  # when the clock is there, its deadline is over
        else:
            self._later(end, publish)

    def raised(self, error: BaseException) -> None:
        """A handler has raised, or was ended."""
        if isinstance(error, bdb.BdbQuit):
            self.fail(error)
        elif self.cell.run is None or self.cell.run.interrupted is None:
            self._error = error

    def ended(self, error: BaseException) -> None:
        """The actor has failed."""
        self._error = self._error or error

    def stops_at(self, number: int) -> bool:
        """Whether to stop in the debugger before the handler of this message."""
        return number == self._orders.stop_at


def _nothing() -> None:
    """Only time passes."""


def _settle(outcome: asyncio.Future[Any], result: Any, error: AskError | None) -> None:
    if outcome.done():
        return  # nobody waits any more
    if error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(result)


def _refusal(ask: Ask, detail: str) -> AskError:
    """The error with which a question was refused; the record has its text, or the reason alone."""
    name, _, text = detail.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, AskError) and kind is not ActorDown:
        return kind(text)
    if detail == "the system is closed":
        return errors.SystemClosed(f"the actor system is closed: {ask.target} cannot be asked")
    if detail == "never answers":
        return errors.NotHandled(f"{ask.target} never answers")
    if detail == "mailbox full":
        return MailboxFull(f"{ask.target} has no room for {ask.tag}")
    if (gone := GONE.fullmatch(detail)) is not None:
        return ActorDown(ask.target, gone[1])
    return errors.WaitCycle(detail) if " waits for " in detail else ActorDown(ask.target, "stopping")
