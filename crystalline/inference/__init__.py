"""Text from a trained model: sampling by definition, generation as a stream."""

from __future__ import annotations

from crystalline.inference.generate import continuation, decode, stream
from crystalline.inference.sampling import SamplingOptions, probabilities, sample
from crystalline.inference.text_model import TextModel

__all__ = [
    "SamplingOptions",
    "TextModel",
    "continuation",
    "decode",
    "probabilities",
    "sample",
    "stream",
]
