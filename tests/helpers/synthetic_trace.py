"""Made-up traces of any length that look like those of a training: nothing is run for them.

Root asks the spheres for their parts of each step, in three phases, and waits for their answers in the order
in which it asked. Spheres fail and are started again, jobs are left behind, a mailbox is full, the loop is
blocked. Times rise, numbers are given in the order of time, and each cause is the number of a message that
was received.
"""

from __future__ import annotations

import heapq
import itertools
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.tracing import JobTimes, TraceEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ROOT", "synthetic_events"]

ROOT: Final = "/root"
OUTSIDE: Final = "outside"
LISTENER: Final = "outside/1"
JOB_S: Final = 1.0
EPOCH_S: Final = 600.0
THREADS: Final = 4
FAILS: Final = 1 / 1000
EXPIRES: Final = 1 / 2000
BLOCKS: Final = 1 / 60
FULL: Final = 1 / 40


class _Phase(NamedTuple):
    """One question to all spheres: its tag, the tag of the answer, the job, its seconds, and the sizes."""

    ask: str
    answer: str
    job: str
    job_s: float
    ask_bytes: int
    answer_bytes: int


PHASES: Final = (
    _Phase("crystalline.compute_shards", "crystalline.shard_sums", "ShardWork.compute", 0.02, 9_000, 260_000),
    _Phase("crystalline.reduce_slices", "crystalline.slice_squares", "ShardWork.reduce", 0.002, 180, 420),
    _Phase("crystalline.apply_slices", "crystalline.slices_applied", "ShardWork.apply", 0.003, 210, 300),
)


