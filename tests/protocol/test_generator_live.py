"""A generator with its threads: sharing steps, leaving, lost engines, ends."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from actors import ActorSystem
from crystalline.data import Corpus
from crystalline.errors import (
    CrystallineError,
    DeadlineExceeded,
    GenerationError,
    QueueFull,
    SettingError,
)
from crystalline.inference import Engine, Generator, SamplingOptions, TextModel, complete
from crystalline.inference import generator as generator_module
from crystalline.inference.prefill import PREFILL_PIECE
from crystalline.model import Parameters
from crystalline.training import TrainConfig, Trainer
from tests.helpers.generators import CONFIG, TableGenerator, tiny_model
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystalline.inference import Piece

LIMIT_S = 20.0
WARM = SamplingOptions(temperature=1.0)
GREEDY = SamplingOptions(temperature=0.0)


def real(**options: Any) -> Generator:
    return Generator(tiny_model(), **{"backend": "numpy", "threads": 1, **options})


class Gate:
    """Lets calls of an engine through one at a time, when the test says so."""

    def __init__(self) -> None:
        self.open_to_all = threading.Event()
        self.calls = 0
        self._come = threading.Semaphore(0)
        self._go = threading.Semaphore(0)

    def __call__(self, what: str) -> None:
        if what == "make" or self.open_to_all.is_set():
            return
        self.calls += 1
        self._come.release()
        assert self._go.acquire(timeout=LIMIT_S)

    async def someone(self) -> None:
        """Return when a call waits."""
        assert await asyncio.to_thread(self._come.acquire, timeout=LIMIT_S)

    def let_through(self) -> None:
        self._go.release()

    def let_all_through(self) -> None:
        self.open_to_all.set()
        for _ in range(100):
            self._go.release()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.let_all_through()


async def until(holds: Callable[[], object]) -> None:
    """Return when it does, in threads as well."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.001)


async def drained(generator: Generator) -> None:
    """Return when nobody is left in it."""
    await until(lambda: not (generator.statistics().queued or generator.statistics().running))


async def read(generator: Generator, pieces: list[Piece], **options: Any) -> None:
    async for piece in generator.stream("Ka", **options):
        pieces += [piece]


# The same text, whatever else runs


async def test_an_answer_does_not_depend_on_the_others() -> None:
    options = {"tokens": 30, "options": WARM, "seed": 7, "logprobs": 2}
    expected = complete(tiny_model(), "Kato mi", **options)  # type: ignore[arg-type]  # one by one they fit
    async with real() as generator:
        assert await generator.complete("Kato mi", **options) == expected  # type: ignore[arg-type]  # the same

        async def other(seed: int) -> None:
            stream = generator.stream(words(60, seed), tokens=1 + 5 * seed, options=WARM, seed=seed)
            async with aclosing(stream) as pieces:
                async for _ in pieces:
                    if seed % 2:
                        break  # every other one goes away after a token

        for _ in range(3):
            answer, *_ = await asyncio.gather(
                generator.complete("Kato mi", **options),  # type: ignore[arg-type]  # the same
                *(other(seed) for seed in range(7)),
            )
            assert answer == expected
        assert generator.statistics().steps < 4 * 30 + 20, "steps are shared"


async def test_a_long_prompt_is_read_in_pieces_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tiny_model()
    sizes = replace(few.config, seq_len=3 * PREFILL_PIECE)
    model = replace(few, config=sizes, parameters=Parameters(sizes, few.parameters.flat))
    prompt = [1 + at % (sizes.vocab_size - 1) for at in range(2 * PREFILL_PIECE + 9)]
    expected = complete(model, prompt, tokens=5, options=WARM, seed=1)
    calls: list[str] = []

    def spied(name: str) -> None:
        call = getattr(Engine, name)

        def noted(*arguments: Any) -> Any:
            calls.append(name)
            return call(*arguments)

        monkeypatch.setattr(Engine, name, noted)

    spied("extend")
    spied("decode")
    async with Generator(model, slots=2, backend="numpy", threads=1) as generator:
        async with aclosing(generator.stream("Ka", tokens=300, options=WARM)) as other:
            await anext(other)
            assert await generator.complete(prompt, tokens=5, options=WARM, seed=1) == expected
            await anext(other)
        assert calls.count("extend") == 2
        between = calls[calls.index("extend") : len(calls) - calls[::-1].index("extend")]
        assert "decode" in between, "the other one went on between the pieces"


