"""How actors have spent their time, by what a trace says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from actors import Actor, ActorSystem, Context, JobToken, Request, message, on
from actors.tracing import JobTimes, TraceEvent, Usage, read_trace, usage

if TYPE_CHECKING:
    from pathlib import Path


def event(time_s: float, kind: str, actor: str = "/a", incarnation: int = 1, detail: str = "") -> TraceEvent:
    return TraceEvent(time_s, kind, actor, incarnation, 0, 0, "", detail)


def job_end(time_s: float, queued_s: float, worked_s: float) -> TraceEvent:
    return event(time_s, "job_end", detail=str(JobTimes(queued_s, worked_s)))


def test_time_is_at_work_waiting_or_idle() -> None:
    events = [
        event(10, "start"),
        event(11, "receive"),
        event(11, "job"),
        job_end(15, queued_s=1.0, worked_s=2.5),
        event(16, "done"),
        event(20, "end"),
        event(30, "send", actor="main", incarnation=0),
    ]
    assert usage(events) == {"/a": Usage(busy_s=2.5, waiting_s=2.5, idle_s=5.0)}


def test_the_time_between_two_lives_belongs_to_none() -> None:
    lives = [event(0, "start"), event(1, "receive"), event(3, "end")]
    lives += [event(10, "start", incarnation=2), event(14, "end", incarnation=2)]
    assert usage(lives) == {"/a": Usage(0.0, 2.0, 5.0)}


def test_what_has_not_ended_counts_to_the_last_event() -> None:
    events = [event(0, "start"), event(1, "receive"), event(4, "send", actor="main", incarnation=0)]
    assert usage(events) == {"/a": Usage(0.0, 3.0, 1.0)}


def test_a_ring_that_has_lost_the_start_counts_from_the_first_event() -> None:
    assert usage([event(5, "receive"), event(6, "done"), event(8, "end")]) == {"/a": Usage(0.0, 1.0, 2.0)}


def test_a_job_of_a_hook_is_no_negative_waiting() -> None:
    events = [event(0, "start"), job_end(3, 0.0, 2.0), event(5, "end")]
    assert usage(events) == {"/a": Usage(2.0, 0.0, 3.0)}


def test_a_job_that_was_left_behind_has_no_times() -> None:
    assert JobTimes.of(event(1, "job_end", detail="left behind")) is None
    assert JobTimes.of(event(1, "reply", detail=str(JobTimes(1.0, 2.0)))) is None
    assert JobTimes.of(job_end(1, 0.5, 2.0)) == JobTimes(0.5, 2.0)


@message("usage.computed")
class Computed:
    """The answer: how often the clock was read."""

    turns: int


@message("usage.compute")
class Compute(Request[Computed]):
    """Asked of a worker: be at it until the clock has moved."""


class Worker(Actor):
    @on(Compute)
    async def compute(self, _msg: Compute, ctx: Context) -> Computed:
        return Computed(await ctx.offload(_spin))


def _spin(_token: JobToken) -> int:
    begun_s, turns = time.monotonic(), 0
    while time.monotonic() < begun_s + 0.02:
        turns += 1
    return turns


async def test_a_trace_file_tells_who_was_busy_and_who_waited_for_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "a.trace"
    async with ActorSystem("shop", trace=path, job_threads=1) as system:
        workers = [await system.spawn(Worker, name=name) for name in ("one", "two", "three")]
        async with asyncio.timeout(20):
            asks = [system.ask(worker, Compute(), timeout_s=20) for worker in workers[:2]]
            await asyncio.gather(*asks)
    found = usage(read_trace(path))
    one, two, three = (found[worker.path] for worker in workers)
    assert min(one.busy_s, two.busy_s) >= 0.02
    assert max(one.waiting_s, two.waiting_s) >= 0.02  # there is one thread: one of them had to wait for it
    assert (three.busy_s, three.waiting_s) == (0.0, 0.0)
    assert three.idle_s > 0.02
