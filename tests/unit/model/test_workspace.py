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
    """Every distinct writable buffer."""
    parts: list[Any] = [*dict.fromkeys(buffers.layers), buffers]
    parts += [buffers.backward] if buffers.backward else []
    found = [getattr(part, field.name) for part in parts for field in fields(part)]
    return [
        x
        for x in found
        if isinstance(x, np.ndarray) and x.size and x is not buffers.cos and x is not buffers.sin
    ]


@settings(max_examples=20, deadline=None)
@given(B=st.integers(1, 3), T=st.integers(1, 12), training=st.booleans())
def test_buffers_of_any_fitting_batch_are_separate_and_aligned(*, B: int, T: int, training: bool) -> None:
    arrays = arrays_of(Workspace(GROUPED, 3, training=training).buffers(B, T))
    spans = sorted((x.ctypes.data, x.ctypes.data + x.nbytes) for x in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert all(x.ctypes.data % 64 == 0 and x.flags.c_contiguous for x in arrays)


def test_without_training_all_layers_share_their_buffers() -> None:
    deep = ModelConfig(vocab_size=23, dim=16, layers=50, heads=4, ffn_dim=20, seq_len=12)
    shallow = ModelConfig(vocab_size=23, dim=16, layers=1, heads=4, ffn_dim=20, seq_len=12)
    assert Workspace(deep, 2, training=False).nbytes == Workspace(shallow, 2, training=False).nbytes
    assert Workspace(deep, 2).nbytes > 10 * Workspace(shallow, 2, training=False).nbytes


def test_nbytes_is_the_memory_that_the_buffers_need() -> None:
    workspace = Workspace(TIED, 2)
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