async def test_a_long_text_is_cut_into_tokens_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    text, options = words(9_000, 5)[:6_000], SamplingOptions()
    assert len(text) == 6_000
    expected = complete(tiny_model(), text, tokens=4, overflow="slide", options=options)
    encode, threads = TextModel.encode, list[int]()

    def noted(model: TextModel, prompt: str) -> list[int]:
        threads.append(threading.get_ident())
        return encode(model, prompt)

    monkeypatch.setattr(TextModel, "encode", noted)
    async with real() as generator:
        assert await generator.complete(text, tokens=4, overflow="slide", options=options) == expected
        with pytest.raises(SettingError, match="context is 64 tokens"):
            await anext(generator.stream(text, tokens=4))
        assert len(threads) == 2
        assert threading.get_ident() not in threads
        await generator.complete("Ka", tokens=1)
        assert threads[2] == threading.get_ident(), "a short one is not worth a thread"


async def test_pieces_come_as_they_are_made() -> None:
    async with real() as generator:
        pieces: list[Piece] = []
        await read(generator, pieces, tokens=12, seed=3)
        whole = await generator.complete("Ka", tokens=12, seed=3)
    assert "".join(piece.text for piece in pieces) == whole.text
    assert tuple(token for piece in pieces for token in piece.ids) == whole.ids
    assert len(pieces) >= 12


async def test_ids_stop_and_overflow_reach_the_model() -> None:
    model = tiny_model()
    async with real(context=16) as generator:
        ids = model.encode("Ka to")
        assert await generator.complete(ids, seed=1, tokens=5) == await generator.complete(
            "Ka to", seed=1, tokens=5
        )
        assert (await generator.complete("Ka", tokens=99, seed=1)).finish == "context"
        long = await generator.complete("Ka", tokens=99, seed=1, overflow="slide")
        assert len(long.ids) > 30 or long.finish == "stop"
        stop = long.text[3:5]
        stopped = await generator.complete("Ka", tokens=99, seed=1, overflow="slide", stop=[stop])
        assert stopped.finish == "stop"
        assert stop not in stopped.text


# What cannot be asked


