"""Law 4: every ask ends in exactly one of Reply, Failed, Down, Expired, Refused."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

from actors import (
    Actor,
    ActorDown,
    ActorRef,
    ActorSystem,
    AskFailed,
    Context,
    Expired,
    MessageError,
    NotHandled,
    Refused,
    State,
    SystemClosed,
    WrongState,
    message,
    on,
)
from actors.errors import EndlessWait
from tests.helpers.cast import Cling, Echo, Fail, Note, Performer, Sleep, supervised
from tests.helpers.virtual_loop import settle, virtual


@message("ends.odd")
class Odd:
    kind: str


@message("ends.typed")
class Typed:
    number: int


@message("ends.loose")
class Loose:
    """Anything at all."""

    content: Any


@message("ends.picky")
class Picky:
    number: int
    kept: tuple[int, ...] = ()  # so that it is read back, and not shared

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ArithmeticError("below zero")


@message("ends.array")
class Bulk:
    array: np.ndarray


@message("ends.idle")
class OnlyIdle:
    pass


@message("ends.running")
class OnlyRunning:
    pass


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class Odder(Actor):
    """Answers with things that cannot travel, or raises things that cannot be shown."""

    @on(Odd)
    async def odd(self, msg: Odd, ctx: Context) -> object:
        if msg.kind == "picky":
            return _made_without_check()
        if msg.kind == "endless":
            raise ValueError("x" * 1_000_000)
        if msg.kind == "surrogate":
            raise ValueError("file \udcff")
        if msg.kind == "unprintable":
            raise UnprintableError
        return {
            "none": None,
            "text": "no message",
            "array": Bulk(np.zeros(3)),
            "type": Typed("seven"),  # type: ignore[arg-type] # the point of the test
            "keys": Loose({1: "one"}),
            "large": Loose("x" * 60_000),
        }[msg.kind]

    @on(Typed)
    async def typed(self, msg: Typed, ctx: Context) -> Typed:
        return msg

    @on(OnlyIdle, when=State.IDLE)
    async def only_idle(self, msg: OnlyIdle, ctx: Context) -> Note:
        return Note("idle")

    @on(OnlyRunning, when={State.RUNNING, State.EPOCH_DONE})
    async def only_running(self, msg: OnlyRunning, ctx: Context) -> Note:
        return Note("running")


def _made_without_check() -> Picky:
    picky = object.__new__(Picky)
    object.__setattr__(picky, "number", -1)
    object.__setattr__(picky, "kept", ())
    return picky


def _nothing_is_open(system: ActorSystem) -> bool:
    counts = system.statistics()
    return bool(counts["open_asks"] == counts["open_waits"] == 0)


@virtual
async def test_it_ends_in_a_reply() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer)
        assert await system.ask(ref, Echo("hello"), timeout_s=1) == Note("hello")
        assert _nothing_is_open(system)


@virtual
async def test_it_ends_in_failed_when_the_handler_raises() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        with pytest.raises(AskFailed, match="/p failed with ValueError: as asked") as caught:
            await system.ask(ref, Fail(), timeout_s=1)
        assert caught.value.error_type == "ValueError"
        assert "raise ERRORS" in caught.value.traceback_text
        assert _nothing_is_open(system)


@pytest.mark.parametrize("error", ["SystemExit", "CancelledError", "GeneratorExit"])
def test_base_exceptions_count(error: str) -> None:
    @virtual
    async def scenario() -> None:
        log: list[str] = []
        async with ActorSystem() as system:
            ref = await system.spawn(Performer, log, name="p", supervision=supervised())
            with pytest.raises(AskFailed) as caught:
                await system.ask(ref, Fail(error), timeout_s=1)
            assert caught.value.error_type == error
            assert await system.ask(ref, Echo("again"), timeout_s=5) == Note("again"), "it was restarted"
        assert f"failure /p: {error}" in log

    scenario()


@virtual
async def test_a_handler_that_returns_nothing_is_no_reply() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Odder)
        with pytest.raises(AskFailed, match="returned nothing") as caught:
            await system.ask(ref, Odd("none"), timeout_s=1)
        assert caught.value.error_type == "NoReply"
        assert await system.ask(ref, OnlyIdle(), timeout_s=1) == Note("idle"), "the actor lives on"


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("text", "UnregisteredMessage"),
        ("array", "MutablePayload"),
        ("endless", "ValueError"),
        ("type", "MessageError"),
        ("keys", "MessageError"),
        ("large", "MessageError"),
        ("picky", "MessageError"),
    ],
)
def test_an_answer_that_cannot_travel_fails_the_handler(kind: str, error: str) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            ref = await system.spawn(Odder)
            with pytest.raises(AskFailed) as caught:
                await system.ask(ref, Odd(kind), timeout_s=1)
            assert caught.value.error_type == error
            await settle()
            assert system.tree() == ()

    scenario()


@pytest.mark.parametrize(
    ("kind", "error"),
    [("endless", "ValueError"), ("surrogate", "ValueError"), ("unprintable", "UnprintableError")],
)
def test_an_error_that_cannot_be_shown_still_ends_the_ask_and_the_incarnation(kind: str, error: str) -> None:
    """Its text travels in an answer and in a Down: were it too long, the actor would never be restarted."""

    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            ref = await system.spawn(Odder, supervision=supervised())
            with pytest.raises(AskFailed) as caught:
                await system.ask(ref, Odd(kind), timeout_s=1)
            assert caught.value.error_type == error
            assert await system.ask(ref, OnlyIdle(), timeout_s=5) == Note("idle")

    scenario()


@virtual
async def test_an_answer_that_its_own_class_refuses_is_a_failure() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Odder)
        with pytest.raises(AskFailed, match=r"ends.picky refuses its fields: below zero"):
            await system.ask(ref, Odd("picky"), timeout_s=1)
        assert _nothing_is_open(system)


@virtual
async def test_a_message_that_its_class_refuses_is_an_error_of_its_sender_and_is_never_sent() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Odder)
        wrong = Typed("seven")  # type: ignore[arg-type] # the point of the test
        before = system.statistics()
        for _ in range(2):  # what was found out about a class at first must hold from then on
            with pytest.raises(MessageError, match=r"ends.typed.number cannot be a str"):
                await system.ask(ref, wrong, timeout_s=1)
            with pytest.raises(MessageError, match=r"ends.typed.number cannot be a str"):
                system.tell(ref, wrong)
            with pytest.raises(MessageError, match=r"ends.picky refuses its fields: below zero"):
                await system.ask(ref, _made_without_check(), timeout_s=1)
        assert system.statistics() == before, "nothing was sent, and nothing is open"
        assert await system.ask(ref, Typed(7), timeout_s=1) == Typed(7)
        assert system.statistics()["dead_letters"] == {}
        assert system.tree()[0].incarnation == 1


@pytest.mark.parametrize("timeout_s", [math.inf, -math.inf, math.nan])
def test_an_ask_without_end_cannot_be_begun(timeout_s: float) -> None:
    @virtual
    async def scenario() -> None:
        async with ActorSystem() as system:
            log: list[str] = []
            ref = await system.spawn(Performer, log, name="p")
            with pytest.raises(EndlessWait, match="outside cannot ask /p without end"):
                await system.ask(ref, Echo("never sent"), timeout_s=timeout_s)
            await settle()
            assert "echo never sent" not in log
            assert _nothing_is_open(system)

    scenario()


@message("ends.keep")
class Keep:
    """Asked or told: keep this, and answer with it."""

    content: Any


class Keeper(Actor):
    """Holds on to what it gets, and changes it if it can."""

    def __init__(self, kept: list[Keep]) -> None:
        self.kept = kept

    @on(Keep)
    async def keep(self, msg: Keep, ctx: Context) -> Keep:
        self.kept.append(msg)
        return msg


@virtual
async def test_what_can_be_changed_arrives_as_a_copy() -> None:
    """Never again: the sender cleared what it had sent while the receiver read it."""
    async with ActorSystem() as system:
        kept: list[Keep] = []
        refs = [await system.spawn(Keeper, kept) for _ in range(2)]
        sent = Keep({"numbers": [1, 2]})
        for ref in refs:
            system.tell(ref, sent)
        sent.content["numbers"].append(3)
        sent.content.clear()
        await settle()
        assert [keep.content for keep in kept] == [{"numbers": (1, 2)}] * 2
        assert kept[0].content is not kept[1].content, "each receiver has its own"
        answer = await system.ask(refs[0], Keep({"a": 1}), timeout_s=1)
        kept[-1].content.clear()
        assert answer.content == {"a": 1}, "and so has whoever asked"


@virtual
async def test_what_nobody_can_change_arrives_as_it_is() -> None:
    async with ActorSystem() as system:
        kept: list[Keep] = []
        ref = await system.spawn(Keeper, kept)
        for content in (None, True, 7, 1.5, "text", b"bytes", ref):
            sent = Keep(content)
            assert await system.ask(ref, sent, timeout_s=1) is sent
            assert kept[-1] is sent


@virtual
async def test_it_ends_in_down_when_the_actor_ends() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        first = asyncio.create_task(system.ask(ref, Sleep(60), timeout_s=100))
        queued = [asyncio.create_task(system.ask(ref, Echo(str(i)), timeout_s=100)) for i in range(3)]
        await settle()
        await system.stop(ref, timeout_s=1)
        outcomes = await asyncio.gather(first, *queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ActorDown] * 4
        assert not any(outcome.restarting for outcome in outcomes if isinstance(outcome, ActorDown))
        assert _nothing_is_open(system)


@virtual
async def test_every_queued_ask_hears_of_a_failure() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p", supervision=supervised())
        failing = asyncio.create_task(system.ask(ref, Fail(), timeout_s=100))
        queued = [asyncio.create_task(system.ask(ref, Echo(str(i)), timeout_s=100)) for i in range(3)]
        outcomes = await asyncio.gather(failing, *queued, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [AskFailed, ActorDown, ActorDown, ActorDown]
        assert all(outcome.restarting for outcome in outcomes[1:] if isinstance(outcome, ActorDown))


@virtual
async def test_asking_who_is_gone_is_down() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer, name="p")
        await system.stop(ref)
        with pytest.raises(ActorDown, match="/p is down"):
            await system.ask(ref, Echo(), timeout_s=1)
        again = await system.spawn(Performer, name="p")
        assert again.path == ref.path
        with pytest.raises(ActorDown):
            await system.ask(ref, Echo(), timeout_s=1)
        assert await system.ask(again, Echo("new"), timeout_s=1) == Note("new")


@virtual
async def test_it_ends_in_expired_which_says_who_waited_for_whom_why_and_since_when() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log, name="p")
        await asyncio.sleep(2)
        with pytest.raises(Expired, match=r"outside waited for /p \(reply to cast.sleep\) and was given 3 s"):
            await system.ask(ref, Sleep(60), timeout_s=3)
        await settle()
        assert log[-1] == "cancelled", "nobody waits any more, so the handler is interrupted"
        assert await system.ask(ref, Echo("next"), timeout_s=1) == Note("next")
        assert _nothing_is_open(system)


@virtual
async def test_expired_is_a_timeout_error() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Performer)
        with pytest.raises(TimeoutError):
            await system.ask(ref, Sleep(2), timeout_s=1)


@virtual
async def test_expired_requests_are_skipped_when_they_are_dequeued() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log)
        busy = asyncio.create_task(system.ask(ref, Sleep(5), timeout_s=10))
        await settle()
        with pytest.raises(Expired):
            await system.ask(ref, Echo("never seen"), timeout_s=1)
        await busy
        assert await system.ask(ref, Echo("seen"), timeout_s=1) == Note("seen")
        assert "echo never seen" not in log
        assert system.statistics()["dead_letters"] == {"expired in the mailbox": 1}


@virtual
async def test_it_ends_in_refused() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Odder, name="odd")
        with pytest.raises(NotHandled, match=r"/odd \(Odder\) has no handler for Echo"):
            await system.ask(ref, Echo(), timeout_s=1)
        with pytest.raises(
            WrongState, match=r"/odd is idle and takes OnlyRunning only in epoch_done, running"
        ):
            await system.ask(ref, OnlyRunning(), timeout_s=1)
        assert await system.ask(ref, OnlyIdle(), timeout_s=1) == Note("idle")
        system.tell(ref, OnlyRunning())
        await settle()
        assert system.statistics()["dead_letters"] == {"refused: WrongState": 1}
        assert _nothing_is_open(system)
    with pytest.raises(SystemClosed):
        await system.ask(ref, OnlyIdle(), timeout_s=1)


@virtual
async def test_every_refusal_is_an_ask_error() -> None:
    async with ActorSystem() as system:
        ref = await system.spawn(Odder)
        with pytest.raises(Refused):
            await system.ask(ref, Echo(), timeout_s=1)


@virtual
async def test_a_late_reply_is_a_dead_letter() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Clinger, log)
        with pytest.raises(Expired):
            await system.ask(ref, Cling(), timeout_s=1)
        await asyncio.sleep(0.2)
        assert log == ["answers all the same"]
        assert system.statistics()["dead_letters"] == {"late reply": 1}
        assert system.tree()[0].incarnation == 1


class Clinger(Actor):
    """Swallows its cancellation, but ends soon."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @on(Cling)
    async def cling(self, msg: Cling, ctx: Context) -> Note:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
        self.log.append("answers all the same")
        return Note("late")


