"""A model that answers in no time, and engines that do as they are told: for tests of the generator."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.inference import Continuation, SamplingOptions, TextModel
from crystalline.inference.generator import Generator
from crystalline.model import ModelConfig, TextSettings
from tests.helpers.models import random_parameters
from tests.helpers.texts import words
from tests.helpers.tokenizers import END_OF_TEXT, small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from crystalline.inference import Request
    from crystalline.inference.engine import Engine

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


class TableEngine:
    """Logits that depend on what is in the slot and on nothing else; it notices when it is misused.

    Args:
        slots: as in `Engine`.
        context: the same.
        seed: of its weights, so to speak.
        trouble: called before each call with what it is; may raise.
    """

    def __init__(
        self, slots: int, context: int, seed: int = 0, trouble: Callable[[str], object] = bool
    ) -> None:
        self.slots = slots
        self.context = context
        self.closed = False
        self.inside = False
        self.mistakes: list[str] = []
        self._held: list[list[int]] = [[] for _ in range(slots)]
        self._table = _table(seed)
        self._trouble = trouble

    def prefill(self, slot: int, ids: Sequence[int]) -> NDArray[np.float32]:
        with self._call("prefill"):
            if not 1 <= len(ids) <= self.context:
                self.mistakes.append(f"a prompt of {len(ids)}")
            self._held[slot] = list(ids)
            return self._logits(slot)

    def decode(self, slots: Sequence[int], ids: Sequence[int]) -> NDArray[np.float32]:
        with self._call("decode"):
            if len(set(slots)) != len(slots) or len(ids) != len(slots):
                self.mistakes.append(f"slots {slots} and ids {ids}")
            for slot, token in zip(slots, ids, strict=True):
                if not 0 < len(self._held[slot]) < self.context:
                    self.mistakes.append(f"slot {slot} holds {len(self._held[slot])}")
                self._held[slot].append(token)
            return np.stack([self._logits(slot) for slot in slots])

    def __exit__(self, *_: object) -> None:
        self.closed = True

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        if self.closed or self.inside:
            self.mistakes.append(f"{name} while it was {'closed' if self.closed else 'at work'}")
        self.inside = True
        try:
            self._trouble(name)
            yield
        finally:
            self.inside = False

    def _logits(self, slot: int) -> NDArray[np.float32]:
        held = self._held[slot]
        row: NDArray[np.float32] = self._table[(31 * held[-1] + 7 * held[0] + len(held)) % len(self._table)]
        return row


@cache
def _table(seed: int) -> NDArray[np.float32]:
    return (3.0 * np.random.default_rng(seed).standard_normal((97, VOCAB))).astype(np.float32)


def alone(request: Request, context: int, seed: int = 0) -> Continuation:
    """What a request is answered when there is nothing else: the oracle."""
    engine = TableEngine(1, context, seed)
    text = Continuation(request, tiny_model().tokenizer, context)
    while text.finished is None:
        ids = text.to_prefill()
        text.advance(engine.prefill(0, ids) if ids else engine.decode([0], [text.last])[0])
    return text


class TableGenerator(Generator):
    """A generator on a `TableEngine`.

    Attributes:
        engines: every one that was made, the oldest first.
    """

    def __init__(
        self, *, trouble: Callable[[str], object] = bool, model: TextModel | None = None, **options: Any
    ) -> None:
        super().__init__(model or tiny_model(), **options)
        self.engines: list[TableEngine] = []
        self._trouble = trouble

    def _make_engine(self, model: TextModel) -> Engine:
        self._trouble("make")
        seed = SEEDS.get(model, 0)
        self.engines.append(TableEngine(self._slots, self._context, seed, self._trouble))
        engine: Any = self.engines[-1]
        made: Engine = engine
        return made

    def asked(self, prompt: str | Sequence[int], **options: Any) -> Request:
        """The request that `complete` would make."""
        defaults: dict[str, Any] = {
            "tokens": 200,
            "options": SamplingOptions(),
            "seed": 0,
            "stop": (),
            "logprobs": None,
            "overflow": "refuse",
        }
        return self._request(prompt, **{**defaults, **options})


SEEDS: dict[TextModel, int] = {}
"""What a `TableEngine` takes the weights of a model for; 0 if it is not here."""
