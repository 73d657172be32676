"""Windows: the token file cut into training examples, some of them held out for validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.errors import CorpusError, SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PADDING_TARGET", "Windows"]

PADDING_TARGET = -1
"""The target at a position that is padding: it has no loss and no gradient."""


class Windows:
    """Windows of T+1 tokens at stride T: every token but the first is the target of exactly one window.

    The last window may be shorter; its inputs are filled up with token 0 and its targets with -1. Window
    i is held out if floor((i+1) f) > floor(i f) for the fraction f, which spreads held-out text evenly
    over the corpus. If f > 0 and there are two windows or more, at least one is held out.

    Args:
        tokens: token ids (n,), of any integer type; not copied.
        seq_len: T, the input tokens of a window.
        val_fraction: part of the windows to hold out, in [0, 1).

    Attributes:
        train: indices of the windows to train on, rising, never empty.
        validation: indices of the windows held out, rising.

    Raises:
        SettingError: `seq_len` is not positive or `val_fraction` is not in [0, 1).
        CorpusError: the tokens do not fill one whole window.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]

    def __init__(self, tokens: NDArray[np.integer[Any]], seq_len: int, val_fraction: float) -> None:
        if seq_len < 1:
            raise SettingError(f"seq_len is {seq_len}: choose a positive number of tokens")
        if not 0.0 <= val_fraction < 1.0:
            raise SettingError(f"val_fraction is {val_fraction}: choose a part in [0, 1)")
        if len(tokens) < seq_len + 1:
            raise CorpusError(
                f"the text has {len(tokens)} tokens but one window takes {seq_len + 1}: "
                "use a shorter --seq-len or more text"
            )
        self._tokens = tokens
        self._seq_len = seq_len
        held_out = _held_out(self.count, val_fraction)
        self.train = np.flatnonzero(~held_out)
        self.validation = np.flatnonzero(held_out)

    @property
    def count(self) -> int:
        """Number of windows, held out or not."""
        return -(-(len(self._tokens) - 1) // self._seq_len)

    @property
    def seq_len(self) -> int:
        """T, the input tokens of a window."""
        return self._seq_len

    def batch(self, indices: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Inputs and targets of some windows.

        Args:
            indices: window numbers (n,), in any order.

        Returns:
            Inputs (n, T) and targets (n, T), new arrays. Target t is the token that follows input t, or
            -1 where the text has ended.

        Raises:
            IndexError: an index is not in [0, count).
        """
        if np.any((indices < 0) | (indices >= self.count)):
            raise IndexError(f"window indices must be in [0, {self.count}), got {indices}")
        places = np.asarray(indices, np.intp)[:, None] * self._seq_len + np.arange(self._seq_len + 1)
        ended = places >= len(self._tokens)
        window = self._tokens[np.where(ended, 0, places)].astype(np.int32)  # (n, T + 1)
        inputs = np.where(ended, 0, window)[:, :-1]
        targets = np.where(ended, PADDING_TARGET, window)[:, 1:]
        return np.ascontiguousarray(inputs, np.int32), np.ascontiguousarray(targets, np.int32)


def _held_out(count: int, fraction: float) -> NDArray[np.bool_]:
    passed = np.floor(np.arange(count + 1) * fraction)
    held_out: NDArray[np.bool_] = passed[1:] > passed[:-1]
    # Window 0 is never held out, since floor(f) = 0: there is always something to train on.
    if fraction > 0.0 and count > 1 and not held_out.any():
        held_out[count // 2] = True
    return held_out
