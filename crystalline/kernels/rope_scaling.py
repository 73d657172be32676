"""Rotary frequencies of a model that was made to see further than it was first trained to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats

__all__ = ["RopeScaling"]

_KINDS = ("linear", "llama3")
# What arithmetic on angles survives without overflow; far outside of any use.
_MAGNITUDE_MIN, _MAGNITUDE_MAX = 1e-6, 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How rotary frequencies are slowed down.

    `linear` divides every frequency by the factor. `llama3` divides those that turn fewer than
    `low_freq_factor` times within the original length, leaves those alone that turn more than
    `high_freq_factor` times, and goes from one to the other in between. The last three are for `llama3` only.

    Attributes:
        kind: which of the two.
        factor: how many times further, above 0.
        low_freq_factor: turns within the original length, above 0.
        high_freq_factor: turns within the original length, above `low_freq_factor`.
        original_seq_len: positions of the first training.

    Raises:
        SettingError: another kind, or a number out of range.

    Source: Chen et al. 2023, "Extending context window of large language models via positional
    interpolation"; Dubey et al. 2024, "The Llama 3 herd of models", as released with Llama 3.1.
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_seq_len: int = 8192

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise SettingError(
                f"rope scaling of kind {self.kind!r} is not supported; choose linear or llama3"
            )
        for name in ("factor", "low_freq_factor", "high_freq_factor", "original_seq_len"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SettingError(f"rope scaling's {name} must be a number, got {value!r}")
            if not _MAGNITUDE_MIN <= value <= _MAGNITUDE_MAX:
                raise SettingError(f"rope scaling's {name} must be from 1e-6 to 1e15, got {value!r}")
        if self.low_freq_factor >= self.high_freq_factor:
            raise SettingError(
                f"rope scaling's low_freq_factor={self.low_freq_factor} must be below "
                f"high_freq_factor={self.high_freq_factor}"
            )

    def slowed(self, frequencies: Floats) -> Floats:
        """The frequencies, in radians a position, that a scaled model turns with; a new array."""
        if self.kind == "linear":
            linear: Floats = frequencies / self.factor
            return linear
        turns = self.original_seq_len * frequencies / (2 * math.pi)
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = np.clip(kept, 0.0, 1.0)
        slowed: Floats = frequencies * (kept + (1.0 - kept) / self.factor)
        return slowed
