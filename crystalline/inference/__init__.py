"""Text from a trained model: sampling by definition, generation as a stream."""

from __future__ import annotations

from crystalline.inference.generate import TextModel, continuation, decode, stream
from crystalline.inference.sampling import SamplingOptions, probabilities, sample

__all__ = [
    "SamplingOptions",
    "TextModel",
    "continuation",
    "decode",
    "probabilities",
    "sample",
    "stream",
]