class _Made:
    """The events of a stretch of the run, in any order, with numbers that are still to be given."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.events: list[TraceEvent] = []
        self._numbers = numbers
        self._given: dict[int, int] = {0: 0}
        self._unnumbered = itertools.count(-1, -1)

    def new(self) -> int:
        """A number that stands for one to be given."""
        return next(self._unnumbered)

    def add(
        self,
        time_s: float,
        kind: str,
        life: tuple[str, int],
        type_: str = "",
        detail: str = "",
        *,
        msg: int = 0,
        cause: int = 0,
        state: str = "",
        size: int = 0,
        wait: int = 0,
        limit_s: float = 0.0,
    ) -> None:
        """Something happens to an actor, in one of its lives."""
        actor, incarnation = life
        self.events.append(
            TraceEvent(
                time_s, kind, actor, incarnation, msg, cause, type_, detail, state, size, wait, limit_s
            )
        )

    def in_order(self) -> Iterator[TraceEvent]:
        """What was added, by time, with its numbers; numbers that were given stay."""
        self.events.sort(key=lambda event: event.time_s)
        for event in self.events:
            yield event._replace(
                msg_id=self._number(event.msg_id),
                wait_id=self._number(event.wait_id),
                cause_id=self._number(event.cause_id),
            )
        self.events = []

    def _number(self, unnumbered: int) -> int:
        if unnumbered not in self._given:
            self._given[unnumbered] = next(self._numbers)
        return self._given[unnumbered]

    def forget_all_but(self, kept: Iterable[int]) -> None:
        """Other numbers are not asked for again."""
        self._given = {number: self._given[number] for number in (0, *kept) if number in self._given}


class _Run:
    """A training under way.

    Args:
        spheres: how many.
        random: decides what happens, and how long it takes.
        slow: how many times as long jobs of some spheres take.
        skewed: how many times as large the shards of some spheres are, and how much longer they take.
    """

    def __init__(
        self, spheres: int, random: Random, slow: Mapping[int, float], skewed: Mapping[int, float]
    ) -> None:
        self.random = random
        self.slow = slow
        self.skewed = skewed
        self.now_s = 1000.0
        self.epoch = 0
        self.lives = dict.fromkeys(range(spheres), 1)
        self.free_s = [0.0] * THREADS  # when each thread is free again
        self.made = _Made(itertools.count(1))
        self.epoch_ask = 0
        self.downs: list[tuple[int, str]] = []  # what Root has not heard yet: number and sender

    @property
    def state(self) -> str:
        return f"running({self.epoch})"

    def sphere(self, index: int) -> tuple[str, int]:
        return f"{ROOT}/sphere-{index}", self.lives[index]

    def little_s(self) -> float:
        """The time that something small takes."""
        return self.random.uniform(10e-6, 40e-6)

    def start(self) -> None:
        """Everybody starts, each waited for by whoever starts it."""
        made, wait = self.made, self.made.new()
        made.add(self.now_s, "wait", (OUTSIDE, 0), ROOT, "its start", wait=wait, limit_s=30.0)
        made.add(self.now_s, "start", (ROOT, 1), "Root", "crystalline.training.root:Root", state="idle")
        for index in self.lives:
            path, life = self.sphere(index)
            below = made.new()
            begun_s, self.now_s = self.now_s, self.now_s + 3 * self.little_s()
            made.add(begun_s, "wait", (ROOT, 1), path, "its start", state="idle", wait=below, limit_s=30.0)
            where = "crystalline.training.sphere:Sphere"
            made.add(begun_s + 1e-6, "start", (path, life), "Sphere", where, state="idle")
            made.add(self.now_s, "wait_end", (ROOT, 1), path, "answered", state="idle", wait=below)
        made.add(self.now_s, "wait_end", (OUTSIDE, 0), ROOT, "answered", wait=wait)

    def ask(
        self, index: int, tag: str, time_s: float, size: int, limit_s: float = EPOCH_S
    ) -> tuple[int, float]:
        """Root asks a sphere; its number, and when the sphere receives it."""
        made, (path, _), cause = self.made, self.sphere(index), self.epoch_ask
        ask, at_s = made.new(), time_s + self.random.uniform(30e-6, 200e-6)
        root, life, state = (ROOT, 1), self.sphere(index), self.state
        reason = f"reply to {tag}"
        made.add(time_s, "wait", root, path, reason, cause=cause, state=state, wait=ask, limit_s=limit_s)
        made.add(
            time_s,
            "send",
            root,
            tag,
            path,
            msg=ask,
            cause=cause,
            state=state,
            size=size,
            wait=ask,
            limit_s=limit_s,
        )
        made.add(at_s, "receive", life, tag, ROOT, msg=ask, state=state, size=size, limit_s=limit_s)
        return ask, at_s

    def reply(self, index: int, ask: int, tag: str, answer: str, time_s: float, size: int) -> None:
        """A sphere answers, and its handler is done."""
        life, made = self.sphere(index), self.made
        made.add(time_s, "reply", life, answer, ROOT, msg=ask, cause=ask, state=self.state, size=size)
        made.add(time_s + 4e-6, "done", life, tag, msg=ask, state=self.state)

    def all_of(self, tag: str, answer: str, moved: str = "") -> None:
        """Root asks all spheres for something quick, which may move them."""
        asks: list[tuple[int, int, float]] = []
        for index in self.lives:
            self.now_s += self.little_s()
            ask, at_s = self.ask(index, tag, self.now_s, 12)
            ended_s = at_s + self.little_s()
            if moved:
                self.made.add(at_s + 5e-6, "state", self.sphere(index), moved, cause=ask, state=moved)
            self.reply(index, ask, tag, answer, ended_s, 20)
            asks.append((index, ask, ended_s))
        self.end_waits(asks)

    def end_waits(self, asks: list[tuple[int, int, float]]) -> None:
        """Root takes the answers in the order in which it asked, each when all before it are there."""
        for index, ask, ended_s in asks:
            self.now_s = max(self.now_s + 2e-6, ended_s + 8e-6)
            path, _ = self.sphere(index)
            self.made.add(
                self.now_s,
                "wait_end",
                (ROOT, 1),
                path,
                "answered",
                cause=self.epoch_ask,
                state=self.state,
                wait=ask,
            )
        self.now_s += self.little_s()

    def phase(self, phase: _Phase) -> None:
        """Root asks all spheres to do one job each; who is lost is started again, and asked again."""
        pending = list(self.lives)
        while pending:
            asks: list[tuple[int, int, float]] = []
            again = []
            for index in pending:
                self.now_s += self.little_s()
                large = self.skewed.get(index, 1.0)
                ask, at_s = self.ask(index, phase.ask, self.now_s, round(phase.ask_bytes * large))
                ended_s, answered = self.work(index, ask, phase, at_s)
                if not answered:
                    again.append(index)
                asks.append((index, ask, ended_s))
            self.end_waits(asks)
            pending = again

    def work(self, index: int, ask: int, phase: _Phase, time_s: float) -> tuple[float, bool]:
        """A sphere does its job; when it answered, and whether well."""
        made, life, state = self.made, self.sphere(index), self.state
        wait, begun_s, chance = made.new(), time_s + self.little_s(), self.random.random()
        job = f"job {phase.job}"
        made.add(begun_s, "wait", life, job, "its result", cause=ask, state=state, wait=wait, limit_s=JOB_S)
        made.add(begun_s, "job", life, phase.job, cause=ask, state=state, wait=wait, limit_s=JOB_S)
        if chance < EXPIRES:
            ended_s = begun_s + JOB_S
            late = f"left behind after {JOB_S:.3f} s, progress: none, at work.py:120 in compute"
            made.add(ended_s, "wait_end", life, job, "Expired", cause=ask, state=state, wait=wait)
            made.add(ended_s, "job_end", life, phase.job, late, cause=ask, state=state, wait=wait)
            text = f"{life[0]} waited for {job} (its result) and was given {JOB_S:g} s"
            return self.fail(index, ask, phase, ended_s, "Expired", text), False
        factor = self.slow.get(index, 1.0) * self.skewed.get(index, 1.0)
        worked_s = phase.job_s * self.random.lognormvariate(0.0, 0.2) * factor
        at_s = max(heapq.heappop(self.free_s), begun_s + 60e-6)
        ended_s = at_s + worked_s
        heapq.heappush(self.free_s, ended_s)
        times, outcome = str(JobTimes(at_s - begun_s, worked_s)), "answered"
        if failed := chance > 1 - FAILS:
            outcome = "ValueError"
        made.add(ended_s, "wait_end", life, job, outcome, cause=ask, state=state, wait=wait)
        made.add(ended_s, "job_end", life, phase.job, times, cause=ask, state=state, wait=wait)
        ended_s += self.little_s()
        if failed:
            return self.fail(index, ask, phase, ended_s, outcome, "a number is not finite"), False
        size = round(phase.answer_bytes * self.random.uniform(0.9, 1.1))
        self.reply(index, ask, phase.ask, phase.answer, ended_s, size)
        return ended_s, True

    def fail(self, index: int, ask: int, phase: _Phase, time_s: float, error: str, text: str) -> float:
        """A handler raises: its sphere ends, its parent hears of it, and it is started again."""
        made, life, state = self.made, self.sphere(index), self.state
        made.add(time_s, "error", life, error, text, msg=ask, cause=ask, state=state)
        self.reply(index, ask, phase.ask, "actors.failure", time_s + 1e-6, 900)
        over_s, over, down = time_s + 20e-6, f"shutdown({self.epoch})", made.new()
        made.add(over_s, "state", life, over, state=over)
        made.add(over_s + 1e-6, "end", life, "Sphere", f"{error}: {text}", state=over)
        made.add(over_s + 2e-6, "send", life, "actors.down", ROOT, msg=down, state=over, size=80)
        made.add(over_s + 3e-6, "restart", life, "", "in 0.02 s", state=over)
        self.downs.append((down, life[0]))
        self.lives[index] += 1
        life, back_s = self.sphere(index), over_s + 0.02
        made.add(back_s, "start", life, "Sphere", "crystalline.training.sphere:Sphere", state="idle")
        made.add(back_s + 1e-6, "state", life, state, state=state)
        return back_s + 2e-6

    def step(self) -> None:
        """Root takes one step, and tells a listener; sometimes that hears nothing."""
        made, cause, state = self.made, self.epoch_ask, self.state
        for phase in PHASES:
            self.phase(phase)
        told, tag, root = made.new(), "crystalline.step_done", (ROOT, 1)
        made.add(self.now_s, "send", root, tag, LISTENER, msg=told, cause=cause, state=state, size=350)
        if self.random.random() < FULL:
            full = f"{LISTENER} holds 256 messages: refused"
            made.add(self.now_s, "full", root, tag, full, msg=told, cause=cause, state=state)
            made.add(self.now_s, "drop", root, tag, "mailbox full", msg=told, cause=cause, state=state)
        if self.random.random() < BLOCKS:
            waited_s = self.random.uniform(1.0, 1.5)
            at = f"no answer for {waited_s:.3f} s; at root.py:301 in _record"
            self.now_s += waited_s
            made.add(self.now_s, "blocked", (ROOT, 1), "", at)
        self.now_s += self.little_s()

    def begin_epoch(self) -> None:
        """Code outside asks Root for an epoch; everybody begins it."""
        made, self.epoch = self.made, self.epoch + 1
        ask = self.epoch_ask = made.new()
        outside, tag = (OUTSIDE, 0), "crystalline.train_epoch"
        made.add(self.now_s, "wait", outside, ROOT, f"reply to {tag}", wait=ask, limit_s=EPOCH_S)
        made.add(self.now_s, "send", outside, tag, ROOT, msg=ask, size=12, wait=ask, limit_s=EPOCH_S)
        self.now_s += self.little_s()
        before = "idle" if self.epoch == 1 else f"epoch_done({self.epoch - 1})"
        made.add(
            self.now_s, "receive", (ROOT, 1), tag, OUTSIDE, msg=ask, state=before, size=12, limit_s=EPOCH_S
        )
        self.now_s += self.little_s()
        made.add(self.now_s, "state", (ROOT, 1), self.state, cause=ask, state=self.state)
        self.all_of("actors.begin_epoch", "actors.epoch_state", self.state)

    def finish_epoch(self) -> None:
        """Everybody ends the epoch, and Root answers."""
        made, ask, over = self.made, self.epoch_ask, f"epoch_done({self.epoch})"
        self.all_of("actors.finish_epoch", "actors.epoch_state", over)
        made.add(self.now_s, "state", (ROOT, 1), over, cause=ask, state=over)
        ended_s = self.now_s + self.little_s()
        answer, tag = "crystalline.epoch_report", "crystalline.train_epoch"
        made.add(ended_s, "reply", (ROOT, 1), answer, OUTSIDE, msg=ask, cause=ask, state=over, size=200)
        made.add(ended_s + 1e-6, "done", (ROOT, 1), tag, msg=ask, state=over)
        made.add(ended_s + 2e-6, "wait_end", (OUTSIDE, 0), ROOT, "answered", wait=ask)
        self.now_s = ended_s + 0.001
        for down, sender in self.downs:
            made.add(self.now_s, "receive", (ROOT, 1), "actors.down", sender, msg=down, state=over, size=80)
            self.now_s += self.little_s()
            made.add(self.now_s, "done", (ROOT, 1), "actors.down", msg=down, state=over)
        self.downs.clear()

    def stretch(self) -> Iterator[TraceEvent]:
        """What has happened since the last one. Nothing of it is later than what is still to come."""
        yield from self.made.in_order()
        self.made.forget_all_but({self.epoch_ask, *(down for down, _ in self.downs)})


def synthetic_events(
    count: int,
    *,
    spheres: int = 12,
    seed: int = 0,
    steps_in_epoch: int = 50,
    slow: Mapping[int, float] | None = None,
    skewed: Mapping[int, float] | None = None,
) -> Iterator[TraceEvent]:
    """Yield the first `count` events of a training that goes on for ever; the same for the same arguments.

    Args:
        count: how many.
        spheres: all of them directly below Root.
        seed: decides what happens, and how long it takes.
        steps_in_epoch: an epoch has so many; a step has about thirty events for each sphere.
        slow: how many times as long the jobs of a sphere take, by its index.
        skewed: how many times as large the shards of a sphere are and how many times as long they take.
    """
    run = _Run(spheres, Random(seed), slow or {}, skewed or {})
    yield from itertools.islice(_all_of_it(run, steps_in_epoch), count)


def _all_of_it(run: _Run, steps_in_epoch: int) -> Iterator[TraceEvent]:
    run.start()
    yield from run.stretch()
    while True:
        run.begin_epoch()
        yield from run.stretch()
        for _ in range(steps_in_epoch):
            run.step()
            yield from run.stretch()
        run.finish_epoch()
        yield from run.stretch()
