from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crystalline.kernels.embedding import embedding, embedding_backward
from tests.helpers.kernel_check import Array, assert_like_torch, check_gradients, fixture, garbage


def forward(ids: Array, table: Array) -> Array:
    out = garbage(len(ids), table.shape[1], dtype=table.dtype)
    embedding(ids, table, out=out)
    return out


def backward(d_out: Array, ids: Array, table: Array) -> Array:
    d_table = np.zeros_like(table)
    embedding_backward(d_out, ids, d_table=d_table, scratch=garbage(2, *d_out.shape, dtype=d_out.dtype))
    return d_table


def test_gradients_match_finite_differences() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 7, 40)
    check_gradients(
        lambda table: forward(ids, table),
        lambda d_out, table: [backward(d_out, ids, table)],
        [rng.standard_normal((7, 3))],
        rng,
    )


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "embedding.")
    assert_like_torch(forward(torch["ids"], torch["table"]), torch["out"])
    assert_like_torch(backward(torch["d_out"], torch["ids"], torch["table"]), torch["d_table"])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_gradient_equals_adding_row_by_row(ids: list[int]) -> None:
    d_out = np.random.default_rng(len(ids)).standard_normal((len(ids), 3))
    expected = np.zeros((10, 3))
    np.add.at(expected, ids, d_out)
    np.testing.assert_allclose(
        backward(d_out, np.array(ids, dtype=np.int32), np.zeros((10, 3))), expected, rtol=1e-12, atol=1e-12
    )


def test_gradient_is_added_and_other_rows_keep_theirs() -> None:
    d_table = np.arange(8.0).reshape(4, 2)
    embedding_backward(
        np.ones((2, 2)), np.array([3, 3], dtype=np.int32), d_table=d_table, scratch=garbage(2, 2, 2)
    )
    assert np.array_equal(d_table, [[0, 1], [2, 3], [4, 5], [8, 9]])
