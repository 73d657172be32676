"""The yardstick of a language model: how well the bare frequency of tokens predicts held-out text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["unigram_cross_entropy"]


def unigram_cross_entropy(
    train: NDArray[np.integer[Any]], held_out: NDArray[np.integer[Any]], vocab_size: int
) -> float:
    """Mean cross-entropy of held-out tokens under the frequencies of training tokens.

    With c(t) the count of token t among N training tokens, p(t) = (c(t) + 1) / (N + V): add-one smoothing
    (Laplace), so that a token never seen in training has a finite cost.

    Args:
        train: target ids of the training windows, any shape; negative ids are padding and do not count.
        held_out: target ids of the held-out windows, any shape, likewise.
        vocab_size: V, above every id.

    Returns:
        Nats per token.

    Raises:
        ValueError: `held_out` has no token, or an id is not below `vocab_size`.
    """
    train_counts = _counts(train, vocab_size)
    held_out_counts = _counts(held_out, vocab_size)
    total = held_out_counts.sum()
    if total == 0:
        raise ValueError("held_out has no token that counts")
    log_p = np.log((train_counts + 1) / (train_counts.sum() + vocab_size))
    return float(-np.sum(held_out_counts * log_p) / total)


def _counts(ids: NDArray[np.integer[Any]], vocab_size: int) -> NDArray[np.intp]:
    counts = np.bincount(ids[ids >= 0], minlength=vocab_size)
    if len(counts) > vocab_size:
        raise ValueError(f"token id {len(counts) - 1} is not below the vocabulary size {vocab_size}")
    return counts
