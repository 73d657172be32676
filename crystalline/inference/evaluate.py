"""How well a model predicts a text: perplexity and bits per byte, by the network that training runs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from crystalline.data import END_OF_TEXT, encode_stream
from crystalline.errors import CorpusError, InputError, SettingError
from crystalline.model import Workspace, loss

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from crystalline.inference.text_model import TextModel

__all__ = ["SEQ_LEN_MAX", "Document", "Evaluation", "Reading", "documents_of", "evaluate", "reading_of"]

SEQ_LEN_MAX: Final = 1024
"""The most tokens of context that are taken without being asked for: attention grows with their square."""

_PADDING: Final = -1


@dataclass(frozen=True, slots=True)
class Reading:
    """One window of a document: what the model sees, and which tokens count.

    Attributes:
        begin: the place of the first token that it sees.
        end: one past the place of the last token that it predicts: it sees [begin, end - 1).
        counted: the place of the first token whose prediction counts; all up to `end` do.
    """

    begin: int
    end: int
    counted: int


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """The tokens of one text.

    Attributes:
        ids: (n,), int32; the token that begins a text stands first, where the model has one.
        size_bytes: of the text from the first of these tokens to the last, in UTF-8.
    """

    ids: NDArray[np.int32]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model makes of a text.

    Attributes:
        nats: the sum of -log p over the predicted tokens.
        tokens: how many were predicted.
        size_bytes: of the text that they are.
    """

    nats: float
    tokens: int
    size_bytes: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """Exp(loss): among how many equal tokens it would be as hard to choose. Infinite if too large."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def bits_per_byte(self) -> float:
        """Nats / ln 2 / bytes: can be compared between models of different tokenizers."""
        return self.nats / math.log(2) / self.size_bytes


def reading_of(length: int, seq_len: int, stride: int) -> Iterator[Reading]:
    """Windows over a document, so that each token but the first is predicted once, most with much context.

    The first window sees the tokens [0, W) and predicts those at 1 ... W. Each next one begins `stride` S
    later, and counts the S tokens that no window before it has predicted: these have at least W - S tokens
    before them. The last window ends with the document.

    Args:
        length: tokens of the document.
        seq_len: W, most tokens that the model sees at once.
        stride: S, from 1 (most context, W times the work) to W (no token is seen twice).

    Raises:
        SettingError: `seq_len` or `stride` is out of range.
    """
    if seq_len < 1:
        raise SettingError(f"seq_len is {seq_len}: choose a positive number of tokens")
    if not 1 <= stride <= seq_len:
        raise SettingError(f"stride is {stride}: choose from 1 to the {seq_len} tokens of seq_len")
    return _readings(length, seq_len, stride)


def _readings(length: int, seq_len: int, stride: int) -> Iterator[Reading]:
    counted = 1
    for begin in itertools.count(0, stride):
        if counted >= length:
            return
        end = min(begin + seq_len + 1, length)
        yield Reading(begin, end, counted)
        counted = end


def documents_of(model: TextModel, texts: Sequence[str], *, tokens_max: int | None = None) -> list[Document]:
    """The tokens of texts, each by itself, as a training reads them.

    In front stands the token that begins a text of this model: the one of its settings, else the
    end-of-text token, else none, and then the first token of each text is not predicted. Special tokens
    that are written out in a text are read as such.

    Args:
        model: whose tokenizer.
        texts: at least one.
        tokens_max: most tokens that are predicted in all; what comes after is left out. None for all.

    Raises:
        SettingError: `tokens_max` is not positive.
        CorpusError: there is not one token to predict.
    """
    if tokens_max is not None and tokens_max < 1:
        raise SettingError(f"max_tokens is {tokens_max}: choose a positive number")
    begin = _begin_of_text(model)
    documents, left = [], math.inf if tokens_max is None else tokens_max
    for text in texts:
        if left <= 0:
            break
        document = _document(model, text, begin, left)
        left -= max(len(document.ids) - 1, 0)
        documents.append(document)
    if not any(len(document.ids) > 1 for document in documents):
        raise CorpusError("the text has no token to predict: give a longer one")
    return documents


def _begin_of_text(model: TextModel) -> int | None:
    """The id of the token that stands before a text, None if the model has none."""
    begin = model.text.begin_id
    return model.tokenizer.token_to_id(END_OF_TEXT) if begin is None else begin


def _document(model: TextModel, text: str, begin: int | None, most: float) -> Document:
    ids = [] if begin is None else [begin]
    size_max = most + 1
    for run in encode_stream(model.tokenizer, [text]):
        ids += run
        if len(ids) >= size_max:
            break
    if len(ids) <= size_max:
        return Document(np.array(ids, np.int32), len(text.encode()))
    kept = ids[: int(size_max)]
    text = model.tokenizer.decode(kept[begin is not None :], skip_special_tokens=False)
    return Document(np.array(kept, np.int32), len(text.encode()))


def evaluate(
    model: TextModel,
    documents: Sequence[Document],
    *,
    seq_len: int | None = None,
    stride: int | None = None,
    heard: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Predict every token of some documents but the first of each, once.

    Args:
        model: what predicts.
        documents: from `documents_of`.
        seq_len: most tokens that the model sees at once; None for its own, 1024 at most.
        stride: tokens from one window to the next, see `reading_of`; None for half of `seq_len`.
        heard: is called with the number of tokens predicted so far, after each window.

    Raises:
        SettingError: `seq_len` or `stride` is out of range.
        InputError: the model's predictions are not finite.
    """
    window = min(model.config.seq_len, SEQ_LEN_MAX) if seq_len is None else seq_len
    if window > model.config.seq_len:
        raise SettingError(f"seq_len is {window}: the model sees {model.config.seq_len} tokens at most")
    step = max(window // 2, 1) if stride is None else stride
    readings = [
        (document, reading)
        for document in documents
        for reading in reading_of(len(document.ids), window, step)
    ]
    longest = max((reading.end - reading.begin - 1 for _, reading in readings), default=1)
    workspace = Workspace(model.config, 1, longest, training=False)
    nats, tokens = 0.0, 0
    for document, reading in readings:
        nats += _nats(model, document, reading, workspace)
        tokens += reading.end - reading.counted
        if not math.isfinite(nats):
            raise InputError("the model's predictions are not finite: its weights are unusable")
        heard(tokens)
    return Evaluation(nats, tokens, sum(document.size_bytes for document in documents))


def _nats(model: TextModel, document: Document, reading: Reading, workspace: Workspace) -> float:
    seen = document.ids[None, reading.begin : reading.end - 1]  # (1, T)
    targets = document.ids[None, reading.begin + 1 : reading.end].copy()
    targets[:, : reading.counted - reading.begin - 1] = _PADDING
    return loss(model.parameters, seen, targets, workspace)
