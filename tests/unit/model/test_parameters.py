from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from crystalline.model import (
    ModelConfig,
    Parameters,
    initialise,
    layout_of,
    name_at,
    weights_sha256,
)
from tests.helpers.models import GROUPED, TIED


@pytest.mark.parametrize("config", [TIED, GROUPED])
def test_the_layout_covers_the_buffer_once_without_gaps(config: ModelConfig) -> None:
    layout, end = layout_of(config), 0
    for offset, shape in layout.entries.values():
        assert offset == end
        end += math.prod(shape)
    assert end == layout.size


@pytest.mark.parametrize("config", [TIED, GROUPED])
def test_decay_has_one_boundary_between_matrices_and_gains(config: ModelConfig) -> None:
    layout = layout_of(config)
    assert {name for name, (offset, _) in layout.entries.items() if offset >= layout.decay_end} == {
        name for name, (_, shape) in layout.entries.items() if len(shape) == 1
    }


def test_only_an_untied_model_has_its_own_head() -> None:
    assert "lm_head.weight" not in layout_of(TIED).entries
    assert layout_of(GROUPED).entries["lm_head.weight"][1] == (19, 24)
    tied = Parameters(TIED, np.zeros(layout_of(TIED).size))
    assert tied.head is tied.embedding


def test_fused_views_are_the_named_views_stacked() -> None:
    parameters = Parameters(GROUPED, np.arange(float(layout_of(GROUPED).size)))
    for index, layer in enumerate(parameters.layers):
        attention, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
        qkv = [parameters.views[f"{attention}.{part}_proj.weight"] for part in "qkv"]
        assert [part.shape for part in qkv] == [(24, 24), (12, 24), (12, 24)]
        assert np.array_equal(layer.qkv, np.concatenate(qkv))
        gate_up = [parameters.views[f"{mlp}.{part}_proj.weight"] for part in ("gate", "up")]
        assert np.array_equal(layer.gate_up, np.concatenate(gate_up))
        assert layer.qkv.flags.c_contiguous
        assert np.shares_memory(layer.gate_up, parameters.flat)


def test_views_write_through_and_keep_the_dtype() -> None:
    for dtype in (np.float32, np.float64):
        parameters = Parameters(TIED, np.zeros(layout_of(TIED).size, dtype=dtype))
        parameters.views["model.norm.weight"][:] = 7
        assert parameters.flat.dtype == parameters.norm.dtype == dtype
        assert parameters.flat.sum() == 7 * TIED.dim


def test_a_read_only_buffer_gives_read_only_views() -> None:
    parameters = Parameters(TIED, np.frombuffer(initialise(TIED, 0).tobytes(), dtype=np.float32))
    assert not parameters.layers[0].qkv.flags.writeable


@pytest.mark.parametrize(
    "flat", [np.zeros(3), np.zeros((layout_of(TIED).size, 1)), np.zeros(2 * layout_of(TIED).size)[::2]]
)
def test_a_buffer_that_does_not_fit_is_refused(flat: np.ndarray) -> None:
    with pytest.raises(ValueError, match=f"shape .*{layout_of(TIED).size}"):
        Parameters(TIED, flat)


def test_initial_weights_are_a_function_of_the_seed() -> None:
    assert np.array_equal(initialise(TIED, 3), initialise(TIED, 3))
    assert not np.array_equal(initialise(TIED, 3), initialise(TIED, 4))


def test_initial_weights_have_the_stated_deviations() -> None:
    config = ModelConfig(vocab_size=300, dim=64, layers=2, heads=4)
    flat = initialise(config, 0)
    assert flat.dtype == np.float32
    parameters = Parameters(config, flat)
    for name, view in parameters.views.items():
        if view.ndim == 1:
            assert (view == 1).all()
        else:
            into_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            expected = 0.02 / math.sqrt(2 * config.layers) if into_residual else 0.02
            assert view.std() == pytest.approx(expected, rel=0.05), name


def test_the_hash_is_that_of_little_endian_float32() -> None:
    flat = initialise(TIED, 1)
    assert weights_sha256(flat) == hashlib.sha256(flat.astype("<f4").tobytes()).hexdigest()
    assert weights_sha256(flat.astype(">f4")) == weights_sha256(flat)


def test_the_hash_sees_one_bit() -> None:
    flat = initialise(TIED, 1)
    before = weights_sha256(flat)
    flat[17] = np.nextafter(flat[17], np.float32(np.inf))
    assert weights_sha256(flat) != before


def test_a_flat_index_is_named_after_its_tensor() -> None:
    layout = layout_of(GROUPED)
    for name, (offset, shape) in layout.entries.items():
        assert name_at(layout, offset) == name_at(layout, offset + math.prod(shape) - 1) == name
    with pytest.raises(IndexError, match=str(layout.size)):
        name_at(layout, layout.size)
