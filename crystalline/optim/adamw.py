"""AdamW on slices of flat buffers, from one version of the weights to the next.

Old and new buffers are apart: whoever computes on the old weights may go on reading them while the new
ones are written, and slices can be updated by many workers in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AdamW", "AdamWBuffers", "adamw_update"]

# Floats. Shorter passes would stay in the L2 cache, and are slower for it: threads that work on slices at the
# same time wait for each other at each of the calls.
_BLOCK = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """The numbers of one update.

    Attributes:
        learning_rate: of this step, >= 0.
        beta1: decay of the first moment per step, in [0, 1).
        beta2: decay of the second moment per step, in [0, 1).
        eps: added to the root of the second moment, > 0.
        weight_decay: part of the weights removed per step and unit of learning rate, >= 0.

    Raises:
        SettingError: a number is out of range.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise SettingError(f"{name} is {value}: choose a finite number >= 0")
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingError(f"{name} is {getattr(self, name)}: choose a number in [0, 1)")
        if not self.eps > 0.0:
            raise SettingError(f"eps is {self.eps}: choose a number > 0")


class AdamWBuffers(NamedTuple):
    """Weights and moments of one version: flat float32 arrays of one length (n,)."""

    weights: NDArray[np.float32]
    first_moment: NDArray[np.float32]
    second_moment: NDArray[np.float32]

    def part(self, lo: int, hi: int) -> AdamWBuffers:
        """Views of the floats [lo, hi)."""
        return AdamWBuffers(*(buffer[lo:hi] for buffer in self))


def adamw_update(
    new: AdamWBuffers,
    old: AdamWBuffers,
    gradient: NDArray[np.float32],
    *,
    step: int,
    hyper: AdamW,
    gradient_scale: float = 1.0,
    decay_end: int | None = None,
    scratch: NDArray[np.float32] | None = None,
) -> None:
    """One step of Adam with decoupled weight decay, on any slice of the flat buffers.

    With g the scaled gradient, t the step, and the names of `hyper`:

        w <- w (1 - lr wd)
        m <- m + (1 - beta1) (g - m)
        v <- beta2 v + (1 - beta2) g g
        w <- w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)

    in the order of operations of `torch.optim.AdamW`. Every float is computed by itself, so the result
    has the same bits however the flat buffer was cut into slices.

    Args:
        new: the next version, overwritten; must not share memory with `old`.
        old: the present version, not modified.
        gradient: (n,), not modified.
        step: counted from 1.
        hyper: rates and decays.
        gradient_scale: factor of the gradient, see `clip_scale`.
        decay_end: floats of this slice before this index are decayed, the others are not; None decays
            all. Counted from the slice's start; below 0 is 0, beyond the end is the end.
        scratch: (n,) or longer, overwritten; made if None. Of a long one only the front is used.

    Raises:
        ValueError: lengths differ, or `step` is not positive.

    Source: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization", algorithm 2.
    """
    n = len(gradient)
    if step < 1:
        raise ValueError(f"step is counted from 1, got {step}")
    if any(len(buffer) != n for buffer in (*new, *old)):
        raise ValueError(f"lengths differ: gradient {n}, new {[*map(len, new)]}, old {[*map(len, old)]}")
    decayed = n if decay_end is None else min(max(decay_end, 0), n)
    if scratch is None:
        scratch = np.empty(min(n, _BLOCK), np.float32)
    for lo in range(0, n, _BLOCK):
        hi = min(lo + _BLOCK, n)
        block = scratch[: hi - lo]
        into, source = new.part(lo, hi), old.part(lo, hi)
        np.multiply(gradient[lo:hi], gradient_scale, out=block)
        _update_moments(into, source, block, hyper)
        _decay_weights(into.weights, source.weights, max(decayed - lo, 0), hyper)
        _move_weights(into, block, step, hyper)


def _update_moments(
    new: AdamWBuffers, old: AdamWBuffers, gradient: NDArray[np.float32], hyper: AdamW
) -> None:
    """Both moments of a block. Overwrites `gradient` as well."""
    m, v = new.first_moment, new.second_moment
    np.subtract(gradient, old.first_moment, out=m)
    m *= 1.0 - hyper.beta1
    m += old.first_moment
    np.square(gradient, out=gradient)
    gradient *= 1.0 - hyper.beta2
    np.multiply(old.second_moment, hyper.beta2, out=v)
    v += gradient


def _decay_weights(new: NDArray[np.float32], old: NDArray[np.float32], decayed: int, hyper: AdamW) -> None:
    """The weights of a block, the first `decayed` of them decayed."""
    np.multiply(old[:decayed], 1.0 - hyper.learning_rate * hyper.weight_decay, out=new[:decayed])
    new[decayed:] = old[decayed:]


def _move_weights(new: AdamWBuffers, scratch: NDArray[np.float32], step: int, hyper: AdamW) -> None:
    """Move a block's weights against the first moment. Overwrites `scratch`."""
    step_size = hyper.learning_rate / (1.0 - hyper.beta1**step)
    root_correction = math.sqrt(1.0 - hyper.beta2**step)
    np.sqrt(new.second_moment, out=scratch)
    scratch /= root_correction
    scratch += hyper.eps
    np.divide(new.first_moment, scratch, out=scratch)
    scratch *= -step_size
    new.weights[...] += scratch
