"""Who is worked for next: order, fairness, bounds, and that every request ends exactly once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crystalline.errors import SettingError
from crystalline.inference.messages import Outcome
from crystalline.inference.scheduler import (
    CANCELLED,
    CLOSED,
    EXPIRED,
    FAILED,
    LOST,
    REFUSED,
    Begin,
    End,
    Plan,
    Scheduler,
    Tally,
    Ticket,
)

FAR_S = 1e9


def scheduler(**changes: Any) -> Scheduler:
    return Scheduler(**{"slots": 2, "queue": 4, "prefill_tokens": 10, **changes})


def ticket(number: int, caller: str = "", prompt: int = 1, deadline_s: float = FAR_S) -> Ticket:
    return Ticket(number, caller, prompt, deadline_s)


def submit(to: Scheduler, *tickets: Ticket, now_s: float = 0.0) -> list[End]:
    return [end for one in tickets for end in to.submit(one, now_s)]


def finish(to: Scheduler, *numbers: int) -> list[End]:
    return to.stepped([Outcome(number, drawn=1, finish="length") for number in numbers])


def order_of_begins(to: Scheduler, steps: int) -> list[int]:
    """Every request takes one step."""
    begun: list[int] = []
    for _ in range(steps):
        plan = to.plan(0.0)
        begun += [begin.number for begin in plan.begun]
        finish(to, *plan.prefill)
    return begun


# Who comes next


def test_one_caller_is_served_in_the_order_of_its_requests() -> None:
    to = scheduler(slots=1, queue=9)
    submit(to, *(ticket(number) for number in (5, 3, 8, 1)))
    assert order_of_begins(to, 4) == [5, 3, 8, 1]


def test_callers_take_turns() -> None:
    to = scheduler(slots=1, queue=20)
    submit(to, *(ticket(number, "many") for number in range(10)))
    submit(to, ticket(100, "few"), ticket(200, "two"), ticket(201, "two"))
    assert order_of_begins(to, 8) == [0, 100, 200, 1, 201, 2, 3, 4]


def test_who_comes_back_again_and_again_does_not_overtake() -> None:
    to = scheduler(slots=1, queue=9)
    submit(to, ticket(1, "busy"), ticket(10, "a"), ticket(20, "b"))
    begun = []
    for number in range(2, 6):
        begun += order_of_begins(to, 1)
        submit(to, ticket(number, "busy"))
    assert begun == [1, 10, 20, 2]


def test_a_slot_is_used_again_in_the_next_step() -> None:
    to = scheduler()
    submit(to, ticket(1), ticket(2), ticket(3))
    assert to.plan(0.0) == Plan(begun=(Begin(1, 0), Begin(2, 1)), prefill=(1, 2))
    to.stepped([Outcome(1, drawn=1, finish="stop"), Outcome(2, drawn=1)])
    assert to.plan(0.0) == Plan(begun=(Begin(3, 0),), prefill=(3,), decode=(2,))


# How much a step reads


def test_a_step_reads_no_more_than_it_may_and_goes_on_in_the_next() -> None:
    to = scheduler(slots=4, queue=4, prefill_tokens=10)
    submit(to, ticket(1, prompt=6), ticket(2, prompt=4), ticket(3, prompt=1), ticket(4, prompt=1))
    assert to.plan(0.0).prefill == (1, 2)
    to.stepped([Outcome(1, drawn=1), Outcome(2, drawn=1)])
    assert to.plan(0.0) == Plan(begun=(Begin(3, 2), Begin(4, 3)), prefill=(3, 4), decode=(1, 2))


def test_a_long_prompt_is_read_alone_and_not_overtaken() -> None:
    to = scheduler(slots=4, queue=4, prefill_tokens=10)
    submit(to, ticket(1, prompt=3), ticket(2, prompt=1_000), ticket(3, prompt=1))
    assert to.plan(0.0).prefill == (1,)
    to.stepped([Outcome(1, drawn=1)])
    assert to.plan(0.0) == Plan(begun=(Begin(2, 1),), prefill=(2,), decode=(1,))
    to.stepped([Outcome(1, drawn=1), Outcome(2, drawn=1)])
    assert to.plan(0.0).prefill == (3,)


def test_what_has_to_be_read_again_comes_before_new_prompts() -> None:
    to = scheduler(slots=3, queue=4, prefill_tokens=10)
    submit(to, ticket(1), ticket(2))
    to.plan(0.0)
    to.stepped([Outcome(1, drawn=1, prefill=8), Outcome(2, drawn=1, prefill=8)])
    submit(to, ticket(3))
    assert to.plan(0.0) == Plan(prefill=(1,))
    to.stepped([Outcome(1, drawn=1)])
    assert to.plan(0.0) == Plan(begun=(Begin(3, 2),), prefill=(2, 3), decode=(1,))


# What finds no room


def test_the_queue_is_bounded_and_says_so() -> None:
    to = scheduler(slots=2, queue=4)
    assert submit(to, *(ticket(number) for number in range(6))) == []
    (end,) = submit(to, ticket(6))
    assert (end.number, end.reason) == (6, REFUSED)
    assert "0 requests are being answered and 6 wait, the limit is 4" in end.story
    to.plan(0.0)
    (end,) = submit(to, ticket(7))
    assert "2 requests are being answered and 4 wait, the limit is 4" in end.story
    finish(to, 0, 1)
    assert submit(to, ticket(8), ticket(9)) == []


def test_who_fills_the_queue_does_not_keep_others_out() -> None:
    to = scheduler(slots=1, queue=4)
    submit(to, *(ticket(number, "many") for number in range(5)))
    (end,) = submit(to, ticket(10, "few"))
    assert (end.number, end.reason) == (4, REFUSED)
    assert "Its place was given to a caller who has fewer requests waiting" in end.story
    (end,) = submit(to, ticket(11, "few"))
    assert end.number == 3
    assert [end.number for end in submit(to, ticket(12, "few"))] == [12], "now both have as many"
    assert order_of_begins(to, 5) == [0, 10, 1, 11, 2]


# How requests end otherwise


def test_a_cancelled_request_frees_its_place() -> None:
    to = scheduler(slots=1, queue=1)
    submit(to, ticket(1), ticket(2))
    to.plan(0.0)
    assert to.cancel(2) == [End(2, CANCELLED)]
    assert to.cancel(1) == [End(1, CANCELLED)]
    assert to.cancel(1) == to.cancel(77) == []
    assert submit(to, ticket(3), ticket(4)) == []
    assert to.stepped([Outcome(1, drawn=1, finish="stop")]) == [], "it has ended before"
    assert to.plan(0.0) == Plan(begun=(Begin(3, 0),), left=(1,), prefill=(3,))


def test_the_engine_hears_of_it_even_if_there_is_nothing_else_to_do() -> None:
    to = scheduler()
    submit(to, ticket(1))
    to.plan(0.0)
    to.stepped([Outcome(1, drawn=1)])
    to.cancel(1)
    assert to.plan(0.0) == Plan(left=(1,))
    to.stepped([])
    assert not to.plan(0.0)
    assert not to.working


def test_what_is_over_ends_in_the_queue_and_in_its_slot() -> None:
    to = scheduler(slots=1)
    submit(to, ticket(1, deadline_s=5.0), ticket(2, deadline_s=3.0), ticket(3))
    to.plan(0.0)
    assert to.expire(2.9) == []
    ends = to.expire(5.0)
    assert [(end.number, end.reason) for end in ends] == [(2, EXPIRED), (1, EXPIRED)]
    assert "its time" in ends[0].story.replace("the time of the request", "its time")


def test_one_that_fails_fails_alone() -> None:
    to = scheduler()
    submit(to, ticket(1), ticket(2))
    to.plan(0.0)
    assert to.stepped([Outcome(1, story="no"), Outcome(2, drawn=1)]) == [End(1, FAILED, "no")]
    assert to.running == 1


def test_a_lost_engine_ends_those_that_it_held_and_no_others() -> None:
    to = scheduler(slots=2)
    submit(to, ticket(1), ticket(2), ticket(3))
    to.plan(0.0)
    to.cancel(1)
    assert to.lost("it burned") == [End(2, LOST, "it burned")]
    assert to.plan(0.0) == Plan(begun=(Begin(3, 0),), prefill=(3,)), "the next engine never knew the others"


def test_closing_ends_everybody() -> None:
    to = scheduler(slots=1)
    submit(to, ticket(1), ticket(2))
    to.plan(0.0)
    assert {(end.number, end.reason) for end in to.close("bye")} == {(1, CLOSED), (2, CLOSED)}


def test_one_step_at_a_time() -> None:
    to = scheduler()
    submit(to, ticket(1))
    to.plan(0.0)
    with pytest.raises(RuntimeError, match="while another one is under way"):
        to.plan(0.0)


def test_a_long_prompt_is_read_a_piece_a_step_beside_the_others() -> None:
    to = scheduler(slots=3, queue=4, prefill_tokens=10, piece=8)
    submit(to, ticket(1), ticket(2, prompt=20), ticket(3, prompt=3))
    assert to.plan(0.0) == Plan(begun=(Begin(1, 0), Begin(2, 1)), prefill=(1, 2))
    to.stepped([Outcome(1, drawn=1, prefilled=1), Outcome(2, prefilled=8, prefill=12)])
    assert to.plan(0.0) == Plan(prefill=(2,), decode=(1,)), "two more are left, the third needs three"
    to.stepped([Outcome(1, drawn=1), Outcome(2, prefilled=8, prefill=4)])
    assert to.plan(0.0) == Plan(begun=(Begin(3, 2),), prefill=(2, 3), decode=(1,))


@pytest.mark.parametrize("name", ["slots", "queue", "prefill_tokens"])
def test_impossible_numbers_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is 0"):
        scheduler(**{name: 0})


def test_statistics_say_how_long_requests_waited() -> None:
    tally = Tally()
    to = scheduler(slots=1, tally=tally)
    to.submit(ticket(1, prompt=3), 1.0)
    to.submit(ticket(2, prompt=4), 2.0)
    to.plan(4.0)
    to.stepped([Outcome(1, drawn=1, prefilled=3, finish="stop")])
    to.plan(10.0)
    to.stepped([Outcome(2, drawn=1, prefilled=4)])
    found = tally.statistics()
    assert (found.begun, found.waited_s, found.waited_s_max) == (2, 11.0, 8.0)
    assert (found.steps, found.tokens, found.prefill_tokens) == (2, 2, 7)
    assert (found.queued, found.running, found.submitted, found.ended) == (0, 1, 2, {"stop": 1})


def test_what_one_scheduler_had_open_is_lost_for_the_next() -> None:
    tally = Tally()
    to = scheduler(slots=1, tally=tally)
    submit(to, ticket(1), ticket(2))
    to.plan(0.0)
    scheduler(tally=tally)
    found = tally.statistics()
    assert (found.queued, found.running, found.ended) == (0, 0, {LOST: 2})


class Machine(RuleBasedStateMachine):
    """Anything, in any order."""

    SLOTS = 3
    QUEUE = 5
    PREFILL = 12

    @initialize()
    def begin(self) -> None:
        self.tally = Tally()
        self.to = scheduler(slots=self.SLOTS, queue=self.QUEUE, prefill_tokens=self.PREFILL, tally=self.tally)
        self.numbers = 0
        self.now_s = 0.0
        self.tickets: dict[int, Ticket] = {}
        self.ends: Counter[int] = Counter()
        self.engine: dict[int, int] = {}  # what the engine's side holds: request to slot
        self.to_prefill: dict[int, int] = {}
        self.step: Plan | None = None
        self.passed_over: Counter[str] = Counter()  # how often others began while a caller had one waiting

    def take(self, ends: list[End]) -> None:
        self.ends.update(end.number for end in ends)
        self.forget_turns()

    def forget_turns(self) -> None:
        """Who has nothing to wait for has no turn."""
        for caller in "abc":
            if not self.still_waits(caller):
                self.passed_over[caller] = 0

    @rule(
        caller=st.sampled_from("abc"),
        prompt=st.integers(1, 20),
        limit_s=st.floats(0.0, 30.0),
        count=st.integers(1, 6),
    )
    def submit(self, caller: str, prompt: int, limit_s: float, count: int) -> None:
        for _ in range(count):
            self.numbers += 1
            self.tickets[self.numbers] = ticket(self.numbers, caller, prompt, self.now_s + limit_s)
            full = self.to.waiting + self.to.running == self.SLOTS + self.QUEUE
            ends = self.to.submit(self.tickets[self.numbers], self.now_s)
            assert len(ends) == full
            assert all(end.reason == REFUSED for end in ends)
            self.take(ends)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.numbers:
            self.take(self.to.cancel(data.draw(st.integers(1, self.numbers))))

    @rule(seconds=st.floats(0.0, 10.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        ends = self.to.expire(self.now_s)
        assert all(end.reason == EXPIRED for end in ends)
        assert all(self.tickets[end.number].deadline_s <= self.now_s for end in ends)
        self.take(ends)
        assert all(self.tickets[number].deadline_s > self.now_s for number in self.open())

    @precondition(lambda self: self.step is None)
    @rule()
    def plan(self) -> None:
        waiting = {self.tickets[number].caller for number in self.open() - set(self.engine)}
        plan = self.to.plan(self.now_s)
        for number in plan.left:
            assert self.ends[number] == 1, "who has left has ended"
            self.engine.pop(number, None)  # gone already if it ended during the step in both ways
        for begin in plan.begun:
            assert begin.slot not in self.engine.values(), "a slot has one request"
            self.engine[begin.number] = begin.slot
            self.to_prefill[begin.number] = self.tickets[begin.number].prompt
            self.watch_turns(self.tickets[begin.number].caller, waiting)
        read = [self.to_prefill[number] for number in plan.prefill]
        assert sum(read) <= self.PREFILL or len(read) == 1
        assert not set(plan.prefill) & set(plan.decode)
        assert set(plan.decode) == {number for number in self.engine if not self.to_prefill.get(number)}
        self.forget_turns()
        self.step = plan or None
        assert self.to.working == bool(plan)

    def watch_turns(self, begun: str, waiting: set[str]) -> None:
        """Between two turns of a caller every other one has at most one."""
        for caller in waiting - {begun}:
            self.passed_over[caller] += self.still_waits(caller)
            assert self.passed_over[caller] < len("abc")
        self.passed_over[begun] = 0

    def still_waits(self, caller: str) -> bool:
        return any(self.tickets[number].caller == caller for number in self.open() - set(self.engine))

    @precondition(lambda self: self.step is not None)
    @rule(data=st.data())
    def stepped(self, data: st.DataObject) -> None:
        assert self.step is not None
        outcomes = []
        for number in (*self.step.prefill, *self.step.decode):
            drawn = data.draw(
                st.sampled_from([Outcome(number, drawn=1), Outcome(number, drawn=1, finish="stop")])
                | st.builds(Outcome, st.just(number), prefill=st.integers(1, 20))
                | st.just(Outcome(number, story="no"))
            )
            outcomes.append(drawn)
            self.to_prefill[number] = drawn.prefill
            if (
                drawn.finish or drawn.story
            ):  # the engine's side sees that, whether it is cancelled by now or not
                del self.engine[number]
        self.step = None
        self.take(self.to.stepped(outcomes))

    @rule()
    def lost(self) -> None:
        held = set(self.to.slots())
        ends = self.to.lost("burned")
        assert {end.number for end in ends} == held
        self.take(ends)
        self.engine.clear()
        self.step = None

    def open(self) -> set[int]:
        return {number for number in self.tickets if not self.ends[number]}

    @invariant()
    def every_request_ends_at_most_once_and_none_is_forgotten(self) -> None:
        if not hasattr(self, "ends"):
            return
        assert max(self.ends.values(), default=0) <= 1
        assert self.to.waiting + self.to.running == len(self.open())
        found = self.tally.statistics()
        assert found.submitted == found.queued + found.running + sum(found.ended.values())

    @invariant()
    def the_bounds_hold(self) -> None:
        if not hasattr(self, "ends"):
            return
        assert self.to.running + self.to.waiting <= self.SLOTS + self.QUEUE
        assert self.to.free + self.to.running == self.SLOTS
        assert len(set(self.to.slots().values())) == self.to.running

    def teardown(self) -> None:
        if hasattr(self, "ends"):
            self.take(self.to.close("bye"))
            assert not self.open()
            assert self.to.free == self.SLOTS


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
