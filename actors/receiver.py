"""A mailbox for code outside the tree, so that actors can tell it things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from actors import watching
from actors.errors import Expired, SystemClosed
from actors.messages import ActorRef
from actors.notes import of_expiry, with_notes
from actors.waits import OUTSIDE, Origin, Witness

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.delivery import Ask, Entry
    from actors.host import Host
    from actors.mailbox import Mailbox

__all__ = ["Receiver"]


class Receiver:
    """Takes messages from actors; made by `ActorSystem.receiver`.

    Iterating over it yields messages until it is closed, by its owner or by the system's shutdown, and what
    had arrived by then has been taken.

    Attributes:
        ref: where actors send to.
        watched: whose ends are reported here.
        hears: whether it is open.
    """

    incarnation = 0
    takes_asks = False

    def __init__(self, host: Host, path: str, mailbox: Mailbox[Entry]) -> None:
        host.uids += 1
        self.ref: ActorRef[Any] = ActorRef(path, host.uids)
        self.mailbox = mailbox
        self.asks: dict[int, Ask] = {}
        self.watched: list[Cell] = []
        self.hears = True
        self.origin = Origin(path)
        self._host = host
        host.delivery.recipients[path] = self

    def watch(self, ref: ActorRef[Any]) -> None:
        """Receive a `Down` whenever an incarnation of `ref` ends; one at once when nobody lives there now.

        Those need no room: the latest 1,024 wait for their reader, whatever the capacity.

        Raises:
            SystemClosed: the receiver is closed.
        """
        self._host.check_thread()
        if not self.hears:
            raise SystemClosed(f"{self.ref} is closed")
        watching.watch(self._host, self, ref)

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Hear no more of `ref`; what has arrived can still be read."""
        self._host.check_thread()
        watching.unwatch(self._host, self, ref)

    def leave(self, ask_id: int, *, expired: bool = False) -> None:
        """An ask is never handled here, so there is nothing to stop."""

    async def receive(self, *, timeout_s: float) -> Any:
        """Return the next message.

        Raises:
            Expired: none came in time.
            SystemClosed: the receiver is closed and empty.
            RuntimeError: it is read elsewhere at the same time.
        """
        host = self._host
        deadline_s = host.loop.time() + timeout_s
        wait = host.waits.open(OUTSIDE, self.ref.path, "a message", deadline_s, Witness.RECEIVER)
        try:
            arrival = self.mailbox.arrival(self._host.loop)
            try:
                await asyncio.wait({arrival, wait.future}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrival.cancel()
        finally:
            host.waits.close(wait)
        if not len(self.mailbox) and not self.mailbox.closed:
            nothing = Expired(f"{self.ref} received nothing within {timeout_s:g} s")
            raise with_notes(nothing, of_expiry(host.delivery, wait))
        return self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        await self.mailbox.arrival(self._host.loop)  # ends with the system, which closes it
        try:
            return self._take()
        except SystemClosed:
            raise StopAsyncIteration from None

    def _take(self) -> Any:
        entry = self.mailbox.get()
        if entry is None:
            raise SystemClosed(f"{self.ref} is closed")
        if self._host.tracer is not None:
            self._host.tracer.read(self.ref.path, entry)
        return entry.packed[3]

    def close(self) -> None:
        """Take nothing more; what has arrived can still be read. A second call does nothing."""
        self.hears = False
        for target in list(self.watched):
            watching.unwatch(self._host, self, target.ref)
        self.mailbox.close()
        self._host.delivery.recipients.pop(self.ref.path, None)
