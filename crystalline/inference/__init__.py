"""Text from a trained model: sampling by definition, generation as a stream."""

from __future__ import annotations

from crystalline.inference.continuation import Continuation, absent_ids
from crystalline.inference.decoding import Decoder
from crystalline.inference.engine import Engine
from crystalline.inference.generate import complete, stream
from crystalline.inference.generator import Generator
from crystalline.inference.request import (
    Completion,
    FinishReason,
    Overflow,
    Piece,
    Request,
    TokenLogprob,
    Usage,
)
from crystalline.inference.sampling import SamplingOptions, probabilities, sample
from crystalline.inference.scheduler import Statistics
from crystalline.inference.text_model import TextModel

__all__ = [
    "Completion",
    "Continuation",
    "Decoder",
    "Engine",
    "FinishReason",
    "Generator",
    "Overflow",
    "Piece",
    "Request",
    "SamplingOptions",
    "Statistics",
    "TextModel",
    "TokenLogprob",
    "Usage",
    "absent_ids",
    "complete",
    "probabilities",
    "sample",
    "stream",
]
