from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from numba.core import caching

from crystalline.inference.compiled import COUNTERS_PER_PHASE, PHASES_PER_LAYER
from crystalline.inference.decode_compiled import CompiledDecoder
from crystalline.inference.engine import Engine
from crystalline.inference.machine import exp, jit
from crystalline.inference.tiles import tile
from crystalline.inference.weights import Weights
from tests.helpers.models import GROUPED, random_parameters

if TYPE_CHECKING:
    from pathlib import Path

# The first test that decodes compiles, which takes long on a busy machine.
pytestmark = pytest.mark.timeout(300)

SHAPES = ((1, 1), (8, 1), (4, 2), (4, 4))


def compiled(rows: int, streams: int) -> Any:
    dots = tile(rows, streams)

    @jit
    def all_products(weight: Any, x: Any, out: Any) -> None:
        for r in range(0, weight.shape[0], rows):
            for s in range(0, x.shape[0], streams):
                sums = dots(weight, r, x, s)
                for i in range(rows):
                    for j in range(streams):
                        out[s + j, r + i] = sums[i * streams + j]

    return all_products


PRODUCTS = {shape: compiled(*shape) for shape in SHAPES}


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 48, 100])
def test_tiles_of_every_shape_give_the_same_bits_and_the_right_ones(length: int, dtype: Any) -> None:
    rng = np.random.default_rng(length)
    weight = (40 * rng.standard_normal((8, length))).astype(dtype)
    x = rng.standard_normal((4, length)).astype(np.float32)
    found = {}
    for shape, products in PRODUCTS.items():
        out = np.empty((4, 8), np.float32)
        products(weight, x, out)
        found[shape] = out
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    bound = np.abs(x).astype(np.float64) @ np.abs(weight.T).astype(np.float64)
    assert (np.abs(found[1, 1] - exact) <= 1e-6 * bound).all()
    assert all(np.array_equal(found[1, 1], other) for other in found.values())


def test_the_order_of_a_sum_is_sixteen_lanes_folded_in_halves() -> None:
    # The small term is lost beside the large one of its lane, and the large ones cancel when halves are
    # folded: the sum is 1. One after the other, the large ones cancel first, and the small one stays.
    x = np.zeros((1, 33), np.float32)
    x[0, :16] = [2.0**20 * (-1) ** (lane // 8) for lane in range(16)]
    x[0, 3 + 16] = 2.0**-10
    x[0, 32] = 1.0
    weight, out = np.ones((1, 33), np.float32), np.empty((1, 1), np.float32)
    PRODUCTS[1, 1](weight, x, out)
    lanes = (x[0, :16] + x[0, 16:32]).astype(np.float32)
    while len(lanes) > 1:
        lanes = lanes[: len(lanes) // 2] + lanes[len(lanes) // 2 :]
    assert out[0, 0] == lanes[0] + np.float32(1.0) == 1.0 != np.cumsum(x[0], dtype=np.float32)[-1]


@settings(deadline=None)
@given(st.floats(-86.0, 87.0, width=32))
def test_exp_is_right_to_two_units_in_the_last_place(x: float) -> None:
    exact = np.exp(np.float64(np.float32(x)))
    assert abs(float(exp(np.float32(x))) - exact) <= 2 * np.spacing(np.float32(exact))


def test_exp_of_what_is_no_number_or_very_far_below_zero() -> None:
    assert np.isnan(exp(np.float32("nan")))
    assert 0 <= exp(np.float32(-1e30)) < 1e-37
    assert exp(np.float32(0.0)) == 1.0


@given(seed=st.integers(0, 2**32 - 1), magnitude=st.floats(1e-20, 1e20))
def test_int8_is_off_by_half_a_step_at_most(seed: int, magnitude: float) -> None:
    parameters = random_parameters(GROUPED, seed, np.float32)
    parameters.flat[:] *= np.float32(magnitude)
    parameters.layers[0].o_proj[2] = 0.0
    weights = Weights(parameters, "int8")
    for i, layer in enumerate(parameters.layers):
        for name in ("qkv", "o_proj", "gate_up", "down_proj"):
            rounded, exact = getattr(weights.layers[i], name), getattr(layer, name)
            step = np.abs(exact).max(axis=1, keepdims=True) / 127
            assert (np.abs(rounded.rows(slice(None)) - exact) <= step * 0.5001).all()
    assert np.array_equal(weights.layers[0].o_proj.rows(2), np.zeros(GROUPED.dim))


def twice(x: Any) -> Any:
    return x + x


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"\x80\x05cut", b"nonsense"])
def test_what_was_kept_and_is_damaged_is_compiled_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, damage: bytes
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    assert jit(twice)(21) == 42
    for path in (kept := list(tmp_path.rglob(f"*.{kind}"))):
        path.write_bytes(damage)
    assert kept
    assert jit(twice)(21) == 42
    again = jit(twice)
    assert again(21) == 42
    assert sum(again.stats.cache_hits.values()) == 1, "and is kept again"


def test_without_room_what_is_compiled_is_used_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", full)
    assert jit(twice)(21) == 42


class _Late:
    """A crew of which only some threads come, and one comes when all is done."""

    threads = 3

    def run(self, part: Any) -> None:
        part(1)
        part(0)


def test_work_ends_with_whoever_comes_and_late_threads_change_nothing() -> None:
    parameters = random_parameters(GROUPED, 5, np.float32)
    with Engine(parameters, slots=2, backend="compiled", threads=1) as engine:
        engine.prefill(0, [1, 2, 3])
        cache = engine._cache
        held = cache.keys.copy(), cache.values.copy()
        decoder: Any = engine._decode
        late = CompiledDecoder(engine._weights, cache, decoder._cos, decoder._sin, _Late())  # type: ignore[arg-type]  # a double
        expected = late([0], [4]).copy()
        assert late._counters[::COUNTERS_PER_PHASE].min() > 0
        assert len(late._counters) == (PHASES_PER_LAYER * GROUPED.layers + 1) * COUNTERS_PER_PHASE
        cache.keys[:], cache.values[:] = held
        assert np.array_equal(engine.decode([0], [4]), expected)
