"""Shows the picture of a system to other processes of the same user, through a socket, from a thread.

The protocol: a client sends one line, `{"ask": "picture"}` or `{"ask": "dump"}`, gets one line of JSON, and
the connection is over. The answer is the picture, or `{"dump": text}`, or `{"error": text}`. Everything is
bounded: the size of a question, the number of clients, and the time of each, so that a client that sends or
reads nothing is in nobody's way.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
import selectors
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from actors.living.looking import Look
from actors.living.place import is_served, own_folder, peer_uid, socket_of, sweep
from actors.living.story import dump_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.system import ActorSystem

__all__ = ["CLIENTS_MAX", "CLIENT_S", "QUESTION_BYTES_MAX", "Window", "serve_picture"]

LOGGER: Final = logging.getLogger("actors")
QUESTION_BYTES_MAX: Final = 1024
CLIENTS_MAX: Final = 16
# From the connection to the last byte of the answer.
CLIENT_S: Final = 5.0
_JOIN_S: Final = 2.0
_TICK_S: Final = 0.5


@contextmanager
def serve_picture(system: ActorSystem, path: Path | str) -> Iterator[None]:
    """Show a system to other processes of this user, while this is entered.

    Args:
        system: entered. To be left inside: `async with ActorSystem() as system: with serve_picture(...)`.
        path: under which it is asked for, as by `fetch_picture(path)` and `crystalline top path`. Nothing is
            written there, and nothing need be there.

    Raises:
        FileExistsError: a living process serves this path already.
        OSError: there are no Unix sockets here, or none can be made.

    The socket answers also while the event loop is blocked. It is removed at the end.
    """
    window = Window(system, path)
    window.start()
    try:
        yield
    finally:
        window.stop()


class _Client:
    """A connection: first a question comes, then an answer goes."""

    __slots__ = ("answer", "connection", "question", "until_s")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.question = b""
        self.answer: memoryview | None = None
        self.until_s = time.monotonic() + CLIENT_S

    def read(self) -> bool:
        """Take what has come; True when the question is whole, or too long to be one."""
        part = self.connection.recv(QUESTION_BYTES_MAX)
        if not part:
            raise ConnectionAbortedError(errno.ECONNABORTED, "it has gone")
        self.question += part
        return b"\n" in part or len(self.question) > QUESTION_BYTES_MAX

    def write(self) -> bool:
        """Send as much as it takes; True when all is sent."""
        if self.answer is not None:
            self.answer = self.answer[self.connection.send(self.answer) :]
        return not self.answer


class Window:
    """The socket of one system, and the thread behind it; see `serve_picture`."""

    def __init__(self, system: ActorSystem, path: Path | str) -> None:
        self._system = system
        self._what = str(path)
        self._path = socket_of(path)
        self._look = Look(system)
        self._selector = selectors.DefaultSelector()
        self._clients: set[_Client] = set()
        self._stopped = threading.Event()
        self._listener: socket.socket | None = None
        self._inode = 0
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=f"{system.name}-window", daemon=True)

    def start(self) -> None:
        """Begin to serve.

        Raises:
            OSError: as `serve_picture`.
        """
        try:
            self._listener = self._listen()
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._selector.register(self._woken, selectors.EVENT_READ)
            self._thread.start()
        except BaseException as error:
            self._close()
            if isinstance(error, RuntimeError):  # no thread to be had
                raise OSError(errno.EAGAIN, str(error), self._what) from error
            raise

    def stop(self) -> None:
        """Serve no more, and remove the socket."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._wake.send(b"x")
        self._thread.join(_JOIN_S)
        if not self._thread.is_alive():
            self._close()
        self._unlink()

    def _listen(self) -> socket.socket:
        """Bind under another name first: under its own it listens from the first moment on."""
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(errno.EAFNOSUPPORT, "there are no Unix sockets here", self._what)
        sweep(own_folder())
        if is_served(self._path):
            raise FileExistsError(errno.EEXIST, "is served by a living process already", self._what)
        fresh = self._path.with_name(f"{secrets.token_hex(6)}.new")
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(fresh))
            fresh.chmod(0o600)
            listener.listen(CLIENTS_MAX)
            self._inode = fresh.stat().st_ino
            fresh.replace(self._path)
        except BaseException:
            listener.close()
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        return listener

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):  # it has been removed
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()

    def _close(self) -> None:
        for client in self._clients:
            client.connection.close()
        self._clients.clear()
        self._selector.close()
        for each in (self._listener, self._wake, self._woken):
            if each is not None:
                each.close()

    # In the thread

    def _serve(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(_TICK_S):
                if self._stopped.is_set():
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Client):
                    self._go_on(key.data)
            now_s = time.monotonic()
            for client in [client for client in self._clients if client.until_s < now_s]:
                self._drop(client)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone, or there are no more file descriptors
            return
        if len(self._clients) >= CLIENTS_MAX or peer_uid(connection) not in {None, os.geteuid()}:
            connection.close()
            return
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _go_on(self, client: _Client) -> None:
        try:
            if client.answer is None and client.read():
                client.answer = memoryview(self._answer(client.question))
                client.question = b""
                self._selector.modify(client.connection, selectors.EVENT_WRITE, client)
            elif client.answer is not None and client.write():
                self._drop(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        self._selector.unregister(client.connection)
        client.connection.close()

    def _answer(self, question: bytes) -> bytes:
        return json.dumps(self._answer_to(question), default=str).encode() + b"\n"

    def _answer_to(self, question: bytes) -> dict[str, Any]:
        try:
            asked = json.loads(question.partition(b"\n")[0])
            what = asked.get("ask") if isinstance(asked, dict) else None
        except (ValueError, RecursionError):
            what = None
        try:
            if what == "picture":
                return self._look.picture()
            if what == "dump":
                return {"dump": dump_text(self._system)}
        except Exception as error:  # noqa: BLE001 - one picture that fails must not end the window
            LOGGER.warning("no picture of actor system %r: %r", self._system.name, error)
            return {"error": f"no picture: {type(error).__name__}: {error}"}
        return {"error": 'ask with one line: {"ask": "picture"} or {"ask": "dump"}'}