@virtual
async def test_an_answer_of_an_incarnation_that_was_given_up_is_a_dead_letter() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log, name="p", supervision=supervised())
        with pytest.raises(Expired):
            await system.ask(ref, Cling(), timeout_s=1)
        await asyncio.sleep(1)
        assert await system.ask(ref, Echo("second life"), timeout_s=5) == Note("second life")
        await asyncio.sleep(200)
        assert log[-1] == "let go", "the task that was left behind has ended by itself"
        assert system.statistics()["stray_tasks"] == 0
        assert system.tree()[0].incarnation == 2


@virtual
async def test_cancelling_an_ask_interrupts_its_handler() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log)
        asking = asyncio.create_task(system.ask(ref, Sleep(60), timeout_s=100))
        await settle()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await settle()
        assert log[-1] == "cancelled"
        assert _nothing_is_open(system)
        assert await system.ask(ref, Echo("still here"), timeout_s=1) == Note("still here")


@virtual
async def test_cancelling_a_queued_ask_leaves_the_running_handler_alone() -> None:
    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Performer, log)
        first = asyncio.create_task(system.ask(ref, Sleep(5), timeout_s=100))
        second = asyncio.create_task(system.ask(ref, Echo("given up"), timeout_s=100))
        await settle()
        second.cancel()
        assert await first == Note("slept")
        await settle()
        assert "echo given up" not in log


