"""What the runtime refuses at its door, in one table: each with its own error, and at once."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorError,
    ActorSystem,
    AmbiguousOption,
    Context,
    EndlessWait,
    IllegalTransition,
    InsideTree,
    MessageError,
    MutablePayload,
    Overflow,
    Request,
    SpawnOutsideParent,
    State,
    SystemClosed,
    UnboundedMailbox,
    UnregisteredMessage,
    UpwardAsk,
    WrongState,
    message,
    on,
)
from tests.helpers.cast import Echo, Note, Performer
from tests.helpers.virtual_loop import virtual

if TYPE_CHECKING:
    from actors import ActorRef


@message("refusals.work")
class Work(Request[Note]):
    """Asked: work, in an epoch only."""


@message("refusals.data")
class Data(Request[Note]):
    """Carries whatever it is given."""

    value: Any


@message("refusals.go")
class Go(Request[Note]):
    """Asked: do what the test has put into the actor."""


class Bound(Performer):
    """Works in an epoch only."""

    @on(Work, when=State.RUNNING)
    async def work(self, msg: Work, ctx: Context) -> Note:
        return Note("worked")


class Doer(Performer):
    """Does one thing inside a handler, and reports what that raised."""

    def __init__(self, todo: Callable[[Context, World], Awaitable[Any]], world: World) -> None:
        super().__init__()
        self.todo = todo
        self.world = world

    async def on_start(self, ctx: Context) -> None:
        self.world.child = await ctx.spawn(Bound, name="child")

    @on(Go)
    async def go(self, msg: Go, ctx: Context) -> Note:
        await _raised(self.world, self.todo(ctx, self.world))
        return Note()


class World:
    """Who is there: /doer, its /doer/child, and /other beside it."""

    def __init__(self, system: ActorSystem) -> None:
        self.system = system
        self.child: ActorRef[Bound]
        self.other: ActorRef[Performer]
        self.error: BaseException | None = None


class Named(Actor):
    """Takes an argument that spawn has an option for."""

    def __init__(self, name: str = "nobody") -> None:
        self.name = name

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        return Note(self.name)


async def _raised(world: World, doing: Awaitable[Any]) -> None:
    try:
        await doing
    except Exception as error:  # noqa: BLE001 - looked at by the test
        world.error = error


def _async(act: Callable[[Context, World], Any]) -> Callable[[Context, World], Awaitable[Any]]:
    async def do(ctx: Context, world: World) -> None:
        act(ctx, world)

    return do


Inside = Callable[[Context, World], Awaitable[Any]]
Outside = Callable[[World], Awaitable[Any]]
ENDLESS = [math.inf, math.nan]

INSIDE: dict[str, tuple[type[ActorError], Inside]] = {
    "ask itself": (UpwardAsk, lambda ctx, _: ctx.ask(ctx.self_ref, Echo())),
    "ask sideways": (UpwardAsk, lambda ctx, world: ctx.ask(world.other, Echo())),
    "ask many, one of them sideways": (
        UpwardAsk,
        lambda ctx, world: ctx.ask_all([(world.child, Echo()), (world.other, Echo())]),
    ),
    "stop sideways": (UpwardAsk, lambda ctx, world: ctx.stop(world.other)),
    "an epoch sideways": (UpwardAsk, _async(lambda ctx, world: ctx.epoch(1, [world.other], timeout_s=1))),
    "ask of the system": (InsideTree, lambda _, world: world.system.ask(world.child, Echo(), timeout_s=1)),
    "stop by the system": (InsideTree, lambda _, world: world.system.stop(world.other)),
    "shutdown": (InsideTree, lambda _, world: world.system.shutdown(1.0)),
    "spawn outside a parent": (SpawnOutsideParent, lambda _, world: world.system.spawn(Performer)),
    "an illegal transition": (IllegalTransition, _async(lambda ctx, _: ctx.rest())),
    "a handler bound to another state": (WrongState, lambda ctx, world: ctx.ask(world.child, Work())),
    "an unregistered message": (UnregisteredMessage, lambda ctx, world: ctx.ask(world.child, object())),
    "an unbounded mailbox": (UnboundedMailbox, lambda ctx, _: ctx.spawn(Performer, capacity=0)),
} | {
    f"{what} for {timeout_s} s": (EndlessWait, act)
    for timeout_s in ENDLESS
    for what, act in {
        "ask": lambda ctx, world, t=timeout_s: ctx.ask(world.child, Echo(), timeout_s=t),
        "ask many": lambda ctx, world, t=timeout_s: ctx.ask_all([(world.child, Echo())], timeout_s=t),
        "stop": lambda ctx, world, t=timeout_s: ctx.stop(world.child, timeout_s=t),
        "wait": lambda ctx, _, t=timeout_s: ctx.wait(asyncio.sleep(0), timeout_s=t, reason="a nap"),
        "job": lambda ctx, _, t=timeout_s: ctx.offload_within(t, lambda _token: None),
        "handler": lambda ctx, _, t=timeout_s: ctx.spawn(Performer, handler_timeout_s=t),
    }.items()
}

OUTSIDE: dict[str, tuple[type[ActorError], Outside]] = {
    "an unbounded mailbox": (UnboundedMailbox, lambda world: world.system.spawn(Performer, capacity=0)),
    "a mailbox without a limit": (
        UnboundedMailbox,
        lambda world: world.system.spawn(Performer, capacity=None),
    ),
    "a mailbox of infinite size": (
        UnboundedMailbox,
        lambda world: world.system.spawn(Performer, capacity=math.inf),
    ),
    "an unregistered message": (
        UnregisteredMessage,
        lambda world: world.system.ask(world.other, object(), timeout_s=1),
    ),
    "a payload that can be changed": (
        MutablePayload,
        lambda world: world.system.ask(world.other, Data(np.zeros(3)), timeout_s=1),
    ),
    "a payload of objects": (
        MessageError,
        lambda world: world.system.ask(world.other, Data(np.array([object()])), timeout_s=1),
    ),
    "a handler bound to another state": (
        WrongState,
        lambda world: world.system.ask(world.child, Work(), timeout_s=1),
    ),
    "an option that is a parameter, too": (
        AmbiguousOption,
        lambda world: world.system.spawn(Named, name="somebody"),
    ),
} | {
    f"{what} for {timeout_s} s": (EndlessWait, act)
    for timeout_s in ENDLESS
    for what, act in {
        "ask": lambda world, t=timeout_s: world.system.ask(world.other, Echo(), timeout_s=t),
        "stop": lambda world, t=timeout_s: world.system.stop(world.other, timeout_s=t),
        "the end of an epoch": lambda world, t=timeout_s: world.system.wait_epoch(
            world.other, 1, timeout_s=t
        ),
        "shutdown": lambda world, t=timeout_s: world.system.shutdown(t),
    }.items()
}

AFTER_SHUTDOWN: dict[str, Outside] = {
    "ask": lambda world: world.system.ask(world.other, Echo(), timeout_s=1),
    "spawn": lambda world: world.system.spawn(Performer),
    "stop": lambda world: world.system.stop(world.other),
    "the end of an epoch": lambda world: world.system.wait_epoch(world.other, 1, timeout_s=1),
}


def _check(error: BaseException | None, expected: type[ActorError], world: World) -> None:
    assert type(error) is expected, error
    assert str(error), "it says why"
    assert asyncio.get_running_loop().time() == 0.0, "at once"
    assert world.system.statistics()["open_waits"] == world.system.statistics()["open_asks"] == 0


async def _world(system: ActorSystem, todo: Inside) -> tuple[World, ActorRef[Doer]]:
    world = World(system)
    world.other = await system.spawn(Performer, name="other")
    return world, await system.spawn(Doer, todo, world, name="doer")


@pytest.mark.parametrize("what", INSIDE)
def test_inside_a_handler_it_is_refused(what: str) -> None:
    expected, todo = INSIDE[what]

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            world, doer = await _world(system, todo)
            await system.ask(doer, Go(), timeout_s=5)
            _check(world.error, expected, world)
            assert [node.path for node in system.tree()] == ["/other", "/doer"], "nothing is left of it"

    scenario()


@virtual
async def test_to_ask_an_ancestor_is_refused() -> None:
    class Below(Performer):
        @on(Go)
        async def go(self, msg: Go, ctx: Context) -> Note:
            assert ctx.parent is not None
            await _raised(world, ctx.ask(ctx.parent, Echo()))
            return Note()

    async def delegate(ctx: Context, _: World) -> None:
        await ctx.ask(await ctx.spawn(Below), Go())

    async with ActorSystem() as system:
        world, doer = await _world(system, delegate)
        await system.ask(doer, Go(), timeout_s=5)
        _check(world.error, UpwardAsk, world)


@pytest.mark.parametrize("what", OUTSIDE)
def test_outside_the_tree_it_is_refused(what: str) -> None:
    expected, act = OUTSIDE[what]

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            world, _ = await _world(system, _async(lambda _ctx, _world: None))
            await _raised(world, act(world))
            _check(world.error, expected, world)
            assert len(system.tree()) == 2, "nothing is left of it"

    scenario()


@pytest.mark.parametrize("what", AFTER_SHUTDOWN)
def test_after_shutdown_it_is_refused(what: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            world, _ = await _world(system, _async(lambda _ctx, _world: None))
            await system.shutdown(1)
            await _raised(world, AFTER_SHUTDOWN[what](world))
            _check(world.error, SystemClosed, world)
            with pytest.raises(SystemClosed):
                system.tell(world.other, Note())
            with pytest.raises(SystemClosed):
                system.receiver()

    scenario()


@virtual
async def test_a_receiver_has_a_limit_too() -> None:
    async with ActorSystem() as system:
        for capacity in (0, None, math.inf):
            with pytest.raises(UnboundedMailbox):
                system.receiver(capacity=capacity)  # type: ignore[arg-type] # the point of the test


@virtual
async def test_an_argument_named_like_an_option_goes_by_position() -> None:
    """`name=` is the actor's; what is handed over by position is the constructor's, without doubt."""
    async with ActorSystem() as system:
        ref = await system.spawn(Named, "somebody", name="n")
        assert ref.path == "/n"
        assert await system.ask(ref, Echo(), timeout_s=1) == Note("somebody")
        unnamed = await system.spawn(Named)  # no option is given: nothing to confuse
        assert await system.ask(unnamed, Echo(), timeout_s=1) == Note("nobody")


@pytest.mark.parametrize(
    "options",
    [
        {"name": "x"},
        {"capacity": 7},
        {"overflow": Overflow.FAIL},
        {"handler_timeout_s": 1.0},
    ],
)
def test_every_option_that_is_a_parameter_too_is_refused(options: dict[str, Any]) -> None:
    class All(Actor):
        def __init__(
            self,
            first: int = 0,
            *,
            name: str = "",
            capacity: int = 0,
            overflow: str = "",
            handler_timeout_s: float = 0.0,
        ) -> None:
            pass

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            (option,) = options
            with pytest.raises(AmbiguousOption, match=f"`{option}` is an option of spawn"):
                await system.spawn(All, 1, **options)

    scenario()
