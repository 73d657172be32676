"""How messages reach mailboxes and answers reach whoever asked.

One `Delivery` serves one actor system. It admits requests, keeps the table of open asks, and accounts for
every message that could not be delivered. An ask reserves the room for its answer when it is admitted: the
answer completes the ask's wait, never a mailbox (law 6).
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from actors import errors
from actors.errors import (
    ActorDown,
    AskError,
    AskFailed,
    EndlessWait,
    MailboxFull,
    NotHandled,
    Refused,
    SystemClosed,
    WaitCycle,
)
from actors.mailbox import Overflow, Put
from actors.messages import ActorRef, BeginEpoch, Failure, FinishEpoch, schema_of
from actors.notes import of_refusal, with_notes
from actors.waits import Origin, Wait, Witness, clock_of
from actors.wire import Codec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Sequence

    from actors.mailbox import Mailbox
    from actors.tracing import Tracer
    from actors.waits import WaitTable
    from actors.wire import Packed

__all__ = ["Ask", "Delivery", "Entry", "Recipient", "Told"]

RefusedT = TypeVar("RefusedT", bound=AskError)
# To look into an enumeration costs as much as a call: these two are wanted for every message.
MONITOR: Final = Witness.MONITOR
ADMITTED: Final = Put.ADMITTED
FAILURE: Final = schema_of(Failure)
EPITAPHS_MAX: Final = 256
UNREAD_MAX: Final = 1024
# A parent asks each of these at most once at a time, and an epoch must not hang on a mailbox that is full.
RESERVED: Final = frozenset({schema_of(BeginEpoch), schema_of(FinishEpoch)})


class _Letter:
    """What lies in a mailbox: the body of a message, and on whose behalf it came."""

    __slots__ = ()
    packed: Packed

    @property
    def tag(self) -> str:
        """The tag of its message class."""
        return self.packed[0].tag

    @property
    def reserved(self) -> bool:
        """Whether the runtime keeps a place for it."""
        return self.packed[0] in RESERVED


class Told(_Letter):
    """A message that nobody waits for."""

    __slots__ = ("msg_id", "nbytes", "origin", "packed")

    def __init__(self, packed: Packed, origin: Origin, msg_id: int) -> None:
        self.packed = packed
        self.origin = origin
        self.msg_id = msg_id
        self.nbytes = _size(packed) if packed[2] else len(packed[1])


def _size(packed: Packed) -> int:
    nbytes: int = sum(buffer.nbytes for buffer in packed[2])
    return len(packed[1]) + nbytes


class Recipient(Protocol):
    """Whatever has a mailbox."""

    @property
    def ref(self) -> ActorRef[Any]:
        """Its address."""

    @property
    def incarnation(self) -> int:
        """Which life of it."""

    @property
    def mailbox(self) -> Mailbox[Entry]:
        """Where its messages go."""

    @property
    def asks(self) -> dict[int, Ask]:
        """What it has been asked and has not answered."""

    @property
    def takes_asks(self) -> bool:
        """Whether it ever answers."""

    def leave(self, ask_id: int, *, expired: bool = False) -> None:
        """Hear that nobody waits for this answer any more, because its time is over or for another reason."""


class Ask(_Letter, Wait):
    """An ask under way: the message, and the wait for its answer.

    Attributes:
        packed: what is asked.
        nbytes: how large that is.
        recipient: who was asked.
        incarnation: the life of the recipient that began to handle it, 0 before.
    """

    __slots__ = ("incarnation", "nbytes", "packed", "recipient")

    def __init__(
        self,
        ask_id: int,
        origin: Origin,
        recipient: Recipient,
        packed: Packed,
        since_s: float,
        deadline_s: float,
        future: asyncio.Future[Packed],
    ) -> None:
        # As `Wait`, whose constructor is not called: this is the most frequent wait by far.
        if deadline_s - deadline_s != 0.0:  # infinite, or not a number
            raise EndlessWait(f"{origin.name} cannot ask {recipient.ref} without end: deadline {deadline_s}")
        self.wait_id = ask_id
        self.origin = origin
        self.target = recipient.ref.path
        self.reason = packed[0].awaited
        self.since_s = since_s
        self.deadline_s = deadline_s
        self.witness = MONITOR
        self.future = future
        self.recipient = recipient
        self.incarnation = 0
        self.packed = packed
        self.nbytes = _size(packed) if packed[2] else len(packed[1])

    @property
    def msg_id(self) -> int:
        """Its number, as a message and as a wait."""
        return self.wait_id

    @property
    def answered(self) -> bool:
        """Whether the answer is there."""
        return self.future.done() and not self.future.cancelled() and self.future.exception() is None

    @property
    def open(self) -> bool:
        """Whether its deadline still matters: the recipient owes an answer, even if nobody waits any more."""
        return self.wait_id in self.recipient.asks

    def on_deadline(self) -> None:
        """End it in `Expired`, and with it the handler that works on it: its deadline is the same."""
        super().on_deadline()
        self.recipient.leave(self.wait_id, expired=True)


Entry: TypeAlias = Told | Ask


class Delivery:
    """The post office of one actor system."""

    __slots__ = (
        "_ids",
        "clock",
        "codec",
        "dead_letters",
        "epitaphs",
        "loop",
        "messages",
        "open",
        "recipients",
        "tracer",
        "waits",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, waits: WaitTable, tracer: Tracer | None) -> None:
        self.loop = loop
        self.clock = clock_of(loop)
        self.waits = waits
        self.tracer = tracer
        self.codec = Codec()
        self.recipients: dict[str, Recipient] = {}
        self.messages = 0
        self.dead_letters: Counter[str] = Counter()
        self.epitaphs: dict[int, tuple[str, Sequence[str]]] = {}
        self.open = True
        self._ids = waits.ids

    @property
    def asks(self) -> dict[int, Ask]:
        """The asks under way, by number."""
        return {wait.wait_id: wait for wait in self.waits if isinstance(wait, Ask)}

    def remember_end(self, ref: ActorRef[Any], reason: str, story: Sequence[str] = ()) -> None:
        """Keep the reason of an end, and its notes, for whoever asks later; the oldest are forgotten."""
        self.epitaphs[ref.uid] = reason, story
        if len(self.epitaphs) > EPITAPHS_MAX:
            del self.epitaphs[next(iter(self.epitaphs))]

    def gone(self, ref: ActorRef[Any]) -> ActorDown:
        """The error of whoever wants something of an actor that has ended for good."""
        reason, story = self.epitaphs.get(ref.uid, ("no such actor", ()))
        return with_notes(ActorDown(ref.path, reason), story)

    def locate(self, ref: ActorRef[Any]) -> Recipient | None:
        """Return who lives at `ref`, None if it has ended for good."""
        recipient = self.recipients.get(ref.path)
        return recipient if recipient is not None and recipient.ref.uid == ref.uid else None

    def tell(self, origin: Origin, ref: ActorRef[Any], body: Any) -> None:
        """Deliver without an answer. To an actor that is gone, it becomes a dead letter.

        Raises:
            MessageError: `body` cannot travel.
            MailboxFull: there is no room and the policy is `wait` or `fail`. A tell cannot wait.
        """
        packed = self.codec.pack(body)
        self.messages += 1
        entry = Told(packed, origin, next(self._ids))
        recipient = self.recipients.get(ref.path)
        if (
            self.tracer is not None
            or recipient is None
            or recipient.ref.uid != ref.uid
            or recipient.mailbox.put(entry) is not ADMITTED
        ):
            self.post(ref, entry)

    def prepare(self, origin: Origin, body: Any) -> Told:
        """Return a message that is ready to be told, now or later.

        Raises:
            MessageError: `body` cannot travel.
        """
        packed = self.codec.pack(body)
        self.messages += 1
        return Told(packed, origin, next(self._ids))

    def post(self, ref: ActorRef[Any], entry: Told) -> None:
        """Deliver what `prepare` made, see `tell`.

        Raises:
            MailboxFull: as `tell`.
        """
        if self.tracer is not None:
            self.tracer.told(entry, ref.path)
        recipient = self.recipients.get(ref.path)
        if recipient is None or recipient.ref.uid != ref.uid:
            self.dead_letter(entry, "no such actor")
        elif (put := recipient.mailbox.put(entry)) is not ADMITTED:
            self._not_admitted(recipient, entry, put)

    def _not_admitted(self, recipient: Recipient, entry: Told, put: Put) -> None:
        """Do with a tell what the policy of the mailbox says."""
        if put is Put.FULL and self.tracer is not None:
            self._trace_full(recipient, entry)
        if put is Put.FULL and recipient.mailbox.overflow is Overflow.DROP_OLDEST:
            put = self._replace_oldest(recipient, entry)
        if put is Put.FULL:
            self.dead_letter(entry, "mailbox full")
            full = f"{recipient.ref} holds {len(recipient.mailbox)} messages and takes no {entry.tag} now"
            raise self._explained(MailboxFull(full), entry.origin, recipient.ref)
        if put is Put.CLOSED:
            self.dead_letter(entry, "actor stopping")

    def post_or_drop(self, ref: ActorRef[Any], entry: Told) -> None:
        """Deliver what `prepare` made; what does not fit is a dead letter and no error."""
        with contextlib.suppress(MailboxFull):
            self.post(ref, entry)

    def tell_system(self, origin: Origin, recipient: Recipient, body: Any) -> None:
        """Deliver one of the runtime's own messages to the system lane, which always has room."""
        entry = self.prepare(origin, body)
        if self.tracer is not None:
            self.tracer.told(entry, recipient.ref.path)
        recipient.mailbox.put_system(entry)
        if not recipient.takes_asks:  # an actor reads on its own; who owns a receiver may have forgotten it
            for unread in recipient.mailbox.trim_system(UNREAD_MAX):
                self.dead_letter(unread, "never read")

    def begin_ask(self, origin: Origin, ref: ActorRef[Any], body: Any, deadline_s: float) -> Ask:
        """Admit an ask; whoever calls this must `close` it.

        Raises:
            MessageError: `body` cannot travel.
            ActorDown: nobody lives at `ref`, or it is stopping.
            MailboxFull: no room, and the policy is `fail`.
            WaitCycle: the recipient waits, directly or not, for whoever asks.
            SystemClosed: the system is shutting down.
            EndlessWait: the deadline is not finite.
        """
        recipient = self.recipients.get(ref.path)
        if not self.open or recipient is None or recipient.ref.uid != ref.uid:
            raise self._nobody(origin, ref, body)
        packed = self.codec.pack(body)
        if not recipient.takes_asks:
            self._refuse(origin, packed[0].tag, "never answers")
            never = NotHandled(f"{ref} takes messages for code outside the tree, and never answers")
            raise self._explained(never, origin, ref)
        # Code outside the tree is nobody's target, so that it can close no circle.
        if origin.incarnation and not self.waits.idle(ref.path):
            self._check_cycle(origin, ref, packed[0].tag)
        ask_id, future = next(self._ids), self.loop.create_future()
        ask = Ask(ask_id, origin, recipient, packed, self.clock(), deadline_s, future)
        self.messages += 1
        self.waits.add(ask)
        recipient.asks[ask_id] = ask
        if (put := recipient.mailbox.put(ask)) is not ADMITTED:
            self._admit_late(ask, put)
        elif self.tracer is not None:
            self.tracer.asked(ask)
        return ask

    def _admit_late(self, ask: Ask, put: Put) -> None:
        """Admit an ask that found no room, if that can be, and close it if it cannot."""
        self.waits.trace(ask)
        if put is Put.FULL and self.tracer is not None:
            self._trace_full(ask.recipient, ask)
        try:
            self._admit(ask, put)
        except BaseException:
            self.close(ask)
            raise
        if self.tracer is not None:
            self.tracer.emit(
                "send",
                ask.origin.name,
                ask.origin.incarnation,
                ask.wait_id,
                ask.origin.cause_id,
                ask.tag,
                ask.target,
                state=ask.origin.state,
                size=ask.nbytes,
                wait_id=ask.wait_id,
                limit_s=ask.deadline_s - ask.since_s,
                payload=self.tracer.payload(ask.packed),
            )

    def _nobody(self, origin: Origin, ref: ActorRef[Any], body: Any) -> AskError:
        """The error of an ask that reaches nobody; the trace has it, too (law 10)."""
        tag = schema_of(type(body)).tag
        if not self.open:
            self._refuse(origin, tag, "the system is closed")
            closed = SystemClosed(f"the actor system is closed: {ref} cannot be asked")
            return self._explained(closed, origin, ref)
        gone = self.gone(ref)
        self._refuse(origin, tag, f"{ref} is gone: {gone.reason}")
        return self._explained(gone, origin, ref)

    def _check_cycle(self, origin: Origin, ref: ActorRef[Any], tag: str) -> None:
        path = self.waits.path(ref.path, origin.name)
        if path is not None:
            story = f"{origin.name} cannot wait for {ref}: " + "; ".join(map(str, path))
            self._refuse(origin, tag, f"WaitCycle: {story}")
            raise self._explained(WaitCycle(story), origin, ref)

    def _admit(self, ask: Ask, put: Put) -> None:
        """Do with an ask that found no room what the policy of the mailbox says."""
        recipient = ask.recipient
        mailbox = recipient.mailbox
        if put is Put.FULL and ask.reserved:
            mailbox.put_reserved(ask)
            return
        if put is Put.FULL and mailbox.overflow is Overflow.DROP_OLDEST:
            put = self._replace_oldest(recipient, ask)
        if put is Put.CLOSED:
            self._refuse(ask.origin, ask.tag, f"{recipient.ref} is stopping", ask.wait_id)
            raise self._explained(ActorDown(recipient.ref.path, "stopping"), ask.origin, recipient.ref)
        if put is Put.FULL and mailbox.overflow is Overflow.WAIT:
            admitted = self.loop.create_future()
            mailbox.queue_for_room(ask, admitted)
            # An ask that ends while it still waits for room gives up its place.
            ask.future.add_done_callback(lambda _: admitted.cancel())
        elif put is Put.FULL:
            self._refuse(ask.origin, ask.tag, "mailbox full", ask.wait_id)
            full = f"{recipient.ref} holds {len(mailbox)} messages: no room for {ask.tag}"
            raise self._explained(MailboxFull(full), ask.origin, recipient.ref)

    def close(self, ask: Ask) -> None:
        """Forget an ask; if it was not answered the recipient stops working on it."""
        ask_id, recipient = ask.wait_id, ask.recipient
        self.waits.close(ask)
        if recipient.asks.pop(ask_id, None) is not None:
            recipient.leave(ask_id)

    def open_answer(self, ask: Ask, packed: Packed) -> Any:
        """Return the message of an answer.

        Raises:
            AskFailed, Refused: the answer is an error.
        """
        if packed[0] is not FAILURE:
            return packed[3]
        body: Failure = packed[3]
        if body.refused:
            refusal: type[Exception] = getattr(errors, body.error_type, Refused)
            raise with_notes(refusal(body.error_text), body.notes)
        failed = AskFailed(ask.target, body.error_type, body.error_text, body.traceback_text)
        with_notes(failed, body.notes)
        if body.traceback_text:
            failed.add_note(f"in {ask.target}: {body.traceback_text.rstrip()}")
        raise failed

    async def ask_all(
        self, origin: Origin, asks: Iterable[tuple[ActorRef[Any], Any]], deadline_s: float
    ) -> list[Any]:
        """Ask many at once; return for each, in order, its answer or the `AskError` in which it ended.

        Raises:
            MessageError: a message cannot travel; the other asks are given up.
        """
        begun: deque[Ask | AskError] = deque()
        outcomes: list[Any] = []
        try:
            for ref, body in asks:
                try:
                    begun.append(self.begin_ask(origin, ref, body, deadline_s))
                except AskError as error:
                    begun.append(error)
            while begun:
                ask = begun[0]
                try:
                    outcomes.append(self.open_answer(ask, await ask.future) if isinstance(ask, Ask) else ask)
                except AskError as error:
                    outcomes.append(error)
                begun.popleft()
                if isinstance(ask, Ask):
                    self.close(ask)
        finally:
            for ask in begun:
                if isinstance(ask, Ask):
                    self.close(ask)
        return outcomes

    def answer(self, origin: Origin, ask: Ask, body: Any) -> bool:
        """Answer an ask; a `Failure` is an error. Late, duplicate and stale answers become dead letters.

        Args:
            origin: who answers, while handling the ask.
            ask: what is answered.
            body: the answer.

        Returns:
            Whether the trace says now that the handler has ended.

        Raises:
            MessageError: `body` cannot travel.
        """
        packed = self.codec.pack(body)
        entry_id = ask.wait_id
        if packed[0] is FAILURE:
            self.trace_error(origin, entry_id, body.error_type, body.error_text)
        if ask.incarnation != origin.incarnation or ask.future.done():
            self._drop(packed[0].tag, "late reply", origin, entry_id)
        elif self.clock() > ask.deadline_s:  # the loop was blocked: late is late all the same
            self.waits.expire(ask)
            self._drop(packed[0].tag, "late reply", origin, entry_id)
        else:
            ask.recipient.asks.pop(entry_id, None)
            ask.future.set_result(packed)
            if self.tracer is not None:
                nbytes = _size(packed) if packed[2] else len(packed[1])
                self.tracer.answered(origin, ask, packed, nbytes)
                return True
        return False

    def dead_letter(self, entry: Entry, reason: str, origin: Origin | None = None) -> None:
        """Account for a message that nobody will handle; by default its sender is where that happened."""
        self._drop(entry.tag, reason, origin or entry.origin, entry.msg_id)

    def _drop(self, tag: str, reason: str, origin: Origin, msg_id: int) -> None:
        self.dead_letters[reason] += 1
        if self.tracer is not None:
            self._trace("drop", origin, msg_id, tag, reason)

    def _replace_oldest(self, recipient: Recipient, entry: Entry) -> Put:
        """Drop the oldest messages until the new one has room."""
        put = Put.FULL
        while put is Put.FULL and (oldest := recipient.mailbox.pop_oldest()) is not None:
            self.dead_letter(oldest, "dropped as the oldest", entry.origin)
            if isinstance(oldest, Ask):
                dropped = MailboxFull(f"{recipient.ref} dropped it to make room for a newer message")
                oldest.fail(self._explained(dropped, oldest.origin, recipient.ref))
            put = recipient.mailbox.put(entry)
        return put

    def trace_error(self, origin: Origin, msg_id: int, error_type: str, story: str) -> None:
        """Record that a handler has failed, or that an actor has refused what it was sent."""
        if self.tracer is not None:
            self._trace("error", origin, msg_id, error_type, story)

    def _trace_full(self, recipient: Recipient, entry: Entry) -> None:
        fate = {Overflow.WAIT: "asks wait for room", Overflow.DROP_OLDEST: "the oldest are dropped"}
        what = fate.get(recipient.mailbox.overflow, "it is refused")
        story = f"{recipient.ref.path} holds {len(recipient.mailbox)} messages: {what}"
        self._trace("full", entry.origin, entry.msg_id, entry.tag, story)

    def _explained(self, error: RefusedT, origin: Origin, ref: ActorRef[Any]) -> RefusedT:
        """Add to a refusal how its recipient stands, and on whose behalf it was asked."""
        return with_notes(error, of_refusal(self, origin, ref.path))

    def _refuse(self, origin: Origin, tag: str, why: str, msg_id: int = 0) -> None:
        if self.tracer is not None:
            self._trace("refuse", origin, msg_id, tag, why)

    def _trace(self, kind: str, origin: Origin, msg_id: int, tag: str, detail: str) -> None:
        if self.tracer is not None:
            self.tracer.emit(
                kind,
                origin.name,
                origin.incarnation,
                msg_id,
                origin.cause_id,
                tag,
                detail,
                state=origin.state,
            )
