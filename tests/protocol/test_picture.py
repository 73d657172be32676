"""The picture of a living system says who does what since when, and who waits for whom; as plain data."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorSystem, AskFailed, Context, SystemClosed, on
from actors.living import picture, picture_lines
from actors.living.looking import TRIES, from_outside
from actors.living.picture import ACTORS_MAX, FORMAT, WAITS_MAX
from actors.living.story import wait_lines
from tests.helpers.cast import Director, Echo, Note, Performer, Sleep, Spawn
from tests.helpers.virtual_loop import Stuck, settle, virtual, wait_for_threads

if TYPE_CHECKING:
    from actors import ActorRef


class Boss(Actor):
    """Asks whoever is below it, and gives jobs to threads."""

    def __init__(self, job: Stuck | None = None) -> None:
        self.job = job

    async def on_start(self, ctx: Context) -> None:
        self.below = await ctx.spawn(Performer, name="below")

    @on(Sleep)
    async def sleep(self, msg: Sleep, ctx: Context) -> Note:
        return await ctx.ask(self.below, msg, timeout_s=50.0)

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        assert self.job is not None
        await ctx.offload_within(20.0, self.job)
        return Note()


def found(taken: dict[str, Any], path: str) -> dict[str, Any]:
    """The actor at a path."""
    at: dict[str, Any] = {"children": taken["tree"]}
    for name in path.strip("/").split("/"):
        at = next(node for node in at["children"] if node["path"].rpartition("/")[2] == name)
    return at


@virtual
async def test_it_says_who_handles_what_and_waits_for_whom() -> None:
    async with ActorSystem("seen") as system:
        boss = await system.spawn(Boss, name="boss")
        asking = asyncio.ensure_future(system.ask(boss, Sleep(30.0), timeout_s=40.0))
        await settle()
        for text in ("one", "two"):
            system.tell(boss, Note(text))
        await asyncio.sleep(12.5)
        taken = picture(system)
        lines = picture_lines(taken)
        await asking
    assert (taken["format"], taken["system"], taken["left_out"]) == (
        FORMAT,
        "seen",
        {"actors": 0, "waits": 0},
    )
    assert json.loads(json.dumps(taken)) == taken
    top, below = found(taken, "/boss"), found(taken, "/boss/below")
    number = top["handles"]["message"]
    assert top["handles"] == {
        "message": number,
        "type": "cast.sleep",
        "sender": "outside",
        "since_s": 12.5,
        "left_s": 27.5,
    }
    assert (top["queued"], top["phase"], top["state"], top["incarnation"], top["actor"]) == (
        *(2, "live", "idle"),
        *(1, "Boss"),
    )
    assert top["wait"] == {
        "waiter": "/boss",
        "incarnation": 1,
        "target": "/boss/below",
        "reason": "reply to cast.sleep",
        "message": number,
        "since_s": 12.5,
        "left_s": 27.5,
    }
    assert (below["handles"]["sender"], below["wait"], below["waits"]) == ("/boss", None, 0)
    assert [(wait["waiter"], wait["target"]) for wait in taken["waits"]] == [
        ("outside", "/boss"),
        ("/boss", "/boss/below"),
    ]
    assert f"/boss: Boss, life 1, idle, 2 queued, handles message {number} (cast.sleep) for 12.5 s, " in (
        "\n".join(lines)
    )
    chain = lines.index("outside waits for /boss (reply to cast.sleep) for 12.5 s, 27.5 s left")
    assert lines[chain + 1].startswith("    /boss waits for /boss/below ")


@virtual
async def test_it_names_the_jobs_and_where_they_are() -> None:
    job = Stuck()
    async with ActorSystem() as system:
        boss = await system.spawn(Boss, job, name="boss")
        asking = asyncio.ensure_future(system.ask(boss, Echo(), timeout_s=40.0))
        await settle()
        wait_for_threads(lambda: job.entered == 1)
        taken = picture(system)
        with pytest.raises(AskFailed, match="Expired"):
            await asking
        job.release()
        assert not picture(system)["jobs"]
    (shown,) = taken["jobs"]
    assert (shown["actor"], shown["message"]) == ("/boss", found(taken, "/boss")["handles"]["message"])
    assert (shown["since_s"], shown["left_s"]) == (0.0, 20.0)
    assert found(taken, "/boss")["wait"]["target"] == f"job {shown['name']}"
    assert re.search(r"^after \S+ s; at \w+\.py:\d+ in ", shown["seen"])


@virtual
async def test_a_hook_is_named_as_one() -> None:
    class Slow(Actor):
        async def on_start(self, ctx: Context) -> None:
            await asyncio.sleep(3.0)

    async with ActorSystem() as system:
        starting = asyncio.ensure_future(system.spawn(Slow, name="slow"))
        await asyncio.sleep(1.0)
        node = found(picture(system), "/slow")
        await starting
        idle = found(picture(system), "/slow")
    assert (node["phase"], node["handles"]["message"], node["handles"]["type"]) == ("starting", 0, "")
    assert node["handles"]["since_s"] == 1.0
    assert (idle["phase"], idle["handles"]) == ("live", None)


class Gatherer(Actor):
    """Asks two at once, of whom the second one is quicker."""

    async def on_start(self, ctx: Context) -> None:
        self.below = [await ctx.spawn(Performer, name=name) for name in ("slow", "quick")]

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        await ctx.ask_all(zip(self.below, (Sleep(30.0), Sleep(1.0)), strict=True), timeout_s=50.0)
        return Note()


@virtual
async def test_nobody_waits_for_whoever_has_answered() -> None:
    async with ActorSystem() as system:
        gatherer = await system.spawn(Gatherer, name="gatherer")
        asking = asyncio.ensure_future(system.ask(gatherer, Echo(), timeout_s=60.0))
        await settle()
        before = picture(system)
        await asyncio.sleep(2.0)
        taken = picture(system)
        await asking
    assert (found(before, "/gatherer")["waits"], found(taken, "/gatherer")["waits"]) == (2, 1)
    assert [wait["target"] for wait in taken["waits"]] == ["/gatherer", "/gatherer/slow"]
    assert taken["statistics"]["open_waits"] == 2


@virtual
async def test_it_is_bounded_and_says_what_it_leaves_out() -> None:
    async with ActorSystem() as system:
        refs: list[ActorRef[Any]] = []
        for number in range(ACTORS_MAX // 100 + 1):
            top = await system.spawn(Director, name=f"top-{number}")
            for child in range(100):
                await system.ask(top, Spawn(f"{child}"), timeout_s=5.0)
            refs.append(top)
        asks = [
            asyncio.ensure_future(system.ask(refs[number % 10], Sleep(1.0), timeout_s=1000.0))
            for number in range(WAITS_MAX + 7)
        ]
        await settle()
        taken = picture(system)
        await asyncio.gather(*asks)
    assert taken["left_out"] == {"actors": (ACTORS_MAX // 100 + 1) * 101 - ACTORS_MAX, "waits": 7}
    assert len(taken["waits"]) == WAITS_MAX
    assert sum(1 + len(top["children"]) for top in taken["tree"]) == ACTORS_MAX
    assert "left out: 7 waits" in picture_lines(taken)


async def test_a_system_that_was_never_opened_has_none() -> None:
    with pytest.raises(SystemClosed):
        picture(ActorSystem())


def test_what_changes_while_it_is_read_is_read_again() -> None:
    tries = iter([RuntimeError("dictionary changed size during iteration"), KeyError("gone"), None])

    def take() -> dict[str, Any]:
        if (error := next(tries)) is not None:
            raise error
        return {"seen": True}

    assert from_outside(take) == {"seen": True}


def test_what_changes_for_ever_is_an_error_in_the_end() -> None:
    calls = []

    def take() -> dict[str, Any]:
        calls.append(1)
        raise RuntimeError("dictionary changed size during iteration")

    with pytest.raises(RuntimeError):
        from_outside(take)
    assert len(calls) == TRIES


def test_waits_in_a_circle_are_shown_once() -> None:
    ring = [
        {"waiter": waiter, "target": target, "reason": "x", "since_s": 1.0, "left_s": 2.0}
        for waiter, target in [("a", "b"), ("b", "c"), ("c", "a")]
    ]
    assert [line.strip().split(" ")[0] for line in wait_lines(ring)] == ["a", "b", "c"]
