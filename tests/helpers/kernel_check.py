"""Hold any kernel to its contract: dtype, inputs only read, a gradient that finite differences confirm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from crystalline.kernels import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

Array: TypeAlias = npt.NDArray[Any]

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


def check_gradients(
    forward: Callable[..., Array],
    backward: Callable[..., Sequence[Array]],
    inputs: Sequence[Array],
    rng: np.random.Generator,
    *,
    eps: float = 1e-6,
    rtol: float = 1e-6,
) -> None:
    """Compare the gradient for each input with a central difference along one random direction.

    `forward(*inputs)` returns the output, `backward(d_out, *inputs)` one gradient for each input. Both
    take float64.
    """
    kept = [x.copy() for x in inputs]
    out = forward(*inputs)
    assert out.dtype == inputs[0].dtype
    weight = rng.standard_normal(out.shape)
    gradients = backward(weight.copy(), *inputs)
    assert all(np.array_equal(x, y) for x, y in zip(inputs, kept, strict=True)), "inputs are only read"
    for index, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        along = rng.standard_normal(x.shape)

        def moved(step: float, index: int = index, along: Array = along) -> Array:
            return forward(*(y + step * along if i == index else y for i, y in enumerate(inputs)))

        numeric = float(np.sum(weight * (moved(eps) - moved(-eps)))) / (2 * eps)
        analytic = float(np.sum(along * gradient))
        assert gradient.dtype == x.dtype
        assert abs(numeric - analytic) <= rtol * (abs(numeric) + abs(analytic)), (index, numeric, analytic)


def in_small_blocks(monkeypatch: pytest.MonkeyPatch, x: Array) -> None:
    """Let the kernels cut `x`, and arrays that are larger, into blocks of 16 KiB, of which it has several."""
    monkeypatch.setattr(blocks, "_CACHE_BYTES", 16 * 1024)
    assert len(list(blocks.row_blocks(x, operands=1))) > 1  # a kernel of more operands makes more blocks


def garbage(*shape: int, dtype: npt.DTypeLike = np.float64) -> Array:
    """A buffer whose old contents must not matter: anything computed from them is not a number."""
    return np.full(shape, np.nan, dtype=dtype)


def fixture(name: str, prefix: str = "") -> dict[str, Array]:
    """The arrays of tests/fixtures/<name>.npz whose key begins with `prefix`, without the prefix."""
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def assert_like_torch(ours: Array, theirs: Array) -> None:
    """Within 1e-5 of the largest entry, in float32."""
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * float(np.abs(theirs).max()))
