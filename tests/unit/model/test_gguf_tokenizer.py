"""Tokenizers that are put together from the parts in a GGUF file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from crystalline.errors import ModelFolderError
from crystalline.model.gguf_tokenizer import PRE_TOKENIZERS, byte_level_tokenizer, sentencepiece_tokenizer
from tests.helpers.gguf_models import CONFIG, TOKENIZER, usual_keys
from tests.helpers.varied_texts import VARIED

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
KEYS = usual_keys(CONFIG, TOKENIZER)


def byte_level(pre: str | None, **changes: Any) -> Tokenizer:
    parts = {name: KEYS[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type", "merges")} | changes
    return byte_level_tokenizer(parts["tokens"], parts["token_type"], parts["merges"], pre, "the file")


def cut(pre: str, text: str) -> list[str]:
    """The words of a text, before bytes are spelled as letters."""
    tokenizer = byte_level(pre)
    assert tokenizer.pre_tokenizer is not None
    words = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    return [text[begin:end] for _, (begin, end) in words]


def test_gpt_2_cuts_as_the_library_does() -> None:
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=False)
    ours = byte_level("gpt-2").pre_tokenizer
    assert ours is not None
    for text in VARIED:
        assert ours.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)
        assert byte_level("gpt-2").encode(text).ids == TOKENIZER.encode(text).ids


def test_smollm_sets_every_digit_apart_first() -> None:
    theirs = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    ours = byte_level("smollm").pre_tokenizer
    assert ours is not None
    for text in VARIED:
        assert ours.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", ["I", "'m", " 12345", "  ", " x", ".\n"]),
        ("smollm", ["I", "'m", " ", "1", "2", "3", "4", "5", "  ", " x", ".\n"]),
        ("llama-bpe", ["I", "'m", " ", "123", "45", "  ", " x", ".\n"]),
        ("qwen2", ["I", "'m", " ", "1", "2", "3", "4", "5", "  ", " x", ".\n"]),
    ],
)
def test_where_a_text_is_cut(pre: str, words: list[str]) -> None:
    found = cut(pre, "I'm 12345   x.\n")
    assert "".join(found) == "I'm 12345   x.\n"
    assert found[: len(words) - 1] == words[:-1]


@pytest.mark.parametrize("pre", [*PRE_TOKENIZERS, None])
@given(text=st.text(max_size=40))
def test_any_text_comes_back(pre: str | None, text: str) -> None:
    tokenizer = TOKENIZERS[pre]
    ids = tokenizer.encode(text.replace("<|endoftext|>", "")).ids
    assert tokenizer.decode(ids) == text.replace("<|endoftext|>", "")


TOKENIZERS = {pre: byte_level(pre) for pre in [*PRE_TOKENIZERS, None]}


def test_llama_3_does_not_merge_a_word_that_is_a_token() -> None:
    tokens = [*KEYS["tokenizer.ggml.tokens"], "Ġmouse"]
    changes = {"tokens": tokens, "token_type": [*KEYS["tokenizer.ggml.token_type"], NORMAL]}
    whole = tokens.index("Ġmouse")
    assert byte_level("llama-bpe", **changes).encode(" mouse").ids == [whole]
    assert whole not in byte_level("qwen2", **changes).encode(" mouse").ids


def test_special_tokens_and_those_of_users_are_found_in_a_text() -> None:
    tokens = [*KEYS["tokenizer.ggml.tokens"], "<think>"]
    tokenizer = byte_level(
        "gpt-2", tokens=tokens, token_type=[*KEYS["tokenizer.ggml.token_type"], USER_DEFINED]
    )
    ids = tokenizer.encode("the<|endoftext|>cat<think>").ids
    assert (ids.count(0), ids[-1]) == (1, len(tokens) - 1)
    assert tokenizer.decode(ids) == "thecat<think>", "special tokens are left out, those of users are not"
    tokenizer.encode_special_tokens = True
    assert 0 not in tokenizer.encode("<|endoftext|>").ids


# SentencePiece

BYTES = [f"<0x{value:02X}>" for value in range(256)]
PIECES = ["▁", "a", "b", "c", "ab", "bc", "▁a", "abc", "▁ab"]
SCORES = [0.0, 0.0, 0.0, 0.0, -2.0, -1.0, -3.0, -4.0, -5.0]
TOKENS = ["<unk>", "<s>", "</s>", *BYTES, *PIECES]
TYPES = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * len(PIECES)]


def sentencepiece(*, space_prefix: bool = True, scores: list[float] | None = None) -> Tokenizer:
    given_scores = np.array([0.0] * 259 + SCORES if scores is None else scores, np.float32)
    return sentencepiece_tokenizer(TOKENS, TYPES, given_scores, "the file", space_prefix=space_prefix)


def pieces(text: str, *, space_prefix: bool = True) -> list[str]:
    return list(sentencepiece(space_prefix=space_prefix).encode(text).tokens)


def test_the_highest_score_is_merged_first() -> None:
    # "bc" (-1) comes before "ab" (-2); then nothing gives "abc" but a and bc.
    assert pieces("abc", space_prefix=False) == ["abc"]
    assert pieces("abcab", space_prefix=False) == ["abc", "ab"]
    assert pieces("ab") == ["▁ab"]
    assert pieces("a b") == ["▁a", "▁", "b"]


def test_what_is_no_piece_becomes_bytes() -> None:
    assert pieces("é", space_prefix=False) == ["<0xC3>", "<0xA9>"]
    assert pieces("\n") == ["▁", "<0x0A>"]


@given(st.text(max_size=30), st.booleans())
def test_any_text_comes_back_from_pieces_and_bytes(text: str, space_prefix: bool) -> None:  # noqa: FBT001  drawn
    tokenizer = SENTENCEPIECE[space_prefix]
    text = "".join(letter for letter in text if letter not in "<▁")  # it spells a space, and <s>
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


SENTENCEPIECE = {prefix: sentencepiece(space_prefix=prefix) for prefix in (True, False)}


def test_special_pieces_are_found_in_a_text() -> None:
    assert sentencepiece().encode("<s>ab").ids[0] == 1


def test_scores_for_other_tokens_are_refused() -> None:
    with pytest.raises(ModelFolderError, match="3 scores for 268 tokens"):
        sentencepiece(scores=[1.0, 2.0, 3.0])
