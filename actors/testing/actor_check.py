"""The contract of an actor: what it says it takes it answers, and what happens to it does not break it."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors.errors import ActorDown, ActorError, AskError, NotHandled, WrongState
from actors.lifecycle import State
from actors.simulation import Faults, Simulation, replay, tell
from actors.testing.contract import ContractBroken, require
from actors.testing.contract_rows import Row, rows
from actors.testing.message_check import check_message, difference
from actors.testing.stage import Crash, Stage, Unheard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from actors.actor import Actor
    from actors.system import ActorSystem

__all__ = ["Messages", "check_actor"]

Messages: TypeAlias = "Sequence[Any] | Callable[[ActorSystem], Coroutine[Any, Any, Sequence[Any]]]"

SEEDS: Final = 20
TIMEOUT_S: Final = 30.0
STOP_S: Final = 5.0
STATES: Final = (State.IDLE, State.RUNNING, State.EPOCH_DONE)
# When a caller gives up, or a stop comes, in seconds after the ask: at once, or while a handler waits.
MOMENTS_S: Final = (0.0, 0.0, 0.001, 0.1, 1.0)
TURNS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """What is checked, and how."""

    actor: type[Actor]
    messages: Messages
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    states: tuple[State, ...]
    timeout_s: float
    repeatable: bool
    contract: dict[type, Row] = field(default_factory=dict)

    async def samples(self, system: ActorSystem) -> list[Any]:
        """The messages, made for this run."""
        made = await self.messages(system) if callable(self.messages) else self.messages
        return list(made)

    async def open(self, sim: Simulation) -> tuple[Stage, list[Any]]:
        """Start an actor with a parent of its own."""
        samples = await self.samples(sim.system)
        stage = Stage(sim, self.actor, self.args, self.kwargs)
        try:
            await stage.open()
        except ActorError as error:
            raise ContractBroken(f"it does not start: {error}") from error
        return stage, samples


def check_actor(
    actor: type[Actor],
    messages: Messages,
    *,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    states: Sequence[State] = STATES,
    timeout_s: float = TIMEOUT_S,
    repeatable: bool = True,
    seeds: int = SEEDS,
) -> None:
    """Hold an actor class to the runtime's contract, each part in simulated runs of its own.

    - Its messages and answers are immutable, and travel as bytes.
    - It answers each request, in each state to which the handler is bound, with what the request declares;
      it refuses it in all others, and refuses what it has no handler for.
    - A caller that is cancelled, an ask that expires and a refusal leave it as able as before.
    - It can be stopped at any moment, in time, and leaves nothing behind.
    - When it has failed it is started again with a fresh state.
    - Under injected faults all laws of the runtime hold.

    A message is asked when it is a `Request` or when its handler is annotated to return something (not
    `Any`); otherwise it is told. To be called outside any event loop. Nothing in the actor may need real
    threads or sockets: jobs are simulated.

    Args:
        actor: the class.
        messages: one message or more of every class in its contract, in an order in which they make sense,
            also several times in one life; or an async function that makes them, given the system of a run
            (to spawn those that they refer to).
        args: for its constructor.
        kwargs: for its constructor.
        states: the states in which it is tried.
        timeout_s: virtual time that it may take for an answer.
        repeatable: whether a fresh actor answers the same messages with the same.
        seeds: how many schedules are tried for what depends on them.

    Raises:
        ContractBroken: with the rule, what was found instead, and the story of the run.
    """
    subject = _Subject(
        actor=actor,
        messages=messages,
        args=args,
        kwargs=kwargs or {},
        states=tuple(states),
        timeout_s=timeout_s,
        repeatable=repeatable,
        contract=rows(actor),
    )
    _run(subject, "its messages", _check_messages)
    for state in subject.states:
        _run(subject, f"in {state.value}", functools.partial(_check_state, state=state))
    _run(subject, "a cancelled caller", _check_cancelled_caller, seeds=seeds)
    _run(subject, "an expired ask", _check_expired_ask, seeds=seeds)
    _run(subject, "a stop at any moment", _check_stop, seeds=seeds)
    _run(subject, "a restart", _check_restart, seeds=seeds)
    _run(subject, "injected faults", _use, seeds=seeds, faults=Faults.everything())


_Check: TypeAlias = "Callable[[_Subject, Simulation], Coroutine[Any, Any, None]]"


def _run(
    subject: _Subject, rule: str, check: _Check, *, seeds: int = 1, faults: Faults | None = None
) -> None:
    """Play a check under some schedules; each run is held to the laws of the runtime as well."""
    broken: list[ContractBroken] = []

    async def scenario(sim: Simulation) -> None:
        try:
            await check(subject, sim)
        except ContractBroken as error:
            broken.append(error)

    for seed in range(seeds):
        run = replay(scenario, seed, faults)
        problems = [str(error) for error in broken] or run.problems
        if problems:
            story = tell(f"seed {seed}", run.problems, run.events)
            text = f"{subject.actor.__name__}, {rule}: {problems[0]}\n{story}"
            raise ContractBroken(text) from (broken[0] if broken else None)


async def _check_messages(subject: _Subject, sim: Simulation) -> None:
    samples = await subject.samples(sim.system)
    for sample in samples:
        check_message(sample)
    present = {type(sample) for sample in samples}
    missing = [cls.__name__ for cls in subject.contract if cls not in present]
    require(
        not missing, f"there is no message to try for {', '.join(missing)}: add one of each to `messages`"
    )
    strange = [cls.__name__ for cls in present if cls not in subject.contract]
    require(not strange, f"it has no handler for {', '.join(strange)}")


async def _check_state(subject: _Subject, sim: Simulation, *, state: State) -> None:
    stage, samples = await subject.open(sim)
    try:
        await stage.move_to(state)
    except ActorError as error:
        raise ContractBroken(f"it does not get there: {error}") from error
    try:
        await _keeps_its_rows(subject, stage, samples, state)
    finally:
        await stage.leave()


async def _keeps_its_rows(subject: _Subject, stage: Stage, samples: list[Any], state: State) -> None:
    life = stage.life
    await _refuses(stage, Unheard(), NotHandled)
    for sample in samples:
        row = subject.contract[type(sample)]
        if state in row.states:
            await _answers(subject, stage, row, sample)
        else:
            await _refuses(stage, sample, WrongState)
        require(stage.life == life, f"it did not survive {sample!r}")


async def _answers(subject: _Subject, stage: Stage, row: Row, sample: Any) -> Any:
    """Ask or tell a message that must be taken; the answer, if it is one that is asked."""
    if not row.answered:
        stage.system.tell(stage.ref, sample)
        await _refuses(stage, Unheard(), NotHandled)  # which it reads after the one that it was told
        return None
    try:
        reply = await stage.system.ask(stage.ref, sample, timeout_s=subject.timeout_s)
    except AskError as error:
        raise ContractBroken(f"{sample!r} is not answered: {type(error).__name__}: {error}") from error
    good = row.reply is None or isinstance(reply, row.reply)
    require(good, f"{sample!r} is answered with {reply!r}, which is no {_name(row.reply)}")
    check_message(reply)
    return reply


def _name(reply: Any) -> str:
    return getattr(reply, "__name__", str(reply))


async def _refuses(stage: Stage, sample: Any, refusal: type[AskError]) -> None:
    try:
        reply = await stage.system.ask(stage.ref, sample, timeout_s=TIMEOUT_S)
    except refusal:
        return
    except AskError as error:
        found = f"ends in {type(error).__name__}: {error}"
    else:
        found = f"is answered with {reply!r}"
    raise ContractBroken(f"{sample!r} must be refused with {refusal.__name__}, and {found}")


async def _still_able(subject: _Subject, stage: Stage, samples: list[Any], life: int) -> None:
    """Whether the same incarnation answers everything that it takes when idle."""
    for sample in _taken_when_idle(subject, samples):
        await _answers(subject, stage, subject.contract[type(sample)], sample)
    require(stage.life == life, f"incarnation {life} has ended")


def _taken_when_idle(subject: _Subject, samples: list[Any]) -> list[Any]:
    return [sample for sample in samples if State.IDLE in subject.contract[type(sample)].states]


async def _moment(sim: Simulation) -> None:
    """Let a random time pass, or a few turns of the loop."""
    delay_s = sim.random.choice(MOMENTS_S)
    if delay_s:
        await asyncio.sleep(delay_s)
    for _ in range(sim.random.randrange(TURNS_MAX)):
        await asyncio.sleep(0)


async def _check_cancelled_caller(subject: _Subject, sim: Simulation) -> None:
    stage, samples = await subject.open(sim)
    life = stage.life
    for sample in _taken_when_idle(subject, samples):
        asking = asyncio.ensure_future(stage.system.ask(stage.ref, sample, timeout_s=subject.timeout_s))
        await _moment(sim)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await _settled(sim)
        require(stage.life == life, f"it did not survive that the caller of {sample!r} was cancelled")
    await _still_able(subject, stage, samples, life)


async def _check_expired_ask(subject: _Subject, sim: Simulation) -> None:
    stage, samples = await subject.open(sim)
    life = stage.life
    for sample in _taken_when_idle(subject, samples):
        timeout_s = sim.random.choice(MOMENTS_S)
        asking = stage.system.ask(stage.ref, sample, timeout_s=timeout_s)
        await asyncio.gather(asking, return_exceptions=True)
        await _settled(sim)
        require(stage.life == life, f"it did not survive that an ask of {sample!r} expired ({timeout_s:g} s)")
    await _still_able(subject, stage, samples, life)


async def _settled(sim: Simulation) -> None:
    """Let a handler that was cancelled unwind, or be given up."""
    await asyncio.sleep(sim.random.choice(MOMENTS_S) + 1.0)


async def _check_stop(subject: _Subject, sim: Simulation) -> None:
    stage, samples = await subject.open(sim)
    ask = functools.partial(stage.system.ask, stage.ref, timeout_s=subject.timeout_s)
    asking = [asyncio.ensure_future(ask(sample)) for sample in _taken_when_idle(subject, samples)]
    await _moment(sim)
    begun_s = sim.loop.time()
    await stage.system.stop(stage.ref, timeout_s=STOP_S)
    took_s = sim.loop.time() - begun_s
    require(took_s < STOP_S, f"it did not stop within {STOP_S:g} s and was ended by force")
    require(not stage.life, "it was stopped and is still there")
    strays = stage.system.statistics()["stray_tasks"]
    require(not strays, "a handler swallowed its cancellation, and its task had to be left behind")
    await asyncio.gather(*asking, return_exceptions=True)


async def _check_restart(subject: _Subject, sim: Simulation) -> None:
    stage, samples = await subject.open(sim)
    first = await _answers_of_one_life(subject, stage, samples)
    life = stage.life
    await asyncio.gather(stage.system.ask(stage.ref, Crash(), timeout_s=TIMEOUT_S), return_exceptions=True)
    await _next_life(sim, stage, life)
    try:
        second = await _answers_of_one_life(subject, stage, samples)
    except ContractBroken as error:
        raise ContractBroken(f"after a restart {error}") from error
    for sample, before, after in zip(_taken_when_idle(subject, samples), first, second, strict=True):
        found = difference(before, after, type(before).__name__) if subject.repeatable else None
        require(
            found is None,
            f"its second life answers {sample!r} otherwise than the first, so state has outlived the restart "
            f"(in the class, in a module, in an argument of the constructor?): {found}",
        )


async def _next_life(sim: Simulation, stage: Stage, life: int) -> None:
    """Wait for it: an ask before it would end with the life that is over."""
    until_s = sim.loop.time() + TIMEOUT_S
    while stage.life == life:
        require(sim.loop.time() < until_s, f"it did not end within {TIMEOUT_S:g} s of a handler's failure")
        await asyncio.sleep(TIMEOUT_S / 1000)


async def _answers_of_one_life(subject: _Subject, stage: Stage, samples: list[Any]) -> list[Any]:
    contract, idle = subject.contract, _taken_when_idle(subject, samples)
    return [await _answers(subject, stage, contract[type(sample)], sample) for sample in idle]


async def _use(subject: _Subject, sim: Simulation) -> None:
    """Ask everything, whatever happens meanwhile: the simulation's oracles are the check."""
    try:
        stage, samples = await subject.open(sim)
    except ContractBroken:
        return  # a fault came before it had started
    for sample in _taken_when_idle(subject, samples):
        try:
            await stage.system.ask(stage.ref, sample, timeout_s=subject.timeout_s)
        except ActorDown as down:
            if not down.restarting:
                return
        except ActorError:
            continue
