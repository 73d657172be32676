from __future__ import annotations

import itertools
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalline.model import ModelConfig, Workspace
from tests.helpers.models import GROUPED, TIED

if TYPE_CHECKING:
    from crystalline.model.workspace import Buffers


def arrays_of(buffers: Buffers) -> list[np.ndarray]:
    """Every distinct writable buffer; layers may share theirs."""
    parts: list[Any] = [*buffers.layers, buffers]
    parts += [buffers.backward] if buffers.backward else []
    each = [getattr(part, field.name) for part in parts for field in fields(part)]
    found = {id(x): x for x in each}.values()
    return [x for x in found if isinstance(x, np.ndarray) and x.size]


@settings(max_examples=20, deadline=None)
@given(B=st.integers(1, 3), T=st.integers(1, 12), training=st.booleans(), recompute=st.booleans())
def test_buffers_of_any_fitting_batch_are_separate_and_aligned(
    *, B: int, T: int, training: bool, recompute: bool
) -> None:
    workspace = Workspace(GROUPED, 3, training=training, recompute=recompute)
    arrays = arrays_of(workspace.buffers(B, T))
    spans = sorted((x.ctypes.data, x.ctypes.data + x.nbytes) for x in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all(x.ctypes.data % 64 == 0 and x.flags.c_contiguous for x in arrays)


def test_without_training_all_layers_share_their_buffers() -> None:
    deep = ModelConfig(vocab_size=23, dim=16, layers=50, heads=4, ffn_dim=20, seq_len=12)
    shallow = ModelConfig(vocab_size=23, dim=16, layers=1, heads=4, ffn_dim=20, seq_len=12)
    assert Workspace(deep, 2, training=False).nbytes == Workspace(shallow, 2, training=False).nbytes
    assert Workspace(deep, 2).nbytes > 10 * Workspace(shallow, 2, training=False).nbytes


def test_with_recomputation_each_layer_keeps_its_input_alone() -> None:
    sizes = [
        Workspace(
            ModelConfig(vocab_size=23, dim=16, layers=layers, heads=4, ffn_dim=20, seq_len=12),
            2,
            recompute=True,
        ).nbytes
        for layers in (1, 51)
    ]
    assert sizes[1] - sizes[0] == 50 * 2 * 12 * 16 * np.dtype(np.float32).itemsize


@pytest.mark.parametrize("recompute", [False, True])
def test_nbytes_is_the_memory_that_the_buffers_need(*, recompute: bool) -> None:
    workspace = Workspace(TIED, 2, recompute=recompute)
    needed = sum(x.nbytes for x in arrays_of(workspace.buffers(2, 12)))
    assert needed <= workspace.nbytes <= 1.05 * needed


@pytest.mark.parametrize(("batch", "seq_len"), [(0, 4), (1, 0), (1, 13)])
def test_impossible_sizes_are_refused(batch: int, seq_len: int) -> None:
    with pytest.raises(ValueError, match=rf"batch={batch}, seq_len={seq_len}"):
        Workspace(TIED, batch, seq_len)


def test_only_two_float_types_are_served() -> None:
    with pytest.raises(ValueError, match="float16"):
        Workspace(TIED, 1, dtype=np.float16)


@pytest.mark.parametrize(("B", "T"), [(3, 4), (2, 6), (0, 4)])
def test_a_batch_that_does_not_fit_is_refused_with_both_shapes(B: int, T: int) -> None:
    with pytest.raises(ValueError, match=rf"\({B}, {T}\) .* \(2, 5\)"):
        Workspace(TIED, 2, 5).buffers(B, T)
