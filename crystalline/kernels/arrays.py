"""Names for the arrays that kernels take. Shapes stand in each docstring, in the letters of the field.

B batch, T time, N = B * T tokens, D model width, H query heads, K key/value heads, G = H / K query heads
that share one key head, d head width, F feed-forward width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ids"]

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
"""float32 in use, float64 in tests. A kernel gets all its arrays in one of the two and never converts."""

Ids: TypeAlias = npt.NDArray[np.integer[Any]]
"""Token ids, usually int32."""
