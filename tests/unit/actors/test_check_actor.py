"""`check_actor`: good actors pass, and each way to be bad is found and named."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pytest

from actors import Actor, ActorRef, ActorSystem, Context, JobToken, NotHandled, Request, State, message, on
from actors.testing import ContractBroken, Probe, check_actor
from actors.testing.contract_rows import rows

if TYPE_CHECKING:
    from collections.abc import Sequence


@message("check_actor.total")
class Total:
    value: int


@message("check_actor.add")
class Add(Request[Total]):
    value: int


@message("check_actor.ask_later")
class AskLater(Request["Defined"]):
    """Its answer is defined below it."""


@message("check_actor.defined")
class Defined:
    names: tuple[str, ...] = ()


@message("check_actor.forget")
class Forget:
    """Told."""


@message("check_actor.plain")
class Plain:
    """Asked, and no `Request`."""


class Good(Actor):
    """Keeps its contract, and uses time, jobs and states for it."""

    def __init__(self, start: int = 0) -> None:
        self.total = start

    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        await asyncio.sleep(0.05)
        self.total += msg.value
        return Total(self.total)

    @on(AskLater, when=State.RUNNING)
    async def later(self, msg: AskLater, ctx: Context) -> Defined:
        return Defined(await ctx.offload(_names))

    @on(Plain, when={State.IDLE, State.EPOCH_DONE})
    async def plain(self, msg: Plain, ctx: Context) -> Total:
        return Total(self.total)

    @on(Forget)
    async def forget(self, msg: Forget, ctx: Context) -> None:
        self.total = 0


def _names(_token: JobToken) -> tuple[str, ...]:
    return ("a", "b")


GOOD = [Add(1), AskLater(), Plain(), Forget(), Add(2)]
ADD = [Add(1)]


def test_a_good_actor_passes() -> None:
    check_actor(Good, GOOD, args=(5,))
    check_actor(Good, GOOD, kwargs={"start": 5}, states=[State.RUNNING], seeds=3)


@message("check_actor.pass_on")
class PassOn:
    to: ActorRef[Any]


class Passing(Actor):
    @on(PassOn)
    async def pass_on(self, msg: PassOn, ctx: Context) -> None:
        ctx.tell(msg.to, Forget())


def test_messages_can_be_made_for_each_run() -> None:
    heard: list[int] = []

    async def messages(system: ActorSystem) -> Sequence[PassOn]:
        probe = Probe(Forget)
        heard.append(len(probe.heard))
        return [PassOn(await system.spawn(probe.actor, name="peer"))]

    check_actor(Passing, messages, seeds=5)
    assert heard


class Leader(Actor):
    """Runs epochs of its own over two of the good ones."""

    async def on_start(self, ctx: Context) -> None:
        for _ in range(2):
            await ctx.spawn(Good, 1)

    @on(Plain, when={State.IDLE, State.EPOCH_DONE})
    async def plain(self, msg: Plain, ctx: Context) -> Total:
        async with ctx.epoch(ctx.current_epoch + 1, timeout_s=10):
            answers = await ctx.ask_all([(child, AskLater()) for child in ctx.children])
        return Total(sum(len(answer.names) for answer in answers))


def test_actors_with_children_and_epochs_pass() -> None:
    check_actor(Leader, [Plain(), Plain()])


def test_a_probes_actor_passes() -> None:
    probe = Probe(like=Good)
    for asked, reply in ((Add, Total(1)), (AskLater, Defined()), (Plain, Total(2))):
        probe.answer(asked, reply)
    check_actor(probe.actor, GOOD, seeds=5)
    assert len(probe.heard) > 5


class Raising(Good):
    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        raise LookupError("no")


class Silent(Good):
    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        return None  # type: ignore[return-value] # that is what is wrong with it


class Slow(Good):
    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        await asyncio.sleep(3600)
        return Total(0)


class Liar(Good):
    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        return Defined()  # type: ignore[return-value] # that is what is wrong with it


class LaterLiar(Good):
    @on(AskLater, when=State.RUNNING)
    async def later(self, msg: AskLater, ctx: Context) -> Defined:
        return Total(1)  # type: ignore[return-value] # that is what is wrong with it


class BadReply(Good):
    @on(Plain)
    async def plain(self, msg: Plain, ctx: Context) -> Total:
        return Total("many")  # type: ignore[arg-type] # that is what is wrong with it


class Stateful(Good):
    """Says that it takes something while it is running, and does not."""

    @on(Plain)
    async def plain(self, msg: Plain, ctx: Context) -> Total:
        if ctx.state is State.RUNNING:
            raise NotHandled("not now")
        return Total(1)


class TellFails(Good):
    @on(Forget)
    async def forget(self, msg: Forget, ctx: Context) -> None:
        raise LookupError("told to forget")


class Greedy(Good):
    """Takes what it has no handler for."""

    handlers: ClassVar[Any] = {}

    @classmethod
    def widen(cls) -> type[Actor]:
        class Widened(cls):  # type: ignore[misc, valid-type] # a class made of a variable
            def __init_subclass__(cls, **kwargs: Any) -> None:
                super().__init_subclass__(**kwargs)
                cls.handlers = _TakesAll(cls.handlers)

        return Widened


class _TakesAll(dict[type, Any]):
    def get(self, key: type, default: Any = None) -> Any:
        return super().get(key, self[Plain])


class Locking(Good):
    """Does not give its lock back when it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        await self.lock.acquire()
        await asyncio.sleep(0.2)
        self.lock.release()
        return Total(msg.value)