@message("ends.ask_all")
class AskAll:
    refs: tuple[ActorRef[Performer], ...]


@virtual
async def test_ask_all_returns_an_end_for_each_in_order() -> None:
    """ "Gradients were counted": every result stands at the place of the request that it answers."""

    class Collector(Actor):
        @on(AskAll)
        async def collect(self, msg: AskAll, ctx: Context) -> Note:
            good = await ctx.spawn(Performer)
            slow = await ctx.spawn(Performer)
            broken = await ctx.spawn(Performer)
            gone = await ctx.spawn(Performer)
            await ctx.stop(gone)
            outcomes = await ctx.ask_all(
                [
                    (slow, Sleep(60)),
                    (good, Echo("one")),
                    (broken, Fail()),
                    (gone, Echo()),
                    (good, Odd("none")),
                    (good, Echo("two")),
                ],
                timeout_s=2,
            )
            return Note(" ".join(type(o).__name__ if isinstance(o, Exception) else o.text for o in outcomes))

    async with ActorSystem() as system:
        ref = await system.spawn(Collector)
        answer = await system.ask(ref, AskAll(()), timeout_s=10)
        assert answer.text == "Expired one AskFailed ActorDown NotHandled two"


@virtual
async def test_ask_all_gives_up_the_others_when_one_cannot_travel() -> None:
    class Collector(Actor):
        @on(AskAll)
        async def collect(self, msg: AskAll, ctx: Context) -> Note:
            child = await ctx.spawn(Performer, log)
            with pytest.raises(TypeError, match="writable"):
                await ctx.ask_all([(child, Sleep(1)), (child, Bulk(np.zeros(2)))], timeout_s=5)
            return Note("raised")

    async with ActorSystem() as system:
        log: list[str] = []
        ref = await system.spawn(Collector)
        assert await system.ask(ref, AskAll(()), timeout_s=10) == Note("raised")
        await settle()
        assert "slept" not in log
        assert _nothing_is_open(system)
