from __future__ import annotations

import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crystalline.errors import SettingError
from crystalline.inference import crew as crew_module
from crystalline.inference import decode_compiled
from crystalline.inference import engine as engine_module
from crystalline.inference.engine import CONTEXT_MAX, Engine
from crystalline.inference.prefill import PREFILL_PIECE, Prefill
from crystalline.inference.weights import restored
from crystalline.kernels.rope_scaling import RopeScaling
from crystalline.model import ModelConfig, Parameters, Workspace, layout_of, logits
from tests.helpers.models import GROUPED, TIED, random_parameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference.engine import Backend
    from crystalline.inference.weights import Precision
    from crystalline.kernels.arrays import Floats

# The first test that decodes compiles, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(300)

# No width is a multiple of the sixteen lanes, nor any number of rows of the eight of a tile.
ODD = ModelConfig(
    vocab_size=53, dim=42, layers=2, heads=6, kv_heads=2, head_dim=10, ffn_dim=37, seq_len=80, tied=False
)
LLAMA3 = RopeScaling(
    kind="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_seq_len=16
)
SCALED = replace(ODD, rope_scaling=LLAMA3, tied=True)
LONG = replace(TIED, seq_len=700)

BACKENDS: tuple[Backend, ...] = ("numpy", "compiled")
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")


def model(config: ModelConfig) -> Parameters:
    return random_parameters(config, 5, np.float32)


def text(config: ModelConfig, length: int, seed: int = 1) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, config.vocab_size, length)]


def plain(parameters: Parameters, ids: Sequence[int]) -> Floats:
    """Logits (T, V) without a cache."""
    workspace = Workspace(parameters.config, 1, len(ids), training=False)
    found: Floats = logits(parameters, np.array([ids], np.int32), workspace)[0]
    return found


def error(found: Floats, expected: Floats) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", [TIED, GROUPED, ODD, SCALED], ids=["tied", "grouped", "odd", "scaled"])
def test_the_cache_changes_no_logits(config: ModelConfig, backend: Backend) -> None:
    parameters, ids = model(config), text(config, config.seq_len)
    expected = plain(parameters, ids)
    with Engine(parameters, backend=backend, threads=2) as engine:
        for prompt in (1, 5, config.seq_len - 3):
            assert error(engine.prefill(0, ids[:prompt]), expected[prompt - 1]) < 1e-5
            for position in range(prompt, len(ids)):
                found = engine.decode([0], [ids[position]])
                assert found.shape == (1, config.vocab_size)
                assert error(found[0], expected[position]) < 1e-5
                assert engine.length(0) == position + 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_prompt_of_several_chunks_is_as_without_a_cache(threads: int) -> None:
    parameters, ids = model(LONG), text(LONG, 660)
    with Engine(parameters, threads=threads, backend="numpy") as engine:
        assert error(engine.prefill(0, ids), plain(parameters, ids)[-1]) < 1e-5


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", [GROUPED, ODD], ids=["grouped", "odd"])
def test_a_text_has_the_same_bits_alone_and_among_others(
    config: ModelConfig, backend: Backend, precision: Precision
) -> None:
    parameters = model(config)
    texts = {slot: text(config, 11 - slot, seed=slot) for slot in range(6)}
    order = [4, 0, 5, 2, 1, 3]
    with Engine(parameters, slots=6, backend=backend, weights=precision, threads=2) as together:
        first = {slot: together.prefill(slot, ids[:3]).copy() for slot, ids in texts.items()}
        # They leave one after another, so that batches of every size are seen.
        steps = [
            {slot: row.copy() for slot, row in zip(here, _step(together, here, texts), strict=True)}
            for here in ([s for s in order if len(texts[s]) > position] for position in range(3, 11))
            if here
        ]
    with Engine(parameters, slots=1, backend=backend, weights=precision, threads=1) as alone:
        for slot, ids in texts.items():
            assert np.array_equal(alone.prefill(0, ids[:3]), first[slot])
            for token, step in zip(ids[3:], steps, strict=False):
                assert np.array_equal(alone.decode([0], [token])[0], step[slot])


