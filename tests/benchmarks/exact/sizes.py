"""The sizes at which training is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig
from tests.benchmarks.lag import HEADLINE
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SIZES", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """A model, and what of the settings belongs to it.

    Attributes:
        model: its sizes.
        batch_size: sequences in a step.
        corpus: makes the text.
    """

    model: ModelConfig
    batch_size: int
    corpus: Callable[[], Corpus]

    def train(self, **changes: Any) -> TrainConfig:
        """Settings for them, the defaults but for `changes`."""
        return TrainConfig(batch_size=self.batch_size, **changes)


SIZES: Final = {
    "tiny": Sizes(
        ModelConfig(vocab_size=290, dim=16, layers=1, heads=2, ffn_dim=32, seq_len=16),
        24,
        lambda: Corpus.from_text(words(20_000)),
    ),
    "default": Sizes(ModelConfig(), TrainConfig().batch_size, Corpus.builtin),
    "large": Sizes(HEADLINE, 36, Corpus.builtin),
}
"""`default` is what `crystalline train` does without options; `large` is the model of `lag.py`."""
