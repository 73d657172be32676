"""SIGUSR1 writes tree, waits and all stacks to standard error and trace; also of a loop that is blocked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from actors import ActorSystem
from actors.living import NotServed, dump_on_signal, fetch_picture
from actors.tracing import read_trace
from tests.helpers.command import LIMIT_S, TINY, environment, start

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

FOR_EVER = (*TINY, "--epochs", "100000", "--save-every", "0")
# An actor that holds the event loop until the process is killed.
BLOCKED = """
import asyncio, sys
from actors import Actor, ActorSystem, Request, message, on
from actors.living import dump_on_signal

@message("dump.hold")
class Hold(Request[None]):
    pass

class Holder(Actor):
    @on(Hold)
    async def hold(self, msg, ctx):
        print("holding", flush=True)
        while True:
            pass

async def main():
    async with ActorSystem("held") as system:
        with dump_on_signal(system):
            holder = await system.spawn(Holder, name="holder")
            await system.ask(holder, Hold(), timeout_s=100.0)

asyncio.run(main())
"""


def read_until(stream: object, text: str) -> str:
    """All lines up to the one with a text."""
    found = []
    for line in stream:  # type: ignore[attr-defined]  # a pipe, read as text
        found.append(line)
        if text in line:
            return "".join(found)
    raise AssertionError(f"it ended before {text!r}: {''.join(found)}")


def test_a_loop_that_is_blocked_is_dumped() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BLOCKED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        ending = threading.Timer(LIMIT_S, process.kill)
        ending.start()
        try:
            read_until(process.stdout, "holding")
            process.send_signal(signal.SIGUSR1)
            dump = read_until(process.stderr, "thread MainThread") + read_until(process.stderr, "in hold")
        finally:
            ending.cancel()
            process.kill()
    assert re.search(
        r"the event loop has not answered for \d+\.\d s: /holder at <string>:\d+ in Holder\.hold", dump
    )
    assert re.search(r"/holder: Holder, life 1, idle, 0 queued, handles message \d+ \(dump\.hold\)", dump)
    assert "outside waits for /holder (reply to dump.hold)" in dump
    assert "task of /holder:" in dump


def test_a_training_is_dumped_to_standard_error_and_to_its_trace(text: Path, tmp_path: Path) -> None:
    out, trace = tmp_path / "out", tmp_path / "trace"
    process = start("train", text, *FOR_EVER, "--spheres", "2", "--out", out, "--trace", trace)
    with process:
        ending = threading.Timer(LIMIT_S, process.kill)
        ending.start()
        try:
            wait_until_seen(out, process)
            process.send_signal(signal.SIGUSR1)
            dump = read_until(process.stderr, "handlers:")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=LIMIT_S)
        finally:
            ending.cancel()
            process.kill()
    assert process.returncode == 130, "it went on until it was ended"
    assert "    /root/sphere-1: Sphere, life 1, " in dump
    (event,) = [event for event in read_trace(trace) if event.kind == "dump"]
    assert event.actor == "outside"
    assert "    /root/sphere-1: Sphere, life 1, " in event.detail
    assert "threads:" in event.detail


def wait_until_seen(out: Path, process: subprocess.Popen[str]) -> None:
    limit_s = time.monotonic() + 30
    while process.poll() is None:
        assert time.monotonic() < limit_s
        try:
            if "/root/sphere-1" in json.dumps(fetch_picture(out)):
                return
        except NotServed:
            time.sleep(0.01)
    raise AssertionError(process.communicate())


async def test_what_the_signal_did_before_it_does_again() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    async with ActorSystem() as system:
        with dump_on_signal(system):
            assert signal.getsignal(signal.SIGUSR1) is not before
            with dump_on_signal(system, signal.SIGUSR2):
                assert signal.getsignal(signal.SIGUSR2) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGUSR1) is before
    assert not any(thread.name.endswith("-dump") for thread in threading.enumerate())


async def test_a_dump_is_an_event_of_the_trace(capfd: pytest.CaptureFixture[str]) -> None:
    async with ActorSystem(trace=True) as system:
        with dump_on_signal(system):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
        assert system.tracer is not None  # leaving waits for what was asked for
        dumps = [event for event in system.tracer.events() if event.kind == "dump"]
    assert 1 <= len(dumps) <= 2, "two signals at once may be one"
    assert capfd.readouterr().err.count("actor system 'actors', process") == len(dumps)


async def test_other_threads_hear_no_signals() -> None:
    refusals: list[str] = []

    def enter(system: ActorSystem) -> None:
        try:
            dump_on_signal(system).__enter__()
        except ValueError as error:
            refusals.append(str(error))

    async with ActorSystem() as system:
        thread = threading.Thread(target=enter, args=(system,))
        thread.start()
        thread.join(LIMIT_S)
        with pytest.raises(ValueError, match="cannot be handled"):
            dump_on_signal(system, signal.SIGKILL).__enter__()
    assert refusals == ["dump_on_signal must be entered in the main thread, which alone hears signals"]
