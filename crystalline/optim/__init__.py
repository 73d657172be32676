"""The optimiser: learning rate schedule, gradient clipping, AdamW. Pure functions over flat buffers."""

from __future__ import annotations

from crystalline.optim.adamw import AdamW, AdamWBuffers, adamw_update
from crystalline.optim.clip import SLICE, clip_scale, global_norm, slice_bounds, sum_of_squares
from crystalline.optim.schedule import learning_rate

__all__ = [
    "SLICE",
    "AdamW",
    "AdamWBuffers",
    "adamw_update",
    "clip_scale",
    "global_norm",
    "learning_rate",
    "slice_bounds",
    "sum_of_squares",
]
