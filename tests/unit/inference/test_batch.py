"""Many prompts through one engine are answered as each alone."""

from __future__ import annotations

import pytest

from crystalline.data import Corpus, train_tokenizer
from crystalline.errors import SettingError
from crystalline.inference import Engine, Request, SamplingOptions, TextModel, complete
from crystalline.inference.batch import complete_all
from crystalline.model import ModelConfig, Parameters, initialise

TOKENIZER = train_tokenizer(Corpus.from_text("the cat sat on the mat " * 3), 290)
CONFIG = ModelConfig(vocab_size=TOKENIZER.get_vocab_size(), dim=16, layers=2, heads=2, ffn_dim=16, seq_len=24)
MODEL = TextModel(CONFIG, Parameters(CONFIG, initialise(CONFIG, seed=5) * 10), TOKENIZER)


def requests() -> list[Request]:
    """Of different lengths, some of which slide."""
    return [
        Request(
            prompt=tuple(MODEL.encode("the cat sat" * (1 + number % 3))),
            tokens=1 + 9 * (number % 5),
            seed=number,
            options=SamplingOptions(temperature=1.0),
            logprobs=1 if number % 2 else None,
            overflow="slide",
        )
        for number in range(11)
    ]


@pytest.mark.parametrize("slots", [1, 3, 11, 20])
def test_each_is_answered_as_if_it_were_alone(slots: int) -> None:
    with Engine(MODEL.parameters, slots=slots) as engine:
        answered = dict(complete_all(MODEL, requests(), engine))
    assert sorted(answered) == list(range(11))
    with Engine(MODEL.parameters) as alone:
        for number, request in enumerate(requests()):
            wanted = complete(
                MODEL,
                request.prompt,
                tokens=request.tokens,
                options=request.options,
                seed=request.seed,
                logprobs=request.logprobs,
                overflow="slide",
                engine=alone,
            )
            assert answered[number] == wanted


def test_whoever_is_done_makes_room_for_the_next() -> None:
    with Engine(MODEL.parameters, slots=2) as engine:
        order = [number for number, _ in complete_all(MODEL, requests(), engine)]
    assert order.index(0) < order.index(4), "a short one does not wait for a long one"
    assert order != sorted(order)


def test_a_prompt_that_is_too_long_is_refused_before_anything_runs() -> None:
    long = Request(prompt=(1,) * 25, tokens=1)
    with Engine(MODEL.parameters) as engine, pytest.raises(SettingError, match="prompt 2 has 25 tokens"):
        complete_all(MODEL, [requests()[0], long], engine)


def test_no_prompts_have_no_answers() -> None:
    with Engine(MODEL.parameters) as engine:
        assert list(complete_all(MODEL, [], engine)) == []
