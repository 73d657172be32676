from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels.sums import sum_of_columns, sum_of_rows


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 130, 64)])
def test_equal_numpys_sums(shape: tuple[int, ...], dtype: type[np.floating]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    rtol = 1e-5 if dtype is np.float32 else 1e-12
    for ours, numpys in ((sum_of_rows(x), x.sum(axis=-1)), (sum_of_columns(x), x.sum(axis=-2))):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, numpys, rtol=rtol, atol=rtol * 10)
