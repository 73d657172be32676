"""One request from its prompt to its end: what the engine must see, what comes out, and why it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from crystalline.data import Corpus, train_tokenizer
from crystalline.errors import InputError, SettingError
from crystalline.inference import Continuation, Request, SamplingOptions, absent_ids
from crystalline.inference.logprobs import token_logprob
from tests.helpers.scripted_engine import ScriptedEngine, following, run

TOKENIZER = train_tokenizer(Corpus.from_text("naïve ☃ 日本 the cat sat on the mat " * 3), 290)
V = TOKENIZER.get_vocab_size()
END = 0
GREEDY = SamplingOptions(temperature=0.0)
WARM = SamplingOptions(temperature=1.0)


def ids_of(text: str) -> list[int]:
    return list(TOKENIZER.encode(text).ids)


def asked(prompt: str = "the", **settings: Any) -> Request:
    usual: dict[str, Any] = {"tokens": 50, "options": GREEDY, "stop_ids": frozenset({END})}
    return Request(prompt=tuple(ids_of(prompt)), **(usual | settings))


def told(ids: list[int], context: int = 1000) -> ScriptedEngine:
    return ScriptedEngine(V, following(V, ids), context)


def noise(seen: list[int]) -> np.ndarray:
    """Logits that depend on every id the model sees, and on nothing else."""
    return (2 * np.random.default_rng(seen).standard_normal(V)).astype(np.float32)


def begun(request: Request, context: int = 1000) -> Continuation:
    return Continuation(request, TOKENIZER, context)


def test_the_engine_sees_the_prompt_once_and_then_each_token() -> None:
    engine = told([*ids_of(" cat"), END])
    run(begun(asked("the")), engine)
    assert engine.prefills == 1
    assert engine.saw == [ids_of("the") + ids_of(" cat")[:n] for n in range(len(ids_of(" cat")) + 1)]


def test_a_stop_id_ends_the_text_and_is_no_part_of_it() -> None:
    one = begun(asked())
    pieces = run(one, told([*ids_of("ab"), END]))
    assert (one.text, list(one.ids), one.finished) == ("ab", ids_of("ab"), "stop")
    assert [piece.text for piece in pieces] == ["a", "b"], "nothing is said of the stop id"


def test_the_number_of_tokens_is_a_limit() -> None:
    one = begun(asked(tokens=3))
    run(one, told(ids_of("abcdef")))
    assert (one.text, one.finished, one.usage.generated_tokens) == ("abc", "length", 3)


def test_the_usage_counts_prompt_and_output() -> None:
    one = begun(asked("the cat"))
    run(one, told([*ids_of(" sat"), END]))
    assert one.usage.prompt_tokens == len(ids_of("the cat"))
    assert one.usage.generated_tokens == len(ids_of(" sat"))
    assert one.completion().usage == one.usage


def test_there_is_no_answer_before_the_end() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        begun(asked()).completion()


def test_a_stop_string_that_spans_tokens_ends_the_text_before_it() -> None:
    one = begun(asked(stop=("b\nUser:",)))
    pieces = run(one, told(ids_of("ab\nUser: hello")))
    assert (one.text, one.finished) == ("a", "stop")
    assert "".join(piece.text for piece in pieces) == "a"
    assert TOKENIZER.decode(list(one.ids)) == "ab\nUser:", "the ids are all that were drawn"


def test_a_stop_string_inside_a_token_cuts_it() -> None:
    [the] = ids_of("the")
    one = begun(asked(stop=("h",)))
    run(one, told([the, the]))
    assert (one.text, one.ids, one.finished) == ("t", (the,), "stop")


def test_what_was_held_back_comes_at_the_end() -> None:
    one = begun(asked(stop=("User:",), tokens=4))
    pieces = run(one, told(ids_of("aUse")))
    assert (one.text, one.finished) == ("aUse", "length")
    assert [piece.text for piece in pieces] == ["a", "", "", "Use"]
    one = begun(asked(stop=("User:",)))
    pieces = run(one, told([*ids_of("aUse"), END]))
    assert (one.text, one.finished) == ("aUse", "stop")
    assert (pieces[-1].text, pieces[-1].ids) == ("Use", ())


def halves() -> Tokenizer:
    """One token is "x" and the first byte of "é"; another is the second byte and "S"."""
    tokenizer = Tokenizer(
        models.BPE({"x": 0, "S": 1, "xÃ": 2, "©S": 3, "T": 4, "©": 5, "Ã": 6}, [("x", "Ã"), ("©", "S")])
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_a_stop_string_that_begins_in_the_token_that_ends_a_character() -> None:
    request = Request(prompt=(0,), tokens=9, options=GREEDY, stop=("ST",))
    one = Continuation(request, halves(), 100)
    run(one, ScriptedEngine(7, following(7, [2, 3, 4, 0, 0])))
    assert (one.text, one.ids, one.finished) == ("xé", (2, 3, 4), "stop")


def test_a_stop_string_in_front_of_an_unfinished_character_ends_the_text_at_once() -> None:
    request = Request(prompt=(1,), tokens=9, options=GREEDY, stop=("x",))
    one = Continuation(request, halves(), 100)
    run(one, ScriptedEngine(7, following(7, [1, 2, 3])))
    assert (one.text, one.ids, one.finished) == ("S", (1, 2), "stop")


@pytest.mark.parametrize("stop", ["☃", "日本", "é", "naïve"])
def test_a_stop_string_of_any_characters(stop: str) -> None:
    one = begun(asked(stop=(stop,)))
    run(one, told(ids_of(f"a{stop}b")))
    assert (one.text, one.finished) == ("a", "stop")


def test_a_character_begun_in_the_prompt_is_completed() -> None:
    first, second = ids_of("ö")
    one = begun(replace(asked(), prompt=(*ids_of("a"), first)))
    run(one, told([second, *ids_of("b"), END]))
    assert one.text == "öb"


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    euro = ids_of("€")
    one = begun(asked(tokens=len(euro)))
    run(one, told([*ids_of("a"), *euro]))
    assert (one.text, one.finished) == ("a", "length")


# Small ids stand for bytes: characters and stop strings meet in every way.
@given(
    st.lists(st.integers(1, V - 1), max_size=30),
    st.lists(st.text("abt \n☃ï", min_size=1, max_size=4), max_size=4),
)
def test_any_pieces_joined_are_the_text_of_the_ids_without_the_stop_string(
    ids: list[int], stops: list[str]
) -> None:
    one = begun(asked(stop=tuple(stops)))
    pieces = run(one, told([*ids, END]))
    text = "".join(piece.text for piece in pieces)
    assert tuple(token for piece in pieces for token in piece.ids) == one.ids
    assert text == one.text
    whole = TOKENIZER.decode(list(one.ids)).rstrip("\ufffd")
    assert not any(stop in text for stop in stops)
    if list(one.ids) == ids and text == whole:
        assert one.finished == "stop"
    else:
        rest = whole.removeprefix(text)
        assert whole.startswith(text)
        assert any(rest.startswith(stop) for stop in stops)
        assert not any(stop in whole[:-1] for stop in stops if stop not in rest)


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers() -> None:
    assert begun(asked("abcd"), context=4).to_prefill() == ids_of("abcd")
    with pytest.raises(SettingError, match="the prompt has 5 tokens but the model's context 4: shorten it"):
        begun(asked("abcde"), context=4)


def test_a_full_context_ends_the_text_if_it_may_not_slide() -> None:
    one = begun(asked("abc"), context=5)
    engine = told(ids_of("defgh"), context=5)
    run(one, engine)
    assert (one.text, one.finished) == ("def", "context")
    assert max(map(len, engine.saw)) == 5, "all of it was used, and the last token was drawn from all"


def test_what_was_held_back_comes_when_the_context_is_full() -> None:
    one = begun(asked("abc", stop=("fg",)), context=5)
    run(one, told(ids_of("defgh"), context=5))
    assert (one.text, one.finished) == ("def", "context")


def test_a_sliding_context_goes_on_with_the_newer_half() -> None:
    one = begun(asked("abcdef", overflow="slide", tokens=8), context=7)
    engine = told(ids_of("ghijklmn"), context=7)
    run(one, engine)
    assert (one.text, one.finished) == ("ghijklmn", "length")
    seen = ["".join(map(TOKENIZER.decode, ([token] for token in ids))) for ids in engine.saw]
    assert seen == ["abcdef", "abcdefg", "fgh", "fghi", "fghij", "fghijk", "fghijkl", "klm"]
    assert engine.prefills == 3


def test_of_a_longer_prompt_the_end_is_seen() -> None:
    one = begun(asked("abcdefgh", overflow="slide", tokens=3), context=4)
    engine = told(ids_of("ijk"), context=4)
    run(one, engine)
    assert [TOKENIZER.decode(ids) for ids in engine.saw] == ["efgh", "hi", "hij"]


@given(st.integers(1, 9), st.integers(1, 25), st.integers(1, 30), st.integers(0, 3))
def test_any_context_gives_what_its_definition_says(
    context: int, prompt: int, tokens: int, seed: int
) -> None:
    """The windows are a function of prompt and context; whoever calls, and how often, does not matter."""
    request = replace(
        asked(), prompt=tuple(range(1, prompt + 1)), tokens=tokens, options=WARM, overflow="slide", seed=seed
    )
    one, engine = begun(request, context), ScriptedEngine(V, noise, context)
    run(one, engine)
    window, rng = list(request.prompt[-context:]), np.random.default_rng(seed)
    plain: list[int] = []
    while len(plain) < tokens:
        logits = noise(window)
        shares = np.exp(logits - logits.max(), dtype=np.float64)
        token = int(np.searchsorted(np.cumsum(shares / shares.sum()), rng.random(), side="right"))
        if token == END:
            break
        plain.append(token)
        window.append(token)
        if len(window) > context:
            window = window[-max(1, context // 2) :]
    assert list(one.ids) == plain
    assert max(map(len, engine.saw)) <= context


def test_asking_twice_what_to_prefill_changes_nothing() -> None:
    one = begun(asked())
    assert one.to_prefill() == one.to_prefill() == ids_of("the")
    one.advance(noise([1]))
    assert one.to_prefill() == one.to_prefill() == []
    assert one.last == one.ids[-1]


def test_requests_do_not_know_of_each_other() -> None:
    """Advanced in turn or one after the other: the same ids."""
    requests = [asked(options=WARM, seed=seed, tokens=12) for seed in (1, 1, 2)]
    alone = []
    for request in requests:
        one = begun(request)
        run(one, ScriptedEngine(V, noise))
        alone.append(one.ids)
    together = [begun(request) for request in requests]
    engines = [ScriptedEngine(V, noise) for _ in requests]
    while any(one.finished is None for one in together):
        for one, engine in zip(together, engines, strict=True):
            if one.finished is None:
                ids = one.to_prefill()
                one.advance(engine.prefill(0, ids) if ids else engine.decode([0], [one.last])[0])
    assert [one.ids for one in together] == alone
    assert alone[0] == alone[1] != alone[2]


def test_the_penalty_is_for_prompt_and_output() -> None:
    [the] = ids_of("the")
    logits = np.zeros(V, np.float32)
    logits[[the, 7, 8]] = [3.0, 2.9, 2.8]
    engine = ScriptedEngine(V, lambda _: logits)
    one = begun(asked("the", options=replace(GREEDY, repetition_penalty=1.5), tokens=3))
    run(one, engine)
    assert one.ids == (7, 8, the), "each falls behind those that were not there yet"


def test_the_penalty_is_for_what_slid_out_of_sight_too() -> None:
    logits = np.zeros(V, np.float32)
    logits[[5, 7]] = [3.0, 2.9]
    request = replace(
        asked(), prompt=(5, 1, 2, 3), options=replace(GREEDY, repetition_penalty=1.5), overflow="slide"
    )
    one = begun(replace(request, tokens=1), context=2)
    run(one, ScriptedEngine(V, lambda _: logits, context=2))
    assert one.ids == (7,)


def test_log_probabilities_are_the_models_own_whatever_sampling_does() -> None:
    options = SamplingOptions(temperature=0.3, top_k=2, repetition_penalty=1.7)
    one, engine = begun(asked(options=options, logprobs=4, tokens=6)), ScriptedEngine(V, noise)
    pieces = run(one, engine)
    none = np.empty(0, np.intp)
    expected = [
        token_logprob(noise(seen), token, 4, absent=none)
        for seen, token in zip(engine.saw, one.ids, strict=True)
    ]
    assert list(one.logprobs) == expected
    assert [each for piece in pieces for each in piece.logprobs] == expected
    assert one.completion().logprobs == one.logprobs
    assert begun(asked()).logprobs == ()


def test_ids_that_the_tokenizer_does_not_have_are_never_drawn_nor_named() -> None:
    padded, rng = V + 50, np.random.default_rng(0)
    for options in (GREEDY, WARM, SamplingOptions(temperature=2.0, top_k=padded)):
        one = begun(asked(options=options, logprobs=20, tokens=30))
        while one.finished is None:
            logits = rng.standard_normal(padded).astype(np.float32)
            logits[V:] += 5
            one.advance(logits)
        assert max((*one.ids, 0)) < V
        assert all(token < V for each in one.logprobs for token, _ in each.top)


def test_what_is_absent_may_lie_between_other_ids() -> None:
    gaps = Tokenizer(models.BPE({"a": 0, "b": 3, "c": 4}, []))
    assert absent_ids(gaps, 7).tolist() == [1, 2, 5, 6]
    assert absent_ids(TOKENIZER, V).tolist() == []


def test_who_knows_what_is_absent_may_say_so() -> None:
    one = Continuation(asked(tokens=1), TOKENIZER, 10, absent=np.array([5]))
    logits = np.zeros(V, np.float32)
    logits[[5, 6]] = [2.0, 1.0]
    one.advance(logits)
    assert one.ids == (6,)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_an_error_and_change_nothing(broken: float) -> None:
    one, twin = begun(asked(options=WARM)), begun(asked(options=WARM))
    logits = noise([1])
    damaged = logits.copy()
    damaged[4] = broken
    with pytest.raises(InputError, match="not finite"):
        one.advance(damaged)
    assert one.to_prefill() == ids_of("the")
    one.advance(logits)
    twin.advance(logits)
    assert one.ids == twin.ids
