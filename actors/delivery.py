"""How messages reach mailboxes and answers reach whoever asked.

One `Delivery` serves one actor system. It admits requests, keeps the table of open asks, and accounts for
every message that could not be delivered. An ask reserves the room for its answer when it is admitted: the
answer completes the ask's wait, never a mailbox (law 6).
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from actors import errors
from actors.errors import (
    ActorDown,
    AskError,
    AskFailed,
    MailboxFull,
    NotHandled,
    ProtocolError,
    Refused,
    SystemClosed,
    WaitCycle,
)
from actors.mailbox import Overflow, Put
from actors.messages import ActorRef, Failure, schema_of
from actors.waits import Wait, Witness
from actors.wire import Codec, Envelope, Frame, Kind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from actors.mailbox import Mailbox
    from actors.tracing import Tracer
    from actors.waits import WaitTable

__all__ = ["Ask", "Delivery", "Entry", "Origin", "Recipient"]


class Entry:
    """What lies in a mailbox: a frame, and the number under which its answer is expected (0: none is)."""

    __slots__ = ("ask_id", "frame", "msg_id", "tag")

    def __init__(self, frame: Frame, tag: str, ask_id: int = 0, msg_id: int = 0) -> None:
        self.frame = frame
        self.tag = tag
        self.ask_id = ask_id
        self.msg_id = msg_id or ask_id


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

    def leave(self, ask_id: int) -> None:
        """Hear that nobody waits for this answer any more."""


class Origin:
    """On whose behalf something is sent.

    Attributes:
        name: path of the actor, or a name for code outside the tree.
        incarnation: of that actor, 0 outside.
        cause_id: the message that it is handling, 0 for none.
    """

    __slots__ = ("cause_id", "incarnation", "name")

    def __init__(self, name: str, incarnation: int = 0, cause_id: int = 0) -> None:
        self.name = name
        self.incarnation = incarnation
        self.cause_id = cause_id


class Ask:
    """An ask under way.

    Attributes:
        ask_id: its message id.
        recipient: who was asked.
        incarnation: the life of the recipient that began to handle it, 0 before.
        wait: ends when the ask ends.
    """

    __slots__ = ("ask_id", "incarnation", "recipient", "wait")

    def __init__(self, ask_id: int, recipient: Recipient, wait: Wait) -> None:
        self.ask_id = ask_id
        self.recipient = recipient
        self.incarnation = 0
        self.wait = wait


class Delivery:
    """The post office of one actor system."""

    def __init__(self, loop: asyncio.AbstractEventLoop, waits: WaitTable, tracer: Tracer | None) -> None:
        self.loop = loop
        self.waits = waits
        self.tracer = tracer
        self.codec = Codec()
        self.recipients: dict[str, Recipient] = {}
        self.asks: dict[int, Ask] = {}
        self.counts: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.open = True
        self._ids = itertools.count(1)

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
        self.post(origin, ref, self.prepare(origin, ref, body))

    def prepare(self, origin: Origin, ref: ActorRef[Any], body: Any) -> Entry:
        """Return a message that is ready to be told, now or later.

        Raises:
            MessageError: `body` cannot travel.
        """
        msg_id = next(self._ids)
        frame = self._frame(Kind.TELL, origin, ref, msg_id, 0, body)
        return Entry(frame, schema_of(type(body)).tag, msg_id=msg_id)

    def post(self, origin: Origin, ref: ActorRef[Any], entry: Entry) -> None:
        """Deliver what `prepare` made, see `tell`.

        Raises:
            MailboxFull: as `tell`.
        """
        if self.tracer is not None:
            self._trace("send", origin, entry.msg_id, entry.tag, ref.path)
        recipient = self.locate(ref)
        if recipient is None:
            self.dead_letter(entry.tag, "no such actor", origin, entry.msg_id)
            return
        put = recipient.mailbox.put(entry)
        if put is Put.FULL and recipient.mailbox.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest(recipient, origin)
            put = recipient.mailbox.put(entry)
        if put is Put.FULL:
            self.dead_letter(entry.tag, "mailbox full", origin, entry.msg_id)
            raise MailboxFull(f"{ref} holds {len(recipient.mailbox)} messages and takes no {entry.tag} now")
        if put is Put.CLOSED:
            self.dead_letter(entry.tag, "actor stopping", origin, entry.msg_id)

    def post_or_drop(self, origin: Origin, ref: ActorRef[Any], entry: Entry) -> None:
        """Deliver what `prepare` made; what does not fit is a dead letter and no error."""
        with contextlib.suppress(MailboxFull):
            self.post(origin, ref, entry)

    def tell_system(self, origin: Origin, recipient: Recipient, body: Any) -> None:
        """Deliver one of the runtime's own messages to the system lane, which always has room."""
        entry = self.prepare(origin, recipient.ref, body)
        if self.tracer is not None:
            self._trace("send", origin, entry.msg_id, entry.tag, recipient.ref.path)
        recipient.mailbox.put_system(entry)

    def begin_ask(self, origin: Origin, ref: ActorRef[Any], body: Any, deadline_s: float) -> Ask:
        """Admit an ask; whoever calls this must `finish_ask` it.

        Raises:
            MessageError: `body` cannot travel.
            ActorDown: nobody lives at `ref`, or it is stopping.
            MailboxFull: no room, and the policy is `fail`.
            WaitCycle: the recipient waits, directly or not, for whoever asks.
            SystemClosed: the system is shutting down.
        """
        if not self.open:
            raise SystemClosed(f"the actor system is closed: {ref} cannot be asked")
        recipient = self.locate(ref)
        if recipient is None:
            raise ActorDown(ref.path, "no such actor")
        tag = schema_of(type(body)).tag
        if not recipient.takes_asks:
            self._refuse(origin, tag, "never answers")
            raise NotHandled(f"{ref} takes messages for code outside the tree, and never answers")
        # Code outside the tree is nobody's target, so that it can close no circle.
        if origin.incarnation and (path := self.waits.path(ref.path, origin.name)) is not None:
            self._refuse(origin, tag, f"{ref} waits for {origin.name}")
            raise WaitCycle(f"{origin.name} cannot wait for {ref}: " + "; ".join(map(str, path)))
        ask_id = next(self._ids)
        remaining_ms = max(0, round((deadline_s - self.loop.time()) * 1000))
        frame = self._frame(Kind.ASK, origin, ref, ask_id, remaining_ms, body)
        wait = self.waits.open(
            origin.name,
            ref.path,
            f"reply to {tag}",
            deadline_s,
            Witness.MONITOR,
            incarnation=origin.incarnation,
            cause_id=origin.cause_id,
        )
        ask = Ask(ask_id, recipient, wait)
        self.asks[ask_id] = recipient.asks[ask_id] = ask
        try:
            self._admit(ask, Entry(frame, tag, ask_id), origin)
        except BaseException:
            self._close(ask)
            raise
        return ask

    def _admit(self, ask: Ask, entry: Entry, origin: Origin) -> None:
        recipient = ask.recipient
        put = recipient.mailbox.put(entry)
        if put is Put.FULL and recipient.mailbox.overflow is Overflow.DROP_OLDEST:
            self._drop_oldest(recipient, origin)
            put = recipient.mailbox.put(entry)
        if put is Put.CLOSED:
            raise ActorDown(recipient.ref.path, "stopping")
        if put is Put.FULL:
            if recipient.mailbox.overflow is Overflow.FAIL:
                self._refuse(origin, entry.tag, "mailbox full")
                raise MailboxFull(f"{recipient.ref} holds {len(recipient.mailbox)} messages, its capacity")
            admitted = self.loop.create_future()
            recipient.mailbox.queue_for_room(entry, admitted)
            # An ask that ends while it still waits for room gives up its place.
            ask.wait.future.add_done_callback(lambda _: admitted.cancel())
        if self.tracer is not None:
            self._trace("send", origin, ask.ask_id, entry.tag, recipient.ref.path)

    async def finish_ask(self, ask: Ask) -> Any:
        """Wait for the answer and return its message.

        Raises:
            AskFailed, ActorDown, Expired, Refused: the other ways in which an ask ends.

        Cancelling it tells the recipient to stop working on the ask.
        """
        try:
            frame = await ask.wait.future
        finally:
            self._close(ask)
        try:
            envelope = self.codec.decode(frame)
        except ProtocolError as error:  # an answer that its own class refuses
            raise AskFailed(ask.recipient.ref.path, type(error).__name__, str(error)) from error
        return self._open_answer(ask, envelope)

    async def ask_all(
        self, origin: Origin, asks: Iterable[tuple[ActorRef[Any], Any]], deadline_s: float
    ) -> list[Any]:
        """Ask many at once; return for each, in order, its answer or the `AskError` in which it ended.

        Raises:
            MessageError: a message cannot travel; the other asks are given up.
        """
        begun: list[Ask | AskError] = []
        outcomes: list[Any] = []
        try:
            for ref, body in asks:
                try:
                    begun.append(self.begin_ask(origin, ref, body, deadline_s))
                except AskError as error:
                    begun.append(error)
            for ask in begun:
                try:
                    outcomes.append(await self.finish_ask(ask) if isinstance(ask, Ask) else ask)
                except AskError as error:
                    outcomes.append(error)
        finally:
            self._drop(ask for ask in begun if isinstance(ask, Ask))
        return outcomes

    def _drop(self, asks: Iterable[Ask]) -> None:
        """Give up those asks that are still open."""
        for ask in asks:
            if ask.ask_id in self.asks:
                self._close(ask)

    def _close(self, ask: Ask) -> None:
        answered = ask.wait.future.done() and not ask.wait.future.cancelled()
        self.waits.close(ask.wait)
        del self.asks[ask.ask_id]
        if ask.recipient.asks.pop(ask.ask_id, None) is not None and not (
            answered and ask.wait.future.exception() is None
        ):
            ask.recipient.leave(ask.ask_id)

    def _open_answer(self, ask: Ask, envelope: Envelope) -> Any:
        body = envelope.body
        if envelope.kind != Kind.FAILURE:
            return body
        assert isinstance(body, Failure), body  # noqa: S101 - made by `fail` below
        if body.refused:
            refusal: type[Exception] = getattr(errors, body.error_type, Refused)
            raise refusal(body.error_text)
        failed = AskFailed(ask.recipient.ref.path, body.error_type, body.error_text, body.traceback_text)
        if body.traceback_text:
            failed.add_note(f"in {ask.recipient.ref}: {body.traceback_text.rstrip()}")
        raise failed

    def reply(self, recipient: Recipient, ask_id: int, incarnation: int, body: Any) -> None:
        """Answer an ask. Late, duplicate and stale answers become dead letters.

        Raises:
            MessageError: `body` cannot travel.
        """
        self._answer(Kind.REPLY, recipient, ask_id, incarnation, body)

    def fail(self, recipient: Recipient, ask_id: int, incarnation: int, failure: Failure) -> None:
        """Answer an ask with an error."""
        self._answer(Kind.FAILURE, recipient, ask_id, incarnation, failure)

    def _answer(self, kind: Kind, recipient: Recipient, ask_id: int, incarnation: int, body: Any) -> None:
        origin = Origin(recipient.ref.path, incarnation, ask_id)
        tag = schema_of(type(body)).tag
        ask = self.asks.get(ask_id)
        if ask is None or ask.incarnation != incarnation or not ask.wait.open:
            self.dead_letter(tag, "late reply", origin, ask_id)
            return
        if self.loop.time() > ask.wait.deadline_s:  # the loop was blocked: late is late all the same
            ask.wait.on_deadline()
            self.dead_letter(tag, "late reply", origin, ask_id)
            return
        frame = self.codec.encode(kind, ask.wait.waiter, origin.name, ask_id, ask_id, incarnation, 0, body)
        recipient.asks.pop(ask_id, None)
        ask.wait.succeed(frame)
        if self.tracer is not None:
            self._trace("reply", origin, ask_id, tag, ask.wait.waiter)

    def dead_letter(self, tag: str, reason: str, origin: Origin, msg_id: int = 0) -> None:
        """Account for a message that nobody will handle; `msg_id` is its number."""
        self.dead_letters[reason] += 1
        if self.tracer is not None:
            self._trace("drop", origin, msg_id, tag, reason)

    def _drop_oldest(self, recipient: Recipient, origin: Origin) -> None:
        entry = recipient.mailbox.pop_oldest()
        if entry is None:
            return
        self.dead_letter(entry.tag, "dropped as the oldest", origin, entry.msg_id)
        ask = self.asks.get(entry.ask_id)
        if ask is not None:
            ask.wait.fail(MailboxFull(f"{recipient.ref} dropped it to make room for a newer message"))

    def _refuse(self, origin: Origin, tag: str, why: str) -> None:
        if self.tracer is not None:
            self._trace("refuse", origin, 0, tag, why)

    def _frame(
        self, kind: Kind, origin: Origin, ref: ActorRef[Any], msg_id: int, remaining_ms: int, body: Any
    ) -> Frame:
        self.counts["messages"] += 1
        return self.codec.encode(
            kind, ref.path, origin.name, msg_id, origin.cause_id, origin.incarnation, remaining_ms, body
        )

    def _trace(self, kind: str, origin: Origin, msg_id: int, tag: str, detail: str) -> None:
        assert self.tracer is not None  # noqa: S101 - every caller has looked
        self.tracer.emit(
            kind,
            origin.name,
            origin.incarnation,
            msg_id=msg_id,
            cause_id=origin.cause_id,
            type_=tag,
            detail=detail,
        )
