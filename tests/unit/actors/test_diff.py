"""Where two runs part: what must not matter does not, and what matters is named with both sides."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorRef, ActorSystem, Context, Request, message, on
from actors.tracing import Trace, TraceEvent, TraceOptions, diff
from tests.helpers.cast import Note, Performer
from tests.helpers.virtual_loop import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence


@message("diff.round")
class Round(Request[Note]):
    """Asked: ask all children, who tell a clerk."""

    number: int


@message("diff.part")
class Part(Request[Note]):
    """Asked: do your part, in some time."""

    number: int
    shares: tuple[int, ...]
    seconds: float


@dataclass(frozen=True)
class Course:
    """What may be unlike in two runs."""

    delays: random.Random
    wrong: tuple[int, int] | None = None
    rounds: int = 3


class Member(Performer):
    """Takes its time, and tells the clerk."""

    def __init__(self, clerk: ActorRef[Any], me: int) -> None:
        super().__init__()
        self.clerk, self.me = clerk, me

    @on(Part)
    async def part(self, msg: Part, ctx: Context) -> Note:
        await asyncio.sleep(msg.seconds)
        ctx.tell(self.clerk, Note(f"{self.me} did {msg.shares[self.me]}"))
        return Note(str(msg.shares[self.me]))


class Team(Actor):
    """Has three members."""

    def __init__(self, clerk: ActorRef[Any], course: Course) -> None:
        self.clerk, self.course = clerk, course

    async def on_start(self, ctx: Context) -> None:
        for me in range(3):
            await ctx.spawn(Member, self.clerk, me, name=f"member-{me}")

    @on(Round)
    async def round(self, msg: Round, ctx: Context) -> Note:
        asks = []
        for me, member in enumerate(ctx.children):
            share = -1 if self.course.wrong == (msg.number, me) else msg.number * 10 + me
            shares = tuple(share if at == me else 0 for at in range(3))
            asks.append((member, Part(msg.number, shares, self.course.delays.random())))
        return Note(str(await ctx.ask_all(asks, timeout_s=30)))


def run(seed: int, *, wrong: tuple[int, int] | None = None, rounds: int = 3, payloads: bool = True) -> Trace:
    """A run in which the members need other times, for each seed."""

    async def scenario() -> Trace:
        options = TraceOptions(payloads="hash" if payloads else "none")
        async with ActorSystem(trace=options) as system:
            clerk = await system.spawn(Performer, name="clerk")
            course = Course(random.Random(seed), wrong)
            team = await system.spawn(Team, clerk, course, name="team")
            for number in range(rounds):
                await system.ask(team, Round(number), timeout_s=60)
            assert system.tracer is not None
            return Trace.of(system.tracer.events())

    return run_virtual(scenario)


def test_times_numbers_and_who_comes_first_do_not_matter() -> None:
    a, b = run(1), run(2)
    assert [event.actor for event in a] != [event.actor for event in b], "the order is another one"
    assert diff(a, b, ignore={"seconds"}).same
    assert diff(a, b, ignore={"diff.part.seconds"}).same
    assert diff(a, b, ignore={"sec*"}).same
    lines = diff(a, b, ignore={"diff.part"}).lines()
    assert lines == [f"the same: 6 actors, {sum(n for n, _ in diff(a, b).counts.values())} events in each"]


def test_what_tells_times_is_named_when_it_is_not_ignored() -> None:
    found = diff(run(1), run(2))
    assert found.parting is not None
    assert [each.name for each in found.parting.unlike] == ["seconds"]


@pytest.mark.parametrize("wrong", [(0, 0), (1, 2), (2, 1)])
def test_the_first_difference_is_the_one_from_which_the_others_follow(wrong: tuple[int, int]) -> None:
    found = diff(run(1), run(1, wrong=wrong), ignore={"seconds"})
    parting = found.parting
    assert parting is not None
    assert (parting.actor, parting.sender) == ("/team", "outside")
    assert parting.a is not None
    assert (parting.a.kind, parting.a.detail) == ("send", f"/team/member-{wrong[1]}")
    expected = (f"shares[{wrong[1]}]", str(wrong[0] * 10 + wrong[1]), "-1")
    assert [tuple(each) for each in parting.unlike] == [expected]
    assert found.partings > 1, "what the member does differs, too"
    lines = found.lines()
    assert lines[0].startswith("the runs part at /team, event ")
    assert lines[0].endswith(f" of what it does on behalf of outside: in shares[{wrong[1]}]")
    assert lines[1].startswith("A: ")
    assert f"sends diff.part to /team/member-{wrong[1]}" in lines[2]
    assert lines[3] == "   {}: {} in A, {} in B".format(*expected)
    assert len(parting.context) == min(5, parting.index)


def test_without_payloads_only_the_course_is_compared_and_that_is_said() -> None:
    found = diff(run(1, payloads=False), run(2, wrong=(0, 1)), ignore={"seconds"})
    assert not found.payloads
    assert not found.same, "what is told has another length"
    found = diff(run(1, payloads=False), run(2))
    assert found.same
    assert "was not compared" in found.lines()[1]


def test_a_run_that_goes_on_is_another_one() -> None:
    found = diff(run(1), run(1, rounds=4))
    parting = found.parting
    assert parting is not None
    assert (parting.actor, parting.a) == ("outside", None)
    assert parting.b is not None
    assert parting.b.type == "diff.round"
    lines = found.lines()
    assert lines[0].endswith(": one goes on")
    assert lines[1] == "A: nothing more"
    assert "events of an actor in A and in B, where they are not as many:" in lines
    assert any(line.strip().startswith("/team/member-0: ") for line in lines)


def test_exact_compares_every_event_with_its_time() -> None:
    assert diff(run(1), run(1), exact=True).same
    found = diff(run(1), run(2), exact=True)
    parting = found.parting
    assert parting is not None
    assert parting.sender == "*"
    assert any(each.name in {"time_s", "payload", "actor"} for each in parting.unlike)
    a, b = list(run(1)), list(run(1))
    b[20] = b[20]._replace(time_s=b[20].time_s + 1e-9)
    found = diff(Trace.of(a), Trace.of(b), exact=True)
    assert found.parting is not None
    assert (found.parting.index, [each.name for each in found.parting.unlike]) == (20, ["time_s"])
    assert found.parting.context == tuple(a[15:20])


def test_the_same_as_data() -> None:
    assert diff(run(1), run(1)).as_dict()["first"] is None
    answer = diff(run(1), run(1, wrong=(0, 1))).as_dict()
    assert not answer["same"]
    assert answer["first"]["a"]["kind"] == "send"
    assert answer["first"]["unlike"] == [{"name": "shares[1]", "a": "1", "b": "-1"}]
    assert answer["counts"]["/clerk"][0] == answer["counts"]["/clerk"][1]


def _event(time_s: float, kind: str, detail: str, **more: Any) -> TraceEvent:
    return TraceEvent(time_s, kind, "/a", 1, more.pop("msg_id", 0), 0, "some.type", detail, **more)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (
            "/a waited for /b since 3.125 and was given 30 s",
            "/a waited for /b since 4.5 and was given 29.9 s",
            True,
        ),
        ("in 0.1 s", "in 0.2 s", True),
        ("no text", "another text", False),
        ("loss 3.5", "loss 3.25", False),
    ],
)
def test_texts_of_errors_count_without_times(a: str, b: str, same: bool) -> None:  # noqa: FBT001 - a column of the table
    found = diff(Trace.of([_event(0, "error", a)]), Trace.of([_event(1, "error", b)]))
    assert found.same is same


def _traces(*runs: Sequence[TraceEvent]) -> list[Trace]:
    return [Trace.of(events) for events in runs]


def test_damaged_payloads_and_unknown_kinds_are_coped_with() -> None:
    a, b = _traces(
        [_event(0, "send", "/b", payload=b"1"), _event(1, "of a later version", "x")],
        [_event(0, "send", "/b", payload=b"2"), _event(1, "of a later version", "y")],
    )
    found = diff(a, b)
    assert found.parting is not None
    assert [each.name for each in found.parting.unlike] == ["payload"]
    a, b = _traces([_event(1, "of a later version", "x")], [_event(1, "of a later version", "y")])
    assert diff(a, b).same
    assert diff(*_traces([], [])).same
