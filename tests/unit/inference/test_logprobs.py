"""Log-probabilities are the model's own, in natural logarithms, the likeliest first."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from crystalline.inference.logprobs import token_logprob

NONE = np.empty(0, np.intp)
LOGITS = np.log(np.array([0.05, 0.1, 0.4, 0.05, 0.15, 0.25], np.float32)) + 7


def test_they_are_logarithms_of_the_models_probabilities() -> None:
    found = token_logprob(LOGITS, 4, 3, absent=NONE)
    assert found.id == 4
    assert found.logprob == pytest.approx(math.log(0.15), abs=1e-6)
    assert [token for token, _ in found.top] == [2, 5, 4]
    assert [each for _, each in found.top] == pytest.approx(np.log([0.4, 0.25, 0.15]), abs=1e-6)
    assert dict(found.top)[4] == found.logprob


def test_without_alternatives_only_the_drawn_token_is_named() -> None:
    assert token_logprob(LOGITS, 0, 0, absent=NONE).top == ()


def test_of_equally_likely_tokens_the_lower_id_comes_first() -> None:
    assert [token for token, _ in token_logprob(LOGITS, 0, 6, absent=NONE).top] == [2, 5, 4, 1, 0, 3]
    assert [token for token, _ in token_logprob(LOGITS, 0, 5, absent=NONE).top] == [2, 5, 4, 1, 0]


def test_ids_that_the_tokenizer_does_not_have_do_not_count() -> None:
    kept = LOGITS.copy()
    found = token_logprob(LOGITS, 5, 6, absent=np.array([2, 3]))
    assert [token for token, _ in found.top] == [5, 4, 1, 0]
    assert found.logprob == pytest.approx(math.log(0.25 / 0.55), abs=1e-6)
    assert np.array_equal(LOGITS, kept)


@given(st_np.arrays(np.float32, st.integers(1, 300), elements=st.floats(-80, 80, width=32)), st.data())
def test_any_logits_give_those_of_a_softmax_in_double_precision(
    logits: np.ndarray, data: st.DataObject
) -> None:
    token = data.draw(st.integers(0, len(logits) - 1))
    exact = logits.astype(np.float64) - logits.max()
    exact -= np.log(np.exp(exact).sum())
    found = token_logprob(logits, token, 20, absent=NONE)
    assert found.logprob == pytest.approx(exact[token], abs=1e-5)
    ranked = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:20]
    assert [i for i, _ in found.top] == ranked
    assert [each for _, each in found.top] == pytest.approx(exact[ranked], abs=1e-5)
    assert found.logprob <= 1e-6
