"""Text to train on, made from a seed."""

from __future__ import annotations

import random

_SYLLABLES = ["ka", "to", "mi", "ren", "sol", "va", "du", "pe", "lin", "or", "ash", "bu"]


def words(size: int, seed: int = 0) -> str:
    """About `size` bytes of sentences with a grammar simple enough to be learned a little."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 3))) for _ in range(200)]
    text: list[str] = []
    length = 0
    while length < size:
        sentence = " ".join(rng.choices(vocabulary, k=rng.randint(3, 9))).capitalize() + ".\n"
        text.append(sentence)
        length += len(sentence)
    return "".join(text)


def skewed(size: int, seed: int = 0) -> str:
    """About `size` bytes in which one word, hence one token, hence one symmetry group dominates."""
    lines = words(size // 12, seed).splitlines()
    monotone = " e" * (11 * size // 12 // 2 // len(lines))
    return "\n".join(line + monotone for line in lines)
