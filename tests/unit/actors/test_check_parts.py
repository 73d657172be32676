"""Checks of the runtime's parts: ours pass, and deliberately broken ones are found, each by its rule."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from actors import DaemonExecutor, JobToken
from actors.mailbox import Mailbox, Overflow
from actors.simulation.executor import SimulatedExecutor
from actors.testing import ContractBroken, check_executor, check_mailbox, check_sink
from actors.tracing import TraceEvent, TraceFile, read_trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actors.jobs import JobExecutor


# Mailboxes


def test_our_mailbox_keeps_its_contract() -> None:
    check_mailbox(Mailbox)


class Growing(Mailbox[Any]):
    def _full_for(self, entry: Any) -> bool:  # noqa: ARG002 - it does not look
        return False


class Unweighed(Mailbox[Any]):
    """Counts messages, and no bytes."""

    def _full_for(self, entry: Any) -> bool:  # noqa: ARG002 - it does not look
        return len(self._user) >= self.capacity


class Forgiving(Mailbox[Any]):
    """Never gives the bytes of an entry back."""

    def get(self) -> Any:
        used = self.bytes_used
        entry = super().get()
        self.bytes_used = used
        return entry


class OneLane(Mailbox[Any]):
    def put_system(self, entry: Any) -> None:
        self._admit(entry)


class Unhurried(Mailbox[Any]):
    def put_urgent(self, entry: Any) -> None:
        self.put_system(entry)


class LastInFirstOut(Mailbox[Any]):
    def get(self) -> Any:
        if not self._system:
            self._user.rotate(1)
        return super().get()


class Forgetful(Mailbox[Any]):
    """Does not serve those who wait for room."""

    def _serve_room(self) -> None:
        """Do nothing."""


class Unfair(Mailbox[Any]):
    """Lets newcomers step in before those who wait."""

    def _someone_waits(self) -> bool:
        return False


class DropsNewest(Mailbox[Any]):
    def pop_oldest(self) -> Any:
        return self._user.pop() if self._user else None


class DropsReserved(Mailbox[Any]):
    def pop_oldest(self) -> Any:
        return self._user.popleft() if self._user else None


class Sleeper(Mailbox[Any]):
    def put_system(self, entry: Any) -> None:
        self._system.append(entry)


class TwoReaders(Mailbox[Any]):
    def arrival(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        self._wakeup = None
        return super().arrival(loop)


class OpenAfterClose(Mailbox[Any]):
    def close(self) -> None:
        self._wake()


class LosesOnClose(Mailbox[Any]):
    def close(self) -> None:
        super().close()
        self._user.clear()


class Policyless(Mailbox[Any]):
    def __init__(self, capacity: int, _overflow: Overflow, *, bytes_max: int = 100) -> None:
        super().__init__(capacity, bytes_max=bytes_max)


class AnySize(Mailbox[Any]):
    def __init__(self, capacity: int, overflow: Overflow, *, bytes_max: int = 100) -> None:
        super().__init__(max(1, capacity), overflow, bytes_max=bytes_max)


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (Growing, "a full mailbox refuses; it never grows"),
        (Unweighed, "an entry beyond the bytes of a mailbox is refused"),
        (Forgiving, "an empty mailbox holds 0 bytes, not 20"),
        (OneLane, "the system lane is read first"),
        (Unhurried, "what is urgent is read before all others"),
        (LastInFirstOut, "first in, first out"),
        (Forgetful, "who waits for bytes is admitted when they are free"),
        (Unfair, "a small entry steps in before a large one that waits"),
        (DropsNewest, "pop_oldest takes the oldest that is not reserved"),
        (DropsReserved, "pop_oldest takes the oldest that is not reserved"),
        (Sleeper, "put_system does not wake the reader"),
        (TwoReaders, "a second reader is refused"),
        (OpenAfterClose, "after close a reader must not wait"),
        (LosesOnClose, "what was admitted stays"),
        (Policyless, "overflow is Overflow.WAIT, asked for Overflow.FAIL"),
        (AnySize, "capacity=0, bytes_max=10 must be an UnboundedMailbox"),
    ],
)
def test_a_broken_mailbox_is_found(broken: type[Mailbox[Any]], found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_mailbox(broken)


# Executors


def test_our_executors_keep_their_contract() -> None:
    check_executor(DaemonExecutor)
    for seed in range(10):
        check_executor(_simulated(seed))


def _simulated(
    seed: int = 0, kind: type[SimulatedExecutor] = SimulatedExecutor
) -> Callable[[int], JobExecutor]:
    def make(workers: int) -> JobExecutor:
        return kind(asyncio.get_running_loop(), random.Random(seed), workers)

    return make


class Pool:
    """A thread pool of the standard library behind our interface."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers)
        self._open: list[Future[Any]] = []

    def token(self, time_s: float) -> JobToken:
        return JobToken(time_s)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        job = self._pool.submit(fn, *args, **kwargs)
        self._open.append(job)
        return job

    def abandon(self, future: Future[Any]) -> bool:
        return not future.cancel() and not future.done()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        self._pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def statistics(self) -> dict[str, int]:
        running = sum(job.running() for job in self._open)
        queued = sum(not job.running() and not job.done() for job in self._open)
        return {"queued": queued, "running": running, "abandoned": 0, "threads": running}

    def stacks(self) -> dict[str, str]:
        return {str(number): "at work" for number, job in enumerate(self._open) if job.running()}


class Unbounded(SimulatedExecutor):
    def _hire(self) -> None:
        self.workers = 100
        super()._hire()