class Clinging(Good):
    """Swallows its cancellation."""

    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        for _ in range(50):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)
        return Total(msg.value)


class Immortal(Good):
    """Goes on as if nothing had happened when a handler of it has failed."""

    async def on_failure(self, error: BaseException, ctx: Context) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)


class SlowToStop(Good):
    async def on_stop(self, ctx: Context) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)


class Littering(Good):
    """Leaves a task behind."""

    @on(Forget)
    async def forget(self, msg: Forget, ctx: Context) -> None:
        self.task = asyncio.get_running_loop().create_task(asyncio.Event().wait())


class Remembering(Good):
    """Keeps its state in the class."""

    totals: ClassVar[list[int]] = []

    @on(Add)
    async def add(self, msg: Add, ctx: Context) -> Total:
        self.totals.append(msg.value)
        return Total(len(self.totals))


class Once(Good):
    """Starts once."""

    started: ClassVar[bool] = False

    async def on_start(self, ctx: Context) -> None:
        if ctx.incarnation > 1:
            raise RuntimeError("the port is taken")


class Unstarted(Good):
    async def on_start(self, ctx: Context) -> None:
        raise RuntimeError("no such file")


class Unkept(Good):
    async def snapshot(self, ctx: Context) -> Any:
        raise LookupError("nothing to keep")

    async def restore(self, state: Any, ctx: Context) -> None:
        """It does not come to this."""


class Busy(Actor):
    """Comes to no epoch: what it was told takes too long."""

    @on(Forget)
    async def forget(self, msg: Forget, ctx: Context) -> None:
        await asyncio.sleep(1e6)


class Unready(Good):
    async def on_start(self, ctx: Context) -> None:
        ctx.tell(await ctx.spawn(Busy, handler_timeout_s=1e6), Forget())


