"""The learning rate of each step: up in a straight line, down along half a cosine."""

from __future__ import annotations

import math

__all__ = ["learning_rate"]


def learning_rate(
    step: int, *, peak: float, warmup_steps: int, total_steps: int, floor_fraction: float = 0.1
) -> float:
    """Linear warm-up to the peak, then cosine decay to a floor.

    With W = warmup_steps, N = total_steps, f = floor_fraction:

        step < W:   peak (step + 1) / (W + 1)
        step >= W:  peak (f + (1 - f) (1 + cos(pi (step - W) / (N - W))) / 2)

    so the first step already learns, step W has the peak, and step N, should it come, and every one
    after it, has the floor f * peak.

    Args:
        step: counted from 0.
        peak: the highest rate, >= 0.
        warmup_steps: steps before the peak; 0 starts at the peak. If N or more, the peak is not reached.
        total_steps: steps of the whole run.
        floor_fraction: the floor as a part of the peak, in [0, 1].

    Source: Loshchilov and Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", equation 5,
    without restarts.

    >>> [round(learning_rate(step, peak=1.0, warmup_steps=1, total_steps=3), 3) for step in range(4)]
    [0.5, 1.0, 0.55, 0.1]
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if step >= total_steps:
        return peak * floor_fraction
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * (floor_fraction + (1.0 - floor_fraction) * 0.5 * (1.0 + math.cos(math.pi * progress)))