class KeepsPlace(SimulatedExecutor):
    """Does not give away the place of a job that was left behind."""

    def abandon(self, future: Future[Any]) -> bool:
        left_behind = super().abandon(future)
        self.workers -= left_behind
        return left_behind


class RunsDropped(SimulatedExecutor):
    def abandon(self, future: Future[Any]) -> bool:
        return future in self._at_work and super().abandon(future)


class Tireless(SimulatedExecutor):
    """Has no budget for what is left behind."""

    def abandon(self, future: Future[Any]) -> bool:
        left_behind = super().abandon(future)
        if left_behind and len(self._at_work) > 2:
            self._at_work.pop(future)
        return left_behind

    def _publish(self, job: Any, result: Any, error: BaseException | None) -> None:
        self._at_work.setdefault(job.future, job)
        super()._publish(job, result, error)


class Deaf(SimulatedExecutor):
    def token(self, time_s: float) -> JobToken:
        class DeafToken(JobToken):
            def check(self) -> None:
                """Never say a word."""

        return DeafToken(time_s, self._loop.time)


class Endless(SimulatedExecutor):
    def token(self, time_s: float) -> JobToken:
        return JobToken(time_s + math.inf, self._loop.time)


class AlwaysOpen(SimulatedExecutor):
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._closed = False


class Swallowing(SimulatedExecutor):
    """Turns what a job raises into a result."""

    def _publish(self, job: Any, result: Any, error: BaseException | None) -> None:
        super()._publish(job, result if error is None else str(error), None)


class Stack(SimulatedExecutor):
    def _hire(self) -> None:
        self._queue.reverse()
        super()._hire()


class Adhesive(DaemonExecutor):
    """Its threads hold up the interpreter's exit."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.closing = threading.Event()
        threading.Thread(target=self.closing.wait, args=(10,), daemon=False).start()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the standard library's signature
        super().shutdown(wait, cancel_futures=cancel_futures)
        self.closing.set()


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (Pool, "a job at work|abandoned, running|left behind once"),
        (_simulated(kind=Unbounded), "one worker runs|5 jobs wait"),
        (_simulated(kind=Stack), "jobs run in the order they came"),
        (_simulated(kind=RunsDropped), "an abandoned job that was queued is cancelled"),
        (_simulated(kind=Tireless), "1000 jobs were left behind, and none refused"),
        (_simulated(kind=Deaf), "a cancelled token does not raise JobAbandoned"),
        (_simulated(kind=Endless), "a token for 5 s has inf s left"),
        (_simulated(kind=AlwaysOpen), "a job was taken after shutdown"),
        (_simulated(kind=Swallowing), "a job raised ValueError, its future says NoneType"),
        (Adhesive, "are no daemons"),
    ],
)
def test_a_broken_executor_is_found(make: Callable[[int], JobExecutor], found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_executor(make)


def test_a_place_that_is_not_given_away_is_found() -> None:
    with pytest.raises(ContractBroken, match="the place of a job that was left behind: the job did not end"):
        check_executor(_simulated(kind=KeepsPlace), limit_s=0.2)  # it waits in vain


# Sinks


class Files:
    """Trace files in a folder, a new one each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0

    def make(self) -> TraceFile:
        self.made += 1
        return TraceFile(self.path)

    @property
    def path(self) -> Path:
        return self.folder / f"{self.made}.trace"

    def read(self) -> list[TraceEvent]:
        return list(read_trace(self.path))


def test_our_sink_keeps_its_contract(tmp_path: Path) -> None:
    files = Files(tmp_path)
    check_sink(files.make, files.read)


class Memory:
    """A sink that keeps its contract."""

    latest: Memory

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []
        Memory.latest = self

    def write(self, event: TraceEvent) -> None:
        self.events.append(event)

    def close(self) -> None:
        """Nothing to do."""


class Lossy(Memory):
    def close(self) -> None:
        del self.events[1024:]


class Reordering(Memory):
    def close(self) -> None:
        self.events.sort(key=lambda event: event.kind)


class Rounding(Memory):
    def write(self, event: TraceEvent) -> None:
        super().write(event._replace(time_s=round(event.time_s)))


class Fussy(Memory):
    def write(self, event: TraceEvent) -> None:
        event.actor.encode()
        super().write(event)


class ClosesOnce(Memory):
    def close(self) -> None:
        del self.closed_once

    closed_once: bool

    def __init__(self) -> None:
        super().__init__()
        self.closed_once = True


class Shared(Memory):
    kept: list[TraceEvent] = []  # noqa: RUF012 - that it is shared is what is wrong with it

    def __init__(self) -> None:
        super().__init__()
        self.events = self.kept


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (Lossy, "3000 events were written and the sink closed, 1024 are there"),
        (Reordering, "an event was changed"),
        (Rounding, "an event was changed"),
        (Fussy, "a sink raised UnicodeEncodeError into the actors"),
        (ClosesOnce, "a sink raised AttributeError into the actors"),
        (Shared, "of 5 events with odd texts 3005 are there"),
    ],
)
def test_a_broken_sink_is_found(broken: type[Memory], found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_sink(broken, lambda: Memory.latest.events)


def test_a_sink_that_runs_out_of_space_may_say_so() -> None:
    class Full(Memory):
        def write(self, event: TraceEvent) -> None:
            super().write(event)
            raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space left"):
        check_sink(Full, lambda: Memory.latest.events)


def test_a_sink_in_memory_passes() -> None:
    check_sink(Memory, lambda: Memory.latest.events)
