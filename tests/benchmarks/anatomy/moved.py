"""How many bytes the element-wise work of a kernel has to read and write. Pure.

Each array that is handed in counts once, as if the caches held nothing before and everything during the call;
what is changed in place counts twice. Scratch is the kernel's own affair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["bytes_moved"]

_IN_PLACE: Final = {
    "rms_norm_backward": {"d_x"},
    "rotary": {"x"},
    "rotary_backward": {"d_x"},
    "swiglu": {"gate"},
    "cross_entropy": {"logits"},
    "cross_entropy_backward": {"logits"},
}
# Only those rows of a table move that a token reads: as many as there are tokens, read, or read and written.
_TABLES: Final = {"table": ("out", 1), "d_table": ("d_out", 2)}
# How often a score is read or written by what is not a matrix product.
_SCORE_PASSES: Final = {"attention": 2, "attention_backward": 3}


def bytes_moved(kernel: str, arguments: Mapping[str, Any]) -> float:
    """Bytes of one call, by the names of the kernel's parameters."""
    if kernel in _SCORE_PASSES:
        return _SCORE_PASSES[kernel] * _score_bytes(arguments["q"])
    return float(sum(_bytes(kernel, name, arguments) for name in arguments))


def _bytes(kernel: str, name: str, arguments: Mapping[str, Any]) -> int:
    value = arguments[name]
    if not isinstance(value, np.ndarray) or "scratch" in name:
        return 0
    if name in _TABLES:
        rows, times = _TABLES[name]
        return times * int(arguments[rows].nbytes)
    return value.nbytes * (2 if name in _IN_PLACE.get(kernel, ()) else 1)


def _score_bytes(q: Any) -> float:
    """Of the scores that the causal mask lets through, for queries (B, K, G, d, T)."""
    *heads, _, T = q.shape
    causal: float = math.prod(heads) * T * (T + 1) / 2 * q.itemsize
    return causal