@pytest.mark.parametrize(
    ("options", "story"),
    [
        ({"tokens": 0}, "tokens is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "below 2"),
        ({"deadline_s": 0.0}, "deadline_s is 0.0"),
        ({"deadline_s": float("inf")}, "deadline_s is inf"),
        ({"prompt": "a" * 100_000}, "the prompt has 100000 characters"),
        ({"prompt": "qx" * 60}, "tokens, and the context is 64 tokens"),
        ({"prompt": range(10**12)}, "the prompt has 1000000000000 tokens"),
        ({"prompt": iter(range(5))}, "the prompt is a range_iterator"),
        ({"prompt": [3, 300]}, "the token id 300"),
        ({"prompt": [3, -1]}, "the token id -1"),
        ({"prompt": ["a"]}, "no list of token ids"),
        ({"prompt": []}, "no tokens"),
        ({"prompt": "\ud800"}, "not valid text"),
        ({"prompt": b"Ka"}, "the prompt is bytes"),
        ({"stop": ["x" * 100_000]}, "cannot be sent"),
        ({"stop": [3]}, "choose texts"),
        ({"tokens": 2.5}, "tokens is 2.5: choose a whole number"),
        ({"seed": "1"}, "seed is '1': choose a whole number"),
        ({"logprobs": 0.5}, "logprobs is 0.5: choose a whole number"),
    ],
)
async def test_what_is_impossible_is_refused_and_harms_nobody(options: dict[str, Any], story: str) -> None:
    async with real() as generator:
        with pytest.raises(SettingError, match=story):
            await generator.complete(**{"prompt": "Ka", **options})
        assert (await generator.complete("Ka", tokens=3)).usage.generated_tokens <= 3
        assert generator.statistics().submitted == 1


def test_what_cannot_be_a_generator_is_refused() -> None:
    for options in ({"slots": 0}, {"slots": 257}, {"queue": 0}, {"prefill_tokens": 0}, {"context": 65}):
        with pytest.raises(SettingError, match=f"{next(iter(options))} is {next(iter(options.values()))}"):
            Generator(tiny_model(), **options)  # type: ignore[arg-type]  # one at a time they fit
    for name in ("deadline_s", "step_timeout_s", "follow_s"):
        with pytest.raises(SettingError, match=f"{name} is inf"):
            Generator(tiny_model(), **{name: float("inf")})  # type: ignore[arg-type]  # the same


async def test_a_generator_is_opened_once_and_before_it_is_used() -> None:
    generator = real()
    with pytest.raises(SettingError, match="not open"):
        await generator.complete("Ka")
    async with generator:
        with pytest.raises(SettingError, match="opened before"):
            async with generator:
                pass


async def test_an_engine_that_cannot_be_made_is_an_error_at_the_entrance() -> None:
    def trouble(what: str) -> None:
        raise MemoryError(f"no room to {what}")

    with pytest.raises(GenerationError, match=r"cannot be opened: .*no room to make"):
        async with TableGenerator(trouble=trouble):
            pass


@pytest.mark.parametrize("context", [1, 64])
async def test_what_a_step_has_compiled_does_not_take_the_time_of_a_request(
    monkeypatch: pytest.MonkeyPatch, context: int
) -> None:
    lengths: list[int] = []

    class Watched(Engine):
        def prefill(self, slot: int, ids: Sequence[int]) -> Any:
            lengths.append(len(ids))
            return super().prefill(slot, ids)

        def decode(self, slots: Sequence[int], ids: Sequence[int]) -> Any:
            lengths.append(self.length(0) + 1)
            return super().decode(slots, ids)

    monkeypatch.setattr(generator_module, "Engine", Watched)
    async with Generator(tiny_model(), context=context, backend="compiled") as generator:
        assert lengths == ([1] if context == 1 else [1, 2])
        answer = await generator.complete([3], tokens=context, options=GREEDY)
    assert answer.ids == complete(tiny_model(), [3], tokens=context, options=GREEDY).ids


# Places: how they are got, and given back


async def test_who_breaks_off_frees_its_place_at_the_next_step(gate: Gate) -> None:
    async with TableGenerator(slots=1, trouble=gate) as generator:
        stream = generator.stream("Ka", tokens=60)
        first = asyncio.ensure_future(anext(stream))
        await gate.someone()
        second = asyncio.ensure_future(generator.complete("to", tokens=1))
        gate.let_through()
        await first
        await gate.someone()  # a step for the first one is under way
        await stream.aclose()
        gate.let_through()
        await gate.someone()
        gate.let_through()
        async with asyncio.timeout(LIMIT_S):
            assert (await second).usage.generated_tokens == 1
        assert gate.calls == 3
        assert generator.statistics().ended == {"cancelled": 1, "length": 1}


async def test_leaving_a_loop_is_enough() -> None:
    async with real(slots=1) as generator:
        async for _ in generator.stream("Ka", tokens=60, overflow="slide"):
            break
        answer = await generator.complete("to", tokens=1, deadline_s=LIMIT_S)
        assert answer.usage.generated_tokens == 1
        assert generator.statistics().ended["cancelled"] == 1


async def test_a_full_queue_refuses_and_says_what_to_do(gate: Gate) -> None:
    async with TableGenerator(slots=1, queue=2, trouble=gate) as generator, asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(generator.complete("Ka", tokens=1))
        await gate.someone()
        with pytest.raises(QueueFull, match=r"the limit is 2\. Try again later, or allow a longer queue"):
            await generator.complete("Ka")
        gate.let_all_through()


async def test_nobody_is_kept_out_by_who_came_with_hundreds(gate: Gate) -> None:
    async with TableGenerator(slots=1, queue=20, trouble=gate) as generator:
        many = [asyncio.ensure_future(generator.complete("Ka", tokens=2, caller="many")) for _ in range(100)]
        await gate.someone()
        few = asyncio.ensure_future(generator.complete("to", tokens=1, caller="few"))
        gate.let_all_through()
        async with asyncio.timeout(LIMIT_S):
            await few
            assert sum(task.done() and task.exception() is None for task in many) < 10
            ends = await asyncio.gather(*many, return_exceptions=True)
        assert all(isinstance(end, QueueFull) or not isinstance(end, BaseException) for end in ends)


async def test_time_runs_in_the_queue_and_in_a_slot(gate: Gate) -> None:
    async with TableGenerator(slots=1, trouble=gate) as generator:
        running = asyncio.ensure_future(generator.complete("Ka", deadline_s=0.2))
        await gate.someone()
        for late in (generator.complete("Ka", deadline_s=0.05), running):
            with pytest.raises(DeadlineExceeded, match="not complete within 0"):
                await late
        gate.let_all_through()
        await drained(generator)
        assert generator.statistics().ended == {"expired": 2}


async def test_a_reader_that_sleeps_loses_nothing_and_holds_nobody_up() -> None:
    async with real(slots=1) as generator:
        whole = await generator.complete("Ka", tokens=30, seed=5, options=WARM)
        stream = generator.stream("Ka", tokens=30, seed=5, options=WARM)
        text = (await anext(stream)).text
        await generator.complete("to", tokens=5)  # its turn comes when the first one is done, read or not
        assert text + "".join([piece.text async for piece in stream]) == whole.text


# When something breaks


async def test_a_step_that_fails_takes_its_requests_along_and_no_others(gate: Gate) -> None:
    fails = [False, True, False]

    def trouble(what: str) -> None:
        gate(what)
        if what == "prefill" and fails.pop(0):
            raise ArithmeticError("no prefill today")

    async with TableGenerator(slots=2, trouble=trouble) as generator:
        pieces: list[Piece] = []
        first = asyncio.ensure_future(read(generator, pieces, tokens=50))
        await gate.someone()
        gate.let_through()
        await gate.someone()  # a decode, of the first alone
        second = asyncio.ensure_future(generator.complete("to", tokens=1))
        third = asyncio.ensure_future(generator.complete("mi", tokens=1, caller="third"))
        await until(lambda: generator.statistics().queued == 2)
        gate.let_all_through()
        for lost in (first, second):
            with pytest.raises(GenerationError, match=r"one of 2: ArithmeticError: no prefill.*ask again"):
                await lost
        assert len(pieces) == 2, "what had been said is right"
        assert (await third).usage.generated_tokens == 1
        assert [engine.closed for engine in generator.engines] == [True, False]
        assert generator.statistics().ended == {"lost": 2, "length": 1}
    assert generator.engines[1].closed


async def test_a_step_that_hangs_is_left_behind(gate: Gate) -> None:
    async with TableGenerator(slots=1, step_timeout_s=0.1, trouble=gate) as generator:
        with pytest.raises(GenerationError, match="Expired"):
            await generator.complete("Ka")
        gate.open_to_all.set()
        assert (await generator.complete("Ka", tokens=1)).usage.generated_tokens == 1
        assert [engine.closed for engine in generator.engines] == [False, False], "somebody is in the first"
        gate.let_all_through()
        await until(lambda: generator.engines[0].closed)
        assert not any(engine.mistakes for engine in generator.engines)


async def test_an_engine_that_breaks_every_time_is_an_error_every_time() -> None:
    def trouble(what: str) -> None:
        if what != "make":
            raise ArithmeticError("never")

    async with asyncio.timeout(LIMIT_S), TableGenerator(trouble=trouble) as generator:
        for _ in range(30):
            with pytest.raises(GenerationError):
                await generator.complete("Ka", deadline_s=LIMIT_S)


async def test_closing_ends_every_stream_in_an_error(gate: Gate) -> None:
    async with TableGenerator(slots=1, trouble=gate) as generator:
        tasks = [asyncio.ensure_future(generator.complete("Ka")) for _ in range(5)]
        await gate.someone()
        gate.let_through()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(end, GenerationError)
        assert "closed" in str(end)
    found = generator.statistics()
    assert sum(found.ended.values()) == found.submitted == 5
    with pytest.raises(GenerationError, match="closed"):
        await generator.complete("Ka")


async def test_a_system_that_ends_takes_the_generator_along() -> None:
    async with ActorSystem("other") as system:
        generator = real(system=system)
        async with generator:
            stream = generator.stream("Ka", tokens=60, overflow="slide")
            await anext(stream)
            await system.shutdown(1.0)
            with pytest.raises(GenerationError, match="lost or closed"):
                async for _ in stream:
                    pass
            with pytest.raises(GenerationError):
                await generator.complete("Ka")


# In company


async def test_hundreds_at_once_end_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(4)
    ends: list[str] = []
    full = threading.Event()

    class Waiting(Engine):
        def prefill(self, slot: int, ids: Sequence[int]) -> Any:
            assert full.wait(LIMIT_S), "nobody found the queue full"
            return super().prefill(slot, ids)

    monkeypatch.setattr(generator_module, "Engine", Waiting)

    async def call(generator: Generator, number: int) -> None:
        deadline_s = chance.choice((None, None, chance.uniform(0.001, 0.5)))
        leave_after = chance.choice((1000, 1000, chance.randint(0, 8)))
        stream = generator.stream(
            words(chance.randint(5, 60), number),
            tokens=chance.randint(1, 12),
            seed=number,
            deadline_s=deadline_s,
            caller=str(number % 7),
        )
        heard = 0
        async with aclosing(stream) as pieces:
            try:
                async for _ in pieces:
                    heard += 1
                    if heard > leave_after:
                        ends.append("left")
                        return
            except CrystallineError as error:
                ends.append(type(error).__name__)
                return
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
        ends.append("whole")

    # Fewer places than there are callers whose time is not short, so that some find the queue full.
    async with asyncio.timeout(50.0), real(slots=8, queue=200) as generator:
        tasks = [asyncio.ensure_future(call(generator, number)) for number in range(500)]
        while "QueueFull" not in ends:
            await asyncio.sleep(0.001)
            found = generator.statistics()
            assert found.queued + found.running <= 208
        full.set()
        for task in chance.sample(tasks, 100):
            task.cancel()
        await asyncio.wait(tasks)
        await drained(generator)
        found = generator.statistics()
        assert found.submitted == sum(found.ended.values())
        counted = {end: ends.count(end) for end in ends}
        never_ran = sum(task.cancelled() for task in tasks) - counted.get("cancelled", 0)
        assert len(ends) + never_ran == 500
        assert set(ends) <= {"whole", "left", "cancelled", "DeadlineExceeded", "QueueFull"}
        # Who was cancelled, or out of time, just then has not heard of it.
        assert found.ended["refused"] >= counted["QueueFull"]
        assert not any(press.users for press in generator._shelf._presses)
        answers = await asyncio.gather(*(generator.complete("Ka", tokens=3) for _ in range(8)))
        assert len(set(map(str, answers))) == 1, "every place is as good as new"


async def test_a_crowd_that_comes_all_at_once_costs_nobody_the_engine() -> None:
    async with asyncio.timeout(50.0), real(slots=8, queue=1_000) as generator:
        answers = await asyncio.gather(*(generator.complete("Ka", tokens=2, seed=n) for n in range(600)))
        assert len(answers) == 600
        assert generator.statistics().ended.keys() <= {"length", "stop"}


async def test_beside_a_training_in_the_same_program() -> None:
    corpus = Corpus("words", (words(6_000),))
    settings = TrainConfig(spheres=2, epochs=1, batch_size=24)
    async with Trainer(CONFIG, settings, corpus) as trainer:
        async with real(system=trainer.system) as generator:
            assert generator.system is trainer.system
            alone = complete(tiny_model(), "Ka", tokens=20, seed=1)
            fitting = asyncio.ensure_future(trainer.fit())
            answers = await asyncio.gather(*(generator.complete("Ka", tokens=20, seed=1) for _ in range(3)))
            assert [answer.text for answer in answers] == [alone.text] * 3
            assert (await fitting).steps > 0
        assert [node.path for node in trainer.system.tree()] == ["/root"]
