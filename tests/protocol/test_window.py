"""A living system is shown to other processes of the same user, whatever its event loop and its clients do.

Real sockets and threads. Nothing depends on how long anything takes: who blocks does so until it was seen.
"""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorSystem, Context, ProtocolError, on
from actors.living import NotServed, fetch_picture, place, serve_picture, window
from actors.living.looking import Look
from actors.living.place import own_folder, socket_of
from actors.living.window import CLIENTS_MAX, QUESTION_BYTES_MAX
from tests.helpers.cast import Echo, Note, Performer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def _own_temporary_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Not below tmp_path, whose name is too long for sockets; but after it, which is a temporary one, too."""
    del tmp_path
    with tempfile.TemporaryDirectory(prefix="window-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


async def look(path: Path | str, **options: Any) -> dict[str, Any]:
    return await asyncio.to_thread(fetch_picture, path, timeout_s=LIMIT_S, **options)


def connected(path: Path | str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(LIMIT_S)
    client.connect(str(socket_of(path)))
    return client


def answer(client: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


async def test_a_picture_is_asked_for_and_comes(tmp_path: Path) -> None:
    async with ActorSystem("shown") as system:
        await system.spawn(Performer, name="p")
        with serve_picture(system, tmp_path / "run"):
            taken = await look(tmp_path / "run")
            again = await look(tmp_path / "x" / ".." / "run")
            dump = (await look(tmp_path / "run", ask="dump"))["dump"]
    assert (taken["system"], taken["pid"], taken["loop"]["answers"]) == ("shown", os.getpid(), True)
    assert [node["path"] for node in taken["tree"]] == [node["path"] for node in again["tree"]] == ["/p"]
    assert "task of /p:" in dump
    assert "thread MainThread" in dump


async def test_it_is_for_this_user_alone_and_goes_at_the_end(tmp_path: Path) -> None:
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path):
            path = socket_of(tmp_path)
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert list(path.parent.iterdir()) == [path]
        assert list(path.parent.iterdir()) == []
        assert not any(thread.name.endswith("-window") for thread in threading.enumerate())
        with pytest.raises(NotServed, match="nobody serves"):
            await look(tmp_path)
    assert os.listdir(tmp_path) == [], "nothing is written where it was asked for"  # noqa: PTH208 - no waiting


async def test_a_path_of_any_length_can_be_served(tmp_path: Path) -> None:
    path = tmp_path.joinpath(*["a-folder-with-a-long-name" * 4] * 5)
    assert len(str(path)) > 500
    async with ActorSystem() as system:
        with serve_picture(system, path):
            assert (await look(path))["tree"] == []


async def test_another_user_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path):
            with monkeypatch.context() as other:
                other.setattr(window, "peer_uid", lambda _: os.geteuid() + 1)
                with pytest.raises(NotServed):
                    await look(tmp_path)
            assert (await look(tmp_path))["tree"] == []


def test_the_system_tells_who_the_other_side_is() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert place.peer_uid(ours) in {os.geteuid(), None}


def test_a_folder_that_others_may_enter_is_not_used() -> None:
    folder = own_folder()
    folder.chmod(0o755)
    with pytest.raises(PermissionError, match="only this user may enter"):
        own_folder()
    folder.rmdir()
    folder.symlink_to(folder.parent)
    with pytest.raises(PermissionError):
        own_folder()


class Blocker(Actor):
    """Holds the event loop until it was seen to."""

    def __init__(self, seen: threading.Event) -> None:
        self.seen = seen

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        assert self.seen.wait(LIMIT_S)
        return Note()


async def test_a_loop_that_is_blocked_hides_nothing(tmp_path: Path) -> None:
    seen, pictures = threading.Event(), list[dict[str, Any]]()

    def watch() -> None:
        try:
            while not pictures or pictures[-1]["loop"]["actor"] != "/blocker":
                pictures.append(fetch_picture(tmp_path, timeout_s=LIMIT_S))
            pictures.append(fetch_picture(tmp_path, timeout_s=LIMIT_S))
        finally:
            seen.set()

    async with ActorSystem(blocked_after_s=None) as system:
        ref = await system.spawn(Blocker, seen, name="blocker")
        with serve_picture(system, tmp_path):
            watcher = threading.Thread(target=watch)
            watcher.start()
            await system.ask(ref, Echo(), timeout_s=2 * LIMIT_S)
            await asyncio.to_thread(watcher.join, LIMIT_S)
            after = await look(tmp_path)
    *_, first, second = pictures
    for each in (first, second):
        assert each["loop"]["answers"] is False
        assert each["loop"]["place"].startswith("at test_window.py:")
        (node,) = each["tree"]
        assert (node["path"], node["handles"]["type"]) == ("/blocker", "cast.echo")
    assert second["loop"]["silent_s"] > first["loop"]["silent_s"] > 0
    assert after["loop"]["answers"] is True


async def test_a_living_one_is_not_pushed_aside(tmp_path: Path) -> None:
    async with ActorSystem("first") as first, ActorSystem("second") as second:
        with serve_picture(first, tmp_path):
            with pytest.raises(FileExistsError, match="is served by a living process already"):
                await asyncio.to_thread(serve_picture(second, tmp_path).__enter__)
            assert (await look(tmp_path))["system"] == "first"
            assert len(list(own_folder().iterdir())) == 1


def killed_while_serving(path: Path) -> None:
    """A process that is killed with a socket, whose file stays."""
    code = (
        "import asyncio, os, sys, tempfile\n"
        "from actors import ActorSystem\n"
        "from actors.living import serve_picture\n"
        "async def main():\n"
        "    async with ActorSystem() as system:\n"
        "        with serve_picture(system, sys.argv[1]):\n"
        "            os.kill(os.getpid(), 9)\n"
        "tempfile.tempdir = sys.argv[2]\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, path, tempfile.gettempdir()], timeout=60, check=False)
    assert ended.returncode == -9


async def test_what_a_killed_process_has_left_is_replaced(tmp_path: Path) -> None:
    await asyncio.to_thread(killed_while_serving, tmp_path)
    assert socket_of(tmp_path).is_socket()
    with pytest.raises(NotServed):
        await look(tmp_path)
    async with ActorSystem("next") as system:
        with serve_picture(system, tmp_path):
            assert (await look(tmp_path))["system"] == "next"
    assert not socket_of(tmp_path).exists()


async def test_sockets_of_the_dead_do_not_collect(tmp_path: Path) -> None:
    await asyncio.to_thread(killed_while_serving, tmp_path / "a")
    left = socket_of(tmp_path / "a")
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path / "b"):
            assert left.exists(), "it might be about to listen"
        os.utime(left, (time.time() - 3600, time.time() - 3600))
        with serve_picture(system, tmp_path / "b"):
            assert not left.exists()


async def test_clients_that_send_or_read_nothing_harm_nobody(tmp_path: Path) -> None:
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path), ExitStack() as stack:
            for number in range(CLIENTS_MAX - 1):
                client = stack.enter_context(closing(connected(tmp_path)))
                if number % 2:
                    client.sendall(b'{"ask": "picture"}\n')  # and never read
            for _ in range(5):
                assert (await look(tmp_path))["tree"] == []


async def test_there_is_a_limit_to_clients_and_to_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "CLIENT_S", 0.2)
    monkeypatch.setattr(window, "CLIENTS_MAX", 2)
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path), ExitStack() as stack:
            idle = [stack.enter_context(closing(connected(tmp_path))) for _ in range(2)]
            answers = await asyncio.gather(*(asyncio.to_thread(answer, client) for client in idle))
            assert answers == [b"", b""], "their time is over"
            assert (await look(tmp_path))["tree"] == []


@pytest.mark.parametrize(
    "question",
    [b"\n", b"picture\n", b"[" * 900 + b"\n", b'{"ask": 1}\n', b'["picture"]\n', b"\xff\n", b"x" * 4096],
    ids=["empty", "word", "deep", "number", "list", "bytes", "long"],
)
async def test_a_question_that_is_none_is_answered_with_an_error(tmp_path: Path, question: bytes) -> None:
    async with ActorSystem() as system:
        with serve_picture(system, tmp_path):
            with closing(connected(tmp_path)) as client:
                client.sendall(question[: QUESTION_BYTES_MAX + 1])
                assert b'"error": "ask with one line' in await asyncio.to_thread(answer, client)
            with pytest.raises(ProtocolError, match="ask with one line"):
                await look(tmp_path, ask="nothing")


async def test_a_picture_that_fails_is_an_error_and_the_next_may_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Look) -> None:
        raise KeyError("gone")

    async with ActorSystem() as system:
        with serve_picture(system, tmp_path):
            with monkeypatch.context() as broken:
                broken.setattr(Look, "picture", fail)
                with pytest.raises(ProtocolError, match="no picture: KeyError"):
                    await look(tmp_path)
            assert (await look(tmp_path))["tree"] == []
    assert "no picture of actor system" in caplog.text


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"no json\n", "something else than JSON"),
        (b"[1]\n", "something else than an object"),
        (b'{"a": 1}', "cut off"),
        (b'{"a": 1}\n', "of another version: its picture is 'None'"),
        (b'{"format": "actors-picture-9"}\n', "another version.*actors-picture-9"),
    ],
)
async def test_an_answer_that_is_no_picture_is_an_error(tmp_path: Path, said: bytes, text: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_of(tmp_path)))
        listener.listen()

        def say() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(QUESTION_BYTES_MAX)
                client.sendall(said)

        with pytest.raises(ProtocolError, match=text):
            await asyncio.gather(asyncio.to_thread(say), look(tmp_path))


async def test_one_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_of(tmp_path)))
        listener.listen()
        with pytest.raises(TimeoutError, match=r"did not answer within 0\.1 s"):
            await asyncio.to_thread(fetch_picture, tmp_path, timeout_s=0.1)
