"""Keys and values of the positions that a model has seen, for several texts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from crystalline.kernels.arrays import Floats
    from crystalline.model import ModelConfig

__all__ = ["KeyValueCache"]


class KeyValueCache:
    """Slots of `context` positions each; keys are kept as rotary positions have turned them.

    Reserved at once, but the system gives memory only to positions that have been used.

    Args:
        config: the model's sizes.
        slots: texts at once.
        context: most positions of each.

    Attributes:
        keys: (layers, slots, K, context, d), float32.
        values: (layers, slots, K, context, d), float32.
        lengths: positions in use of each slot.

    Raises:
        SettingError: there is not enough memory for so many positions.
    """

    __slots__ = ("context", "keys", "lengths", "slots", "values")

    def __init__(self, config: ModelConfig, slots: int, context: int) -> None:
        shape = (config.layers, slots, config.key_value_heads, context, config.head_dim)
        self.slots, self.context = slots, context
        try:
            # Not zeros: numpy would write them itself where it asks for large pages.
            self.keys: Floats = np.empty(shape, np.float32)
            self.values: Floats = np.empty(shape, np.float32)
        except (MemoryError, ValueError):  # the second where the number of entries is no size at all
            wanted_mib = 2 * 4 * np.prod(shape, dtype=float) / 2**20
            raise SettingError(
                f"{slots} slots of {context} positions take {wanted_mib:,.0f} MiB, more than there is: "
                "choose fewer slots or a shorter context"
            ) from None
        self.lengths = [0] * slots

    @property
    def nbytes(self) -> int:
        """Bytes reserved."""
        return self.keys.nbytes + self.values.nbytes
