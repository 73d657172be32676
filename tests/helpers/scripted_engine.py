"""An engine without a model: it predicts what it is told to, and remembers what it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.inference import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crystalline.inference import Continuation, Piece

__all__ = ["ScriptedEngine", "following", "run"]


class ScriptedEngine(Engine):
    """One slot, which keeps the promises of `Engine` and insists on what it asks for.

    Args:
        vocab_size: how many logits there are.
        predict: from the ids that the model sees to the logits after them.
        context: the most ids that it sees.

    Attributes:
        saw: the ids before each prediction.
        prefills: how often it began anew.
    """

    def __init__(
        self, vocab_size: int, predict: Callable[[list[int]], np.ndarray], context: int = 1000
    ) -> None:
        self.vocab_size, self.context, self.slots = vocab_size, context, 1
        self.saw: list[list[int]] = []
        self.prefills = 0
        self._predict = predict
        self._held: list[int] = []

    def close(self) -> None:
        """Nothing to end."""

    def prefill(self, slot: int, ids: Sequence[int]) -> np.ndarray:
        assert slot == 0
        assert 0 < len(ids) <= self.context
        self.prefills += 1
        self._held = []
        return self._take(ids)

    def decode(self, slots: Sequence[int], ids: Sequence[int]) -> np.ndarray:
        assert list(slots) == [0]
        assert 0 < len(self._held) < self.context
        return self._take(ids)[np.newaxis]

    def _take(self, ids: Sequence[int]) -> np.ndarray:
        self._held += ids
        self.saw.append(list(self._held))
        logits = self._predict(self._held)
        assert logits.shape == (self.vocab_size,)
        return logits


def following(vocab_size: int, ids: Iterable[int]) -> Callable[[list[int]], np.ndarray]:
    """Predicts these ids, one after the other, whatever comes before them."""
    rest = iter(ids)

    def predict(_seen: list[int]) -> np.ndarray:
        logits = np.zeros(vocab_size, np.float32)
        logits[next(rest)] = 20.0
        return logits

    return predict


def run(continuation: Continuation, engine: ScriptedEngine) -> list[Piece]:
    """Continue to the end; all pieces."""
    pieces = []
    while continuation.finished is None:
        if ids := continuation.to_prefill():
            logits = engine.prefill(0, ids)
        else:
            logits = engine.decode([0], [continuation.last])[0]
        piece = continuation.advance(logits)
        pieces += [piece] if piece is not None else []
    return pieces
