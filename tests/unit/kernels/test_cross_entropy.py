from __future__ import annotations

import numpy as np
import pytest

from crystalline.kernels.cross_entropy import cross_entropy, cross_entropy_backward
from tests.helpers.kernel_check import Array, assert_like_torch, check_gradients, fixture, in_small_blocks


def gradient(logits: Array, targets: Array, *, scale: float = 1.0) -> tuple[float, Array]:
    d_logits = logits.copy()
    loss = cross_entropy_backward(d_logits, targets, scale=scale)
    return loss, d_logits


@pytest.mark.parametrize("rows", [1, 200])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_gradients_match_finite_differences(rows: int, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(rows)
    targets = rng.integers(-1, 300, rows) if rows > 1 else np.array([7])
    logits = rng.standard_normal((rows, 300))
    if rows > 1:
        in_small_blocks(monkeypatch, logits)
    check_gradients(
        lambda logits: np.array(scale * cross_entropy(logits.copy(), targets)),
        lambda d_out, logits: [d_out * gradient(logits, targets, scale=scale)[1]],
        [logits],
        rng,
    )


def test_agrees_with_torch() -> None:
    torch = fixture("kernels", "cross_entropy.")
    loss, d_logits = gradient(torch["logits"], torch["targets"], scale=float(torch["d_out"]))
    assert loss == pytest.approx(float(torch["out"]), rel=1e-6)
    assert_like_torch(d_logits, torch["d_logits"])


def test_equal_logits_cost_the_logarithm_of_the_vocabulary() -> None:
    assert cross_entropy(np.zeros((3, 50)), np.array([0, 7, 49])) == pytest.approx(3 * np.log(50))


def test_the_loss_over_several_blocks_is_that_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits, targets = rng.standard_normal((101, 2000), dtype=np.float32), rng.integers(-1, 2000, 101)
    rows = [cross_entropy(logits[at : at + 1].copy(), targets[at : at + 1]) for at in range(101)]
    in_small_blocks(monkeypatch, logits)
    assert gradient(logits, targets)[0] == pytest.approx(sum(rows), rel=1e-6)


def test_loss_alone_and_loss_with_gradient_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits, targets = rng.standard_normal((101, 2000), dtype=np.float32), rng.integers(-1, 2000, 101)
    in_small_blocks(monkeypatch, logits)
    assert cross_entropy(logits.copy(), targets) == gradient(logits, targets)[0]


def test_padding_has_no_loss_and_no_gradient() -> None:
    rng = np.random.default_rng(4)
    logits, targets = rng.standard_normal((4, 6)), np.array([1, -1, 5, -100])
    loss, d_logits = gradient(logits, targets)
    assert loss == pytest.approx(cross_entropy(logits[[0, 2]], targets[[0, 2]]))
    assert not d_logits[[1, 3]].any()
    assert d_logits[[0, 2]].all()


def test_large_logits_neither_overflow_nor_lose_the_loss() -> None:
    logits = np.array([[3e37, 0.0], [0.0, -1e30]], dtype=np.float32)
    assert cross_entropy(logits, np.array([0, 0])) == 0.0