@pytest.mark.parametrize(
    ("actor", "found"),
    [
        (Unkept, "Unkept, in running: .*LookupError: nothing to keep"),
        (Unready, "Unready, in running: it does not get there: outside waited for /stage"),
        (Raising, r"Raising, in idle: Add\(value=1\) is not answered: AskFailed: .* LookupError: no"),
        (Silent, "Silent, in idle: .* NoReply"),
        (Slow, "Slow, in idle: .* Expired"),
        (Liar, r"Liar, in idle: Add\(value=1\) is answered with Defined\(names=\(\)\), which is no Total"),
        (LaterLiar, r"LaterLiar, in running: AskLater\(\) is answered with Total.*, which is no Defined"),
        (BadReply, r"BadReply, in idle: .*MessageError: .*check_actor.total.value cannot be a str"),
        (Stateful, r"Stateful, in running: Plain\(\) is not answered: AskFailed: .* NotHandled: not now"),
        (TellFails, r"TellFails, in idle: .* LookupError: told to forget"),
        (Greedy.widen(), r"Widened, in idle: Unheard\(\) must be refused with NotHandled, and is answered"),
        (Locking, "Locking, a cancelled caller: .* is not answered: Expired"),
        (Clinging, "Clinging, a cancelled caller: it did not survive"),
        (SlowToStop, "SlowToStop, in idle: a task of /stage/subject is left"),
        (Immortal, "Immortal, a restart: it did not end within 30 s of a handler's failure"),
        (Littering, "Littering, in idle: task .* is left"),
        (
            Remembering,
            r"Remembering, a restart: its second life answers Add.* Total.value was \d+ and arrives",
        ),
        (Once, "Once, a restart: after a restart .* is not answered: ActorDown"),
        (Unstarted, "Unstarted, in idle: it does not start: .*no such file"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_bad_actor_is_found(actor: type[Actor], found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_actor(actor, GOOD, seeds=10)


def test_an_actor_that_answers_by_chance_passes_when_that_is_said() -> None:
    check_actor(Remembering, GOOD, seeds=5, repeatable=False)


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        (ADD, "no message to try for AskLater, Plain, Forget"),
        ([*GOOD, Total(3)], "no handler for Total"),
        ([*GOOD, Add([1])], "Add.value is a list, which can be changed"),  # type: ignore[arg-type] # that is what is wrong
        ([*GOOD, Add("text")], "Add does not travel: MessageError: .*check_actor.add.value cannot be a str"),  # type: ignore[arg-type] # the same
    ],
)
def test_messages_that_show_too_little_are_found(messages: list[Any], found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_actor(Good, messages)


@message("check_actor.unknown")
class Unknown(Request["Nowhere"]):  # type: ignore[name-defined]
    """Its answer has a type that is not there at run time."""


class Vague(Actor):
    """Says nothing that can be checked of its answers."""

    @on(Unknown)
    async def unknown(self, msg: Unknown, ctx: Context) -> Any:
        return Total(1)

    @on(Plain)
    async def plain(self, msg: Plain, ctx: Context) -> Nowhere:  # type: ignore[name-defined] # noqa: F821 - the same
        return Total(1)


def test_an_answer_of_a_type_that_is_not_known_is_any() -> None:
    assert [(row.answered, row.reply) for row in rows(Vague).values()] == [(True, None), (True, None)]
    check_actor(Vague, [Unknown(), Plain()], seeds=2)


T = TypeVar("T")


class Marked(Generic[T]):
    """A base that says nothing about the answer."""

    __slots__ = ()


@message("check_actor.boxed")
class Boxed(Marked[int], Request[Total]):
    """Asked."""


class Unboxing(Actor):
    @on(Boxed)
    async def boxed(self, msg: Boxed, ctx: Context) -> Total:
        return Total(1)


def test_the_answer_is_found_among_several_bases() -> None:
    assert rows(Unboxing)[Boxed].reply is Total


def test_rows_say_what_the_contract_says() -> None:
    found = rows(Good)
    assert {cls: (row.answered, row.reply) for cls, row in found.items()} == {
        Add: (True, Total),
        AskLater: (True, Defined),
        Plain: (True, Total),
        Forget: (False, None),
    }
    assert found[AskLater].states == {State.RUNNING}


def test_what_is_found_comes_with_the_story_of_the_run() -> None:
    with pytest.raises(ContractBroken, match=r"(?s)Raising, in idle: .*seed 0.*/stage/subject"):
        check_actor(Raising, GOOD)