def _step(engine: Engine, slots: list[int], texts: dict[int, list[int]]) -> Floats:
    return engine.decode(slots, [texts[slot][engine.length(slot)] for slot in slots])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_number_of_threads_changes_no_bit(precision: Precision) -> None:
    parameters, ids = model(LONG), text(LONG, 300)
    found: list[Any] = []
    for threads in (1, 2, 3, 5):
        with Engine(parameters, backend="compiled", weights=precision, threads=threads) as engine:
            found.append(
                [engine.prefill(0, ids).copy(), *(engine.decode([0], [i]).copy() for i in (1, 2, 3))]
            )
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_int8_computes_with_the_weights_it_rounds_to(backend: Backend) -> None:
    parameters, ids = model(GROUPED), text(GROUPED, 12)
    rounded = Parameters(GROUPED, parameters.flat.copy())
    for name, view in rounded.views.items():
        if view.ndim == 2:
            scale = np.abs(view).max(axis=1, keepdims=True) / np.float32(127)
            view[...] = np.rint(parameters.views[name] / scale) * scale
    assert np.allclose(restored(parameters, "int8").flat, rounded.flat, rtol=1e-6, atol=0)
    assert restored(parameters, "float32") is parameters
    expected = plain(rounded, ids)
    with Engine(parameters, backend=backend, weights="int8") as engine:
        assert error(engine.prefill(0, ids[:9]), expected[8]) < 1e-5
        for position in (9, 10, 11):
            assert error(engine.decode([0], [ids[position]])[0], expected[position]) < 1e-5
    assert (
        error(expected, plain(parameters, ids)) > 1e-4
    )  # the test would notice weights that are not rounded


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "length", [PREFILL_PIECE - 1, PREFILL_PIECE, PREFILL_PIECE + 1, 2 * PREFILL_PIECE + 7]
)
def test_a_prompt_in_pieces_is_the_prompt(length: int, backend: Backend) -> None:
    config = replace(GROUPED, seq_len=1100)
    parameters, ids = model(config), text(config, length)
    with Engine(parameters, slots=2, backend=backend, threads=2) as engine:
        heard: list[tuple[int, int]] = []
        engine.heard = lambda read, tokens: heard.append((read, tokens))
        whole = engine.prefill(0, ids).copy()
        ends = [*range(PREFILL_PIECE, length, PREFILL_PIECE), length]
        assert heard == [(end, length) for end in ends]
        assert error(whole, plain(parameters, ids)[-1]) < 1e-5
        pieces = engine.prefill(1, ids[:PREFILL_PIECE])
        for start in range(PREFILL_PIECE, length, PREFILL_PIECE):
            pieces = engine.extend(1, ids[start : start + PREFILL_PIECE])
        assert np.array_equal(pieces, whole)
        assert engine.length(1) == engine.length(0) == length
        assert np.array_equal(*engine.decode([0, 1], [3, 3]))


def test_what_is_no_next_piece_is_refused() -> None:
    config = replace(TIED, seq_len=PREFILL_PIECE + 8)
    with Engine(model(config), slots=3) as engine:
        engine.prefill(1, [1] * 5)
        engine.prefill(2, [1] * PREFILL_PIECE)
        for slot, ids in ((0, [1]), (1, [1]), (2, []), (2, [1] * 9), (2, [23]), (3, [1])):
            with pytest.raises(ValueError, match=r"whole pieces|a piece has|token ids|no slot"):
                engine.extend(slot, ids)
        assert engine.length(2) == PREFILL_PIECE


