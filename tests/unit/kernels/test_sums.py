from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels import sums
from crystalline.kernels.sums import sum_of_columns, sum_of_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 130, 64)])
def test_equal_numpys_sums(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    rtol = 1e-5 if dtype is np.float32 else 1e-12
    for ours, numpys in ((sum_of_rows(x), x.sum(axis=-1)), (sum_of_columns(x), x.sum(axis=-2))):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, numpys, rtol=rtol, atol=rtol * 10)


@pytest.mark.parametrize("entries", [50_000, 200_000])
@pytest.mark.parametrize("rows", [1, 3])
def test_long_rows_keep_their_digits(rows: int, entries: int) -> None:
    """As long as a vocabulary. Float32 added one after the other would be off by 6e-5, or 3e-4."""
    logits = 3 * np.random.default_rng(entries).standard_normal((rows, entries), dtype=np.float32)
    x = np.exp(logits - 8)
    assert x.dtype == np.float32
    np.testing.assert_allclose(sum_of_rows(x), x.astype(np.float64).sum(axis=-1), rtol=1e-5, atol=0)


def test_what_is_kept_for_other_lengths_is_bounded() -> None:
    for entries in range(1, 200):
        x = np.ones((2, entries))
        assert sum_of_rows(x).tolist() == [entries, entries]
    assert sums._ones.cache_info().currsize <= 64
