"""A model that answers in no time, and engines that do as they are told: for tests of the generator."""

from __future__ import annotations

from functools import cache

import numpy as np

from crystalline.inference import TextModel
from crystalline.model import ModelConfig, TextSettings
from tests.helpers.models import random_parameters
from tests.helpers.texts import words
from tests.helpers.tokenizers import END_OF_TEXT, small_tokenizer

VOCAB = 300
CONFIG = ModelConfig(vocab_size=VOCAB, dim=16, layers=1, heads=2, ffn_dim=24, seq_len=64)


@cache
def tiny_model(seed: int = 0) -> TextModel:
    """A model of few weights that says nonsense, different nonsense for each seed."""
    tokenizer = small_tokenizer(words(4_000), VOCAB)
    end = tokenizer.token_to_id(END_OF_TEXT)
    assert end is not None
    text = TextSettings(end_ids=(end,))
    return TextModel(CONFIG, random_parameters(CONFIG, seed, np.float32), tokenizer, text)
