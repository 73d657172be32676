"""What stands in for the rest of the system: a post office, children and threads that follow a record.

The cell of the actor, its lifecycle, its deadlines and its context are the runtime's own.
"""

from __future__ import annotations

import bdb
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from actors.cell import Cell
from actors.delivery import Ask, Delivery, Told
from actors.exits import pass_on
from actors.host import Phase
from actors.jobs import JobToken
from actors.lifecycle import Lifecycle
from actors.mailbox import Mailbox

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from actors.actor import Actor
    from actors.context import Context
    from actors.delivery import Entry
    from actors.epochs import Scope
    from actors.host import ChildSpec, Host, Run
    from actors.messages import ActorRef
    from actors.replaying.script import Script
    from actors.waits import Origin, Wait, WaitTable

__all__ = ["Ghost", "InlineJobs", "ReplayedCell", "ReplayedDelivery"]

P = ParamSpec("P")
R = TypeVar("R")


class Ghost:
    """Somebody in the tree who is not there: the parent, a child, or whoever was told or asked."""

    takes_asks = True
    hears = False
    ended = True  # so that nobody tries to end it

    def __init__(self, ref: ActorRef[Any], parent: Any = None, incarnation: int = 1) -> None:
        self.ref = ref
        self.path = ref.path
        self.name = ref.path.rpartition("/")[2]
        self.parent = parent
        self.incarnation = incarnation
        self.phase = Phase.LIVE
        self.lifecycle = Lifecycle()
        self.scope: Scope | None = None
        self.depth = ref.path.count("/")
        self.children: dict[str, Any] = {}
        self.asks: dict[int, Ask] = {}
        self.mailbox: Mailbox[Entry] = Mailbox()

    def is_below(self, other: object) -> bool:
        """Whether `other` is its parent."""
        return self.parent is other

    def leave(self, ask_id: int, *, expired: bool = False) -> None:
        """Nobody is there to stop working."""

    def wait_for_end(self, wait: Wait) -> None:
        """Whoever waits goes on: in the record it had ended."""
        wait.succeed(None)

    def fail_from_child(self, reason: str) -> None:
        """Nobody is there to fail."""


class ReplayedDelivery(Delivery):
    """A post office in which everything that is sent is compared with the record, and answered from it."""

    __slots__ = ("script",)

    def __init__(self, loop: asyncio.AbstractEventLoop, waits: WaitTable, script: Script) -> None:
        super().__init__(loop, waits, None)
        self.script = script

    def locate(self, ref: ActorRef[Any]) -> Any:
        """Somebody, wherever: who is told may be anyone."""
        return Ghost(ref)

    def tell(self, origin: Origin, ref: ActorRef[Any], body: Any) -> None:
        """Compare with the record; see `Delivery.tell`."""
        self.script.told(origin, ref, self.codec.pack(body))

    def post(self, ref: ActorRef[Any], entry: Told) -> None:
        """Compare with the record; see `Delivery.post`."""
        self.script.told(entry.origin, ref, entry.packed)

    def tell_system(self, origin: Origin, recipient: Any, body: Any) -> None:
        """Compare with the record; see `Delivery.tell_system`."""
        self.script.told(origin, recipient.ref, self.codec.pack(body))

    def begin_ask(self, origin: Origin, ref: ActorRef[Any], body: Any, deadline_s: float) -> Ask:
        """Compare with the record, and promise the recorded answer.

        Raises:
            AskError: as the record says.
        """
        packed = self.codec.pack(body)
        recipient: Any = Ghost(ref)
        ask_id, future = next(self.waits.ids), self.loop.create_future()
        ask = Ask(ask_id, origin, recipient, packed, self.clock(), deadline_s, future)
        self.script.asked(origin, ask)
        self.waits.add(ask)
        return ask

    def answer(self, origin: Origin, ask: Ask, body: Any) -> bool:  # noqa: ARG002 - as the post office has it
        """Compare an answer with the record."""
        packed = self.codec.pack(body)
        ask.recipient.asks.pop(ask.wait_id, None)
        if not ask.future.done():
            ask.future.set_result(packed)
        self.script.answered(packed)
        return False

    def dead_letter(self, entry: Entry, reason: str, origin: Origin | None = None) -> None:
        """Nobody counts them."""


class ReplayedCell(Cell):
    """The cell of the actor that is played again."""

    __slots__ = ("script",)

    def __init__(self, host: Host, parent: Any, name: str, spec: ChildSpec, script: Script) -> None:
        super().__init__(host, parent, name, spec, Mailbox(capacity=1 << 30))
        self.script = script

    def give(self, limit_s: float) -> None:
        """Give the handler of the message that comes next so many seconds."""
        self.spec = replace(self.spec, handler_timeout_s=limit_s)

    async def spawn_child(
        self,
        name: str | None,
        spec: ChildSpec,
        mailbox: Mailbox[Entry],  # noqa: ARG002 - as the cell has it
        deadline_s: float,  # noqa: ARG002 - the same
    ) -> ActorRef[Any]:
        """Have a child that is none, as the record says."""
        return await self.script.started(self, name, spec)

    def watch(self, ref: ActorRef[Any]) -> None:
        """Its end is in the record."""

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Its end is not in the record."""

    async def stop_below(self, target: Cell, deadline_s: float) -> None:
        """It ends as the record says."""

    def _begin(
        self, actor: Actor, entry: Entry, ctx: Context, task: asyncio.Task[None]
    ) -> tuple[Run, Coroutine[Any, Any, Any]] | None:
        begun = super()._begin(actor, entry, ctx, task)
        if begun is not None and self.script.stops_at(entry.msg_id):
            run, call = begun
            return run, _stopped(call, actor, entry.packed[3], ctx)
        return begun

    def _survives(self, run: Run, entry: Entry, error: BaseException) -> bool:
        pass_on(error, self.host.loop)
        self.script.raised(error)
        return super()._survives(run, entry, error)

    def _log(self, error: BaseException) -> None:
        self.script.ended(error)


async def _stopped(call: Coroutine[Any, Any, Any], actor: Actor, message: Any, ctx: Context) -> Any:  # noqa: ARG001 - to be looked at
    """Stop in the debugger: `step` goes into the handler of `message`."""
    try:
        breakpoint()  # noqa: T100 - what was asked for
        return await call
    finally:
        call.close()  # who leaves the debugger by `quit` never comes to it


class InlineJobs:
    """Runs jobs at once, in the thread of whoever asks, and has their ends wait for the record's."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def token(self, time_s: float) -> JobToken:
        """A token on the clock of the record."""
        return JobToken(time_s, self._script.clock)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a job; its result is there when the record says so."""
        future: Future[R] = Future()
        future.set_running_or_notify_cancel()
        name = getattr(fn, "__qualname__", repr(fn))
        try:
            result = fn(*args, **kwargs)
        except (KeyboardInterrupt, bdb.BdbQuit):
            raise
        except BaseException as error:  # noqa: BLE001 - the job's failure, as in a thread
            self._script.job_done(name, partial(future.set_exception, error))
        else:
            self._script.job_done(name, partial(future.set_result, result))
        return future

    def abandon(self, future: Future[Any]) -> bool:  # noqa: ARG002 - as executors have it
        """Nothing is left behind: it has ended."""
        return False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        """There is nothing to end."""

    def statistics(self) -> dict[str, int]:
        """No job is ever at work when somebody looks."""
        return {"queued": 0, "running": 0, "abandoned": 0, "threads": 0}

    def stacks(self) -> dict[str, str]:
        """Likewise."""
        return {}

    def under_way(self) -> list[Future[Any]]:
        """Likewise."""
        return []