def test_a_new_prompt_forgets_what_the_slot_held() -> None:
    parameters, ids = model(GROUPED), text(GROUPED, 8)
    with Engine(parameters, slots=2) as engine:
        expected = engine.prefill(1, ids).copy()
        engine.prefill(0, text(GROUPED, 12, seed=9))
        assert np.array_equal(engine.prefill(0, ids), expected)
        assert engine.length(0) == 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_overflow_are_seen_in_the_logits(backend: Backend) -> None:
    parameters = model(GROUPED)
    parameters.norm[:] = np.float32(3e38)
    with Engine(parameters, backend=backend) as engine, np.errstate(all="ignore"):
        engine.prefill(0, [1, 2])
        assert not np.isfinite(engine.decode([0], [3])).all()


def test_a_prefill_that_fails_in_a_thread_leaves_an_empty_slot_and_a_usable_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parameters, ids = model(LONG), text(LONG, 64)
    with Engine(parameters, threads=2, backend="numpy") as engine:
        expected = engine.prefill(0, ids).copy()
        rest = Prefill._rest

        def failing(self: Any, index: int, *args: Any) -> None:
            if index == 1 and args[1].start > 0:
                raise FloatingPointError("a kernel failed")
            rest(self, index, *args)

        monkeypatch.setattr(Prefill, "_rest", failing)
        with pytest.raises(FloatingPointError, match="a kernel failed"):
            engine.prefill(0, ids)
        assert engine.length(0) == 0
        monkeypatch.undo()
        assert np.array_equal(engine.prefill(0, ids), expected)


def test_automatic_backend_is_compiled_for_large_models_where_numba_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = ModelConfig(vocab_size=20_000, dim=256, layers=1, heads=4, seq_len=8)
    weights = Parameters(large, np.zeros(layout_of(large).size, np.float32))
    with Engine(weights) as engine:
        assert engine.backend == "compiled"
    with Engine(model(TIED)) as engine:
        assert engine.backend == "numpy"
    monkeypatch.setattr(engine_module, "find_spec", lambda _: None)
    with Engine(weights) as engine:
        assert engine.backend == "numpy"
    with pytest.raises(SettingError, match=r"pip install '.\[fast\]'"):
        Engine(weights, backend="compiled")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_warm_engine_is_as_new(backend: Backend) -> None:
    with Engine(model(GROUPED), backend=backend) as engine:
        engine.warm()
        assert not engine.compiles_first
        assert engine.length(0) == 0
        warmed = engine.prefill(0, [1, 2]).copy()
    with Engine(model(GROUPED), backend=backend) as engine:
        assert np.array_equal(engine.prefill(0, [1, 2]), warmed)
    with Engine(model(GROUPED), backend=backend, context=1) as engine:
        engine.warm()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": 0}, "slots is 0"),
        ({"slots": True}, "slots is True"),
        ({"context": 0}, "context is 0"),
        ({"context": 13}, "made for 12 positions"),
        ({"threads": -1}, "threads is -1"),
        ({"threads": 257}, "threads is 257: choose at most 256"),
        ({"weights": "int4"}, "weights is 'int4'"),
        ({"backend": "torch"}, "backend is 'torch'"),
        ({"slots": 2**40}, "choose fewer slots or a shorter context"),
        ({"slots": 2**60}, "choose fewer slots or a shorter context"),
        ({"slots": 2**70}, "choose fewer slots or a shorter context"),
    ],
)
def test_impossible_settings_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Engine(model(TIED), **settings)


def test_an_engine_without_memory_for_its_steps_leaves_no_threads_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crews: list[crew_module.Crew] = []

    def no_memory(*arguments: Any) -> None:
        crews.append(arguments[-1])
        raise MemoryError("no room")

    monkeypatch.setattr(decode_compiled, "CompiledDecoder", no_memory)
    with pytest.raises(MemoryError, match="no room"):
        Engine(model(TIED), threads=3, backend="compiled")
    assert not crews[0]._work, "they were told to end"


