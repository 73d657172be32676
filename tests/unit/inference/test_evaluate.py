"""Evaluation: every token once, with context, and the numbers that a plain computation gives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import Corpus, train_tokenizer
from crystalline.errors import CorpusError, InputError, SettingError
from crystalline.inference import TextModel
from crystalline.inference.evaluate import documents_of, evaluate, reading_of
from crystalline.model import ModelConfig, Parameters, Workspace, initialise, logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEXTS = ("the cat sat on the mat, naïve ☃ " * 4, "a dog", "the mat")
TOKENIZER = train_tokenizer(Corpus.from_text(TEXTS[0]), 290)
CONFIG = ModelConfig(vocab_size=TOKENIZER.get_vocab_size(), dim=16, layers=2, heads=2, ffn_dim=16, seq_len=12)
MODEL = TextModel(CONFIG, Parameters(CONFIG, initialise(CONFIG, seed=5) * 10), TOKENIZER)


@given(length=st.integers(0, 60), seq_len=st.integers(1, 20), data=st.data())
def test_every_token_but_the_first_is_predicted_once_and_with_context(
    length: int, seq_len: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, seq_len))
    readings = list(reading_of(length, seq_len, stride))
    counted = [place for reading in readings for place in range(reading.counted, reading.end)]
    assert counted == list(range(1, length))
    for number, reading in enumerate(readings):
        assert reading.begin == number * stride
        assert reading.end - 1 - reading.begin <= seq_len, "no more is seen than the model may see"
        assert number == 0 or reading.counted - reading.begin > seq_len - stride, "context"


def probabilities_of(ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """p of each next token given all before it in `ids`, by a softmax in float64."""
    found = logits(MODEL.parameters, ids[None, :-1], Workspace(CONFIG, 1, training=False))[0].astype(float)
    shares = np.exp(found - found.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    picked: NDArray[np.float64] = shares[np.arange(len(ids) - 1), ids[1:]]
    return picked


def by_hand(ids: NDArray[np.int32], seq_len: int, stride: int) -> float:
    """The nats, a token at a time: which window counts a token is found by looking, not by counting on."""
    nats = 0.0
    for place in range(1, len(ids)):
        begin = next(begin for begin in range(0, place, stride) if begin + seq_len >= place)
        nats -= math.log(probabilities_of(ids[begin : place + 1])[-1])
    return nats


@pytest.mark.parametrize(("seq_len", "stride"), [(12, 6), (12, 12), (12, 1), (5, 2), (1, 1)])
def test_the_numbers_are_those_of_a_plain_computation(seq_len: int, stride: int) -> None:
    documents = documents_of(MODEL, TEXTS)
    found = evaluate(MODEL, documents, seq_len=seq_len, stride=stride)
    nats = sum(by_hand(document.ids, seq_len, stride) for document in documents)
    tokens = sum(len(TOKENIZER.encode(text).ids) for text in TEXTS)
    size = sum(len(text.encode()) for text in TEXTS)
    assert (found.tokens, found.size_bytes) == (tokens, size)
    assert found.nats == pytest.approx(nats, rel=1e-5)
    assert found.loss == pytest.approx(nats / tokens, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / size, rel=1e-5)


def test_usual_windows_are_the_models_own_and_begin_every_half() -> None:
    documents = documents_of(MODEL, TEXTS)
    assert evaluate(MODEL, documents) == evaluate(MODEL, documents, seq_len=12, stride=6)
    assert evaluate(MODEL, documents) != evaluate(MODEL, documents, seq_len=12, stride=12)


def test_a_model_to_which_all_tokens_are_alike_has_the_perplexity_of_the_vocabulary() -> None:
    flat = np.zeros_like(MODEL.parameters.flat)
    uniform = replace(MODEL, parameters=Parameters(CONFIG, flat))
    found = evaluate(uniform, documents_of(uniform, TEXTS))
    assert found.perplexity == pytest.approx(CONFIG.vocab_size, rel=1e-6)


def test_each_text_begins_as_in_training_and_is_read_by_itself() -> None:
    documents = documents_of(MODEL, TEXTS)
    assert [document.ids[0] for document in documents] == [0, 0, 0]
    alone = [evaluate(MODEL, [document]) for document in documents]
    assert evaluate(MODEL, documents).nats == pytest.approx(sum(each.nats for each in alone))
    assert documents_of(MODEL, ["a<|endoftext|>b"])[0].ids.tolist().count(0) == 2


@pytest.mark.parametrize("most", [1, 10, 31, 10_000])
def test_so_many_tokens_are_predicted_at_most(most: int) -> None:
    whole = sum(len(TOKENIZER.encode(text).ids) for text in TEXTS)
    documents = documents_of(MODEL, TEXTS, tokens_max=most)
    found = evaluate(MODEL, documents)
    assert found.tokens == min(most, whole)
    kept = [TOKENIZER.decode(document.ids[1:].tolist()) for document in documents]
    assert found.size_bytes == sum(len(text.encode()) for text in kept)
    assert all(text.startswith(part.rstrip("\ufffd")) for text, part in zip(TEXTS, kept, strict=False))


def test_it_says_how_far_it_is() -> None:
    heard: list[int] = []
    found = evaluate(MODEL, documents_of(MODEL, TEXTS), heard=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == found.tokens


def test_numbers_beyond_all_measure_are_infinite_or_refused() -> None:
    huge = replace(MODEL, parameters=Parameters(CONFIG, MODEL.parameters.flat * 1000))
    assert evaluate(huge, documents_of(huge, TEXTS)).perplexity == math.inf
    broken = replace(MODEL, parameters=Parameters(CONFIG, np.full_like(MODEL.parameters.flat, np.nan)))
    with pytest.raises(InputError, match="not finite"):
        evaluate(broken, documents_of(broken, TEXTS))


@pytest.mark.parametrize(
    ("seq_len", "stride"), [(0, None), (13, None), (-1, None), (12, 0), (12, 13), (4, 5), (None, -1)]
)
def test_windows_that_cannot_be_are_refused(seq_len: int | None, stride: int | None) -> None:
    with pytest.raises(SettingError, match=r"seq_len|stride"):
        evaluate(MODEL, documents_of(MODEL, TEXTS), seq_len=seq_len, stride=stride)


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(CorpusError, match="no token to predict"):
        documents_of(MODEL, [""])
    with pytest.raises(SettingError, match="max_tokens"):
        documents_of(MODEL, TEXTS, tokens_max=0)
