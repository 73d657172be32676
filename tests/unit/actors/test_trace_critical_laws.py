"""The critical path of any run: its parts follow each other and add up, and it is the right one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.tracing import CriticalPath, JobTimes, Trace, TraceQueryError, critical
from tests.helpers.synthetic_trace import synthetic_events
from tests.helpers.written_trace import WrittenRun

if TYPE_CHECKING:
    from random import Random

MANY = settings(max_examples=100, deadline=None)


def hold(found: CriticalPath) -> None:
    """The parts follow each other from the beginning to the end, and the items are their sums."""
    at_s = found.stretch.begin_s
    for part in found.segments:
        assert part.seconds > 0
        assert part.begin_s == pytest.approx(at_s, abs=1e-9)
        at_s = part.begin_s + part.seconds
    assert at_s == pytest.approx(found.stretch.end_s, abs=1e-9) or not found.segments
    assert sum(part.seconds for part in found.segments) == pytest.approx(found.seconds, abs=1e-6)
    assert sum(item.seconds for item in found.items) == pytest.approx(found.seconds, abs=1e-6)
    assert sum(item.segments for item in found.items) == len(found.segments)
    for item in found.items:
        if item.saved_s is not None:
            assert -1e-9 <= item.saved_s <= item.seconds + 1e-9
    assert found.lines()
    assert "comparisons" in found.as_dict()


Seconds = defaultdict[tuple[str, str], float]


class Invented(WrittenRun):
    """A tree of handlers that ask, several at once or one after the other, do jobs, and wait.

    While it is made up, forwards, it is known what each handler owes its end to.

    Args:
        random: decides.
        nothing: how often something takes no time. Where time is virtual much happens at the same moment.
    """

    def __init__(self, random: Random, nothing: float = 0.6) -> None:
        super().__init__()
        self.random = random
        self.nothing = nothing
        self.numbers = 0

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def span_s(self) -> float:
        return 0.0 if self.random.random() < self.nothing else self.random.uniform(0.1, 3)

    def handler(self, actor: str, number: int, begin_s: float, depth: int) -> tuple[float, Seconds]:
        """A handler from its receipt on: when it ends, and what on its critical path took how long."""
        tag, path = f"t.{depth}", Seconds(float)
        own = actor, f"handler of {tag}"
        self.receive(begin_s, actor, number, tag)
        at_s = begin_s
        for _ in range(self.random.randint(0, 3)):
            span_s = self.span_s()
            path[own] += span_s
            at_s += span_s
            what = self.random.choice(("ask", "gather", "gather", "job", "outside"))
            if what in {"ask", "gather"} and depth < 3:
                count = 1 if what == "ask" else self.random.randint(2, 4)
                at_s = self.asks(actor, number, at_s, depth, count, path)
            elif what == "job":
                times = JobTimes(self.span_s(), self.span_s())
                worked_s = at_s + times.queued_s + times.worked_s
                path[actor, "job work, queued for a thread"] += times.queued_s
                path[actor, "job work"] += times.worked_s
                end_s = worked_s + self.span_s()
                self.job(at_s, actor, number, self.number(), "work", times, end_s)
                path[own] += end_s - worked_s
                at_s = end_s
            elif what == "outside":
                wait, end_s = self.number(), at_s + self.span_s()
                self.add(
                    at_s, "wait", actor, cause_id=number, type="foreign awaitable", detail="x", wait_id=wait
                )
                self.wait_end(end_s, actor, number, "foreign awaitable", wait)
                path[actor, "waiting for outside: x"] += end_s - at_s
                at_s = end_s
        span_s = self.span_s()
        path[own] += span_s
        at_s += span_s
        self.reply(at_s, actor, number, tag)
        return at_s, path

    def asks(self, actor: str, number: int, at_s: float, depth: int, count: int, path: Seconds) -> float:
        """Ask several; the one that is answered last is on the path. Looked at one after the other."""
        ends: list[tuple[float, str, int, Seconds]] = []
        for index in range(count):
            child, ask, received_s = f"{actor}/{index}", self.number(), at_s + self.span_s()
            self.send(at_s, actor, number, child, ask, f"t.{depth + 1}", self.random.randint(0, 50))
            end_s, below = self.handler(child, ask, received_s, depth + 1)
            below[child, "in its mailbox"] += received_s - at_s
            ends.append((end_s, child, ask, below))
        looked_s = at_s
        for end_s, child, ask, _ in ends:
            looked_s = max(looked_s, end_s)
            self.wait_end(looked_s, actor, number, child, ask)
        for what, seconds in max(ends, key=lambda end: end[0])[3].items():
            path[what] += seconds
        return looked_s


@MANY
@given(st.randoms(use_true_random=False))
def test_the_path_is_the_one_that_is_known_from_going_forwards(random: Random) -> None:
    run = Invented(random, nothing=0.0)  # with two answers at the same moment either is right
    end_s, path = run.handler("/root", run.number(), 5.0, 0)
    found = critical(run.trace())
    assert found.stretch.end_s == end_s
    seconds = {(item.actor, item.what): item.seconds for item in found.items}
    # Times of jobs are written down as whole microseconds.
    assert seconds == pytest.approx({what: spent_s for what, spent_s in path.items() if spent_s}, abs=1e-4)


@MANY
@given(st.randoms(use_true_random=False))
def test_parts_follow_each_other_and_add_up(random: Random) -> None:
    run = Invented(random)
    run.handler("/root", run.number(), 5.0, 0)
    hold(critical(run.trace()))


@MANY
@given(st.randoms(use_true_random=False), st.data())
def test_the_same_holds_of_a_trace_with_losses_and_nonsense(random: Random, data: st.DataObject) -> None:
    run = Invented(random)
    run.handler("/root", run.number(), 5.0, 0)
    events = list(run.trace())
    places = st.sets(st.integers(0, len(events) - 1), max_size=10)
    lost, wrong, strange = data.draw(places), data.draw(places), data.draw(places)
    damaged = []
    for at, event in enumerate(events):
        if at in wrong:
            number = data.draw(st.integers(0, run.numbers + 1))
            fields = {"msg_id": event.msg_id, "cause_id": event.cause_id, "wait_id": event.wait_id}
            fields[data.draw(st.sampled_from(sorted(fields)))] = number
            msg_id, cause_id, wait_id = fields["msg_id"], fields["cause_id"], fields["wait_id"]
            damaged.append(event._replace(msg_id=msg_id, cause_id=cause_id, wait_id=wait_id))
        elif at in strange:
            damaged.append(event._replace(kind="a kind of later versions"))
        elif at not in lost:
            damaged.append(event)
    try:
        found = critical(Trace.of(damaged))
    except TraceQueryError:
        assert not {"receive", "state"} <= {event.kind for event in damaged}
    else:
        hold(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3000), st.integers(1, 3000), st.integers(1, 8))
def test_the_same_holds_of_any_stretch_of_a_training(seed: int, first: int, count: int, spheres: int) -> None:
    events = list(synthetic_events(first + count, spheres=spheres, seed=seed, steps_in_epoch=3))[first:]
    trace = Trace.of(events)
    epochs = {event.type for event in events if event.kind == "state" and "(" in event.type}
    for epoch in {int(state.partition("(")[2].rstrip(")")) for state in epochs if "running" in state}:
        hold(critical(trace, epoch=epoch))
    try:
        found = critical(trace)
    except TraceQueryError:
        assert not any(event.kind == "receive" for event in events)
    else:
        hold(found)