def test_the_context_is_the_models_unless_that_is_very_long() -> None:
    with Engine(model(TIED)) as engine:
        assert engine.context == TIED.seq_len
    with Engine(model(replace(TIED, seq_len=100_000))) as engine:
        assert engine.context == CONTEXT_MAX
    with Engine(model(TIED), context=3) as engine:
        assert engine.context == 3


def test_calls_that_cannot_be_meant_are_refused() -> None:
    with Engine(model(TIED), slots=3, context=4) as engine:
        for slot, ids in ((3, [1]), (-1, [1]), (0, []), (0, [1] * 5), (0, [23]), (0, [-1])):
            with pytest.raises(ValueError, match=r"slot|tokens|token ids"):
                engine.prefill(slot, ids)
        engine.prefill(0, [1, 2])
        engine.prefill(1, [1, 2, 3, 4])
        for slots, tokens in (([0], []), ([], []), ([0, 0], [1, 1]), ([2], [1]), ([1], [1]), ([0], [23])):
            with pytest.raises(ValueError, match=r"different slots|empty or full|token ids"):
                engine.decode(slots, tokens)
        assert engine.length(0) == 2


def test_float64_weights_are_no_setting_of_inference() -> None:
    with pytest.raises(ValueError, match="float32"):
        Engine(random_parameters(TIED, 1))


def test_bytes_are_those_that_a_step_reads() -> None:
    flat, heads = layout_of(GROUPED).size * 4, GROUPED.vocab_size * GROUPED.dim * 4
    with Engine(model(GROUPED)) as engine:
        assert (
            engine.weight_bytes == flat - heads
        )  # the embedding is a table of its own here, and is not read
    with Engine(model(TIED), slots=2, context=5) as engine:
        cache = 2 * TIED.layers * 2 * TIED.key_value_heads * 5 * TIED.head_dim * 4
        assert engine.weight_bytes == layout_of(TIED).size * 4
        assert engine.nbytes == engine.weight_bytes + cache
    with Engine(model(TIED), weights="int8") as engine:
        assert engine.weight_bytes < layout_of(TIED).size * 4 / 2


class TestCrew:
    def test_every_thread_has_a_part_and_the_caller_is_the_first(self) -> None:
        crew = crew_module.Crew(4)
        ranks: list[int] = []
        for _ in range(3):
            crew.run(ranks.append)
        crew.close()
        crew.close()
        assert sorted(ranks) == sorted([0, 1, 2, 3] * 3)

    @pytest.mark.parametrize("rank", [0, 2])
    def test_the_error_of_a_part_is_raised_when_all_have_ended(self, rank: int) -> None:
        crew = crew_module.Crew(3)
        ended: list[int] = []

        def part(own: int) -> None:
            ended.append(own)
            if own == rank:
                raise KeyError(own)

        with pytest.raises(KeyError, match=str(rank)):
            crew.run(part)
        assert sorted(ended) == [0, 1, 2]
        crew.run(ended.append)  # the crew goes on
        crew.close()
        assert len(ended) == 6

    def test_a_thread_that_only_says_that_another_failed_is_not_what_is_raised(self) -> None:
        crew = crew_module.Crew(2)
        met = threading.Barrier(2)

        def part(rank: int) -> None:
            if rank == 0:
                met.wait()
            met.abort()
            raise MemoryError("no room")

        with pytest.raises(MemoryError, match="no room"):
            crew.run(part)
        crew.close()

    def test_work_whose_end_was_not_waited_for_is_not_taken_for_the_next(self) -> None:
        class Interrupted(SimpleQueue[Any]):
            def get(self, *_: Any) -> Any:  # as Ctrl-C does when it comes there
                raise KeyboardInterrupt

        crew = crew_module.Crew(2)
        crew._ended = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            crew.run(lambda _: None)
        with pytest.raises(RuntimeError, match="interrupted and may go on: make another engine"):
            crew.run(lambda _: None)
        crew.close()
