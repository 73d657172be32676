"""The yardstick of a language model: how well the bare frequency of tokens predicts held-out text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["token_counts", "unigram_cross_entropy"]


def token_counts(blocks: Iterable[NDArray[np.integer[Any]]], vocab_size: int) -> NDArray[np.int64]:
    """How often each token occurs. A block at a time is in memory.

    Args:
        blocks: token ids, of any shape; negative ids are padding and do not count.
        vocab_size: V, above every id.

    Returns:
        Counts (V,).

    Raises:
        ValueError: an id is not below `vocab_size`.
    """
    total = np.zeros(vocab_size, np.int64)
    for ids in blocks:
        counts = np.bincount(ids[ids >= 0], minlength=vocab_size)
        if len(counts) > vocab_size:
            raise ValueError(f"token id {len(counts) - 1} is not below the vocabulary size {vocab_size}")
        total += counts
    return total


def unigram_cross_entropy(
    train_counts: NDArray[np.integer[Any]], held_out_counts: NDArray[np.integer[Any]]
) -> float:
    """Mean cross-entropy of held-out tokens under the frequencies of training tokens.

    With c(t) the count of token t among N training tokens, p(t) = (c(t) + 1) / (N + V): add-one smoothing
    (Laplace), so that a token never seen in training has a finite cost.

    Args:
        train_counts: how often each token is a target of the training windows (V,).
        held_out_counts: likewise of the held-out windows (V,).

    Returns:
        Nats per token.

    Raises:
        ValueError: nothing is held out, or the two are of different vocabularies.
    """
    if train_counts.shape != held_out_counts.shape:
        raise ValueError(f"counts of two vocabularies: {train_counts.shape} and {held_out_counts.shape}")
    total = held_out_counts.sum()
    if total == 0:
        raise ValueError("held_out_counts has no token that counts")
    log_p = np.log((train_counts + 1) / (train_counts.sum() + len(train_counts)))
    return float(-np.sum(held_out_counts * log_p) / total)
