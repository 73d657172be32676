"""Tokenizers as lists: names of rules, kinds of tokens, the order of merges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gguf import TokenType
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from crystalline.errors import OutputError
from crystalline.model.gguf_tokens import gguf_tokens
from tests.helpers.small_models import (
    byte_tokenizer,
    chat_tokenizer,
    llama3_tokenizer,
    sentencepiece_tokenizer,
)


def changed(tokenizer: Tokenizer, **model: Any) -> str:
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    content["model"] |= model
    return json.dumps(content)


def split(pattern: str) -> Tokenizer:
    tokenizer = llama3_tokenizer()
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": pattern}
    content["model"]["ignore_merges"] = False
    return Tokenizer.from_str(json.dumps(content))


QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


@pytest.mark.parametrize(
    ("tokenizer_json", "name"),
    [
        (byte_tokenizer().to_str(), "gpt-2"),
        (chat_tokenizer().to_str(), "smollm"),
        (llama3_tokenizer().to_str(), "llama-bpe"),
        (changed(llama3_tokenizer(), ignore_merges=False), "smaug-bpe"),
        (split(QWEN2).to_str(), "qwen2"),
    ],
)
def test_rules_have_the_name_that_llama_cpp_gives_them(tokenizer_json: str, name: str) -> None:
    assert gguf_tokens(tokenizer_json, 500).pre == name


def without_rules() -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.pre_tokenizer = None
    return tokenizer


def with_prefix() -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return tokenizer


def whole_numbers() -> Tokenizer:
    tokenizer = chat_tokenizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return tokenizer


def normalised() -> Tokenizer:
    tokenizer = byte_tokenizer()
    tokenizer.normalizer = normalizers.NFKC()
    return tokenizer


@pytest.mark.parametrize(
    "tokenizer_json",
    [
        without_rules().to_str(),
        with_prefix().to_str(),
        whole_numbers().to_str(),
        normalised().to_str(),
        split(r"\w+|\W+").to_str(),
        changed(byte_tokenizer(), ignore_merges=True),
        Tokenizer(models.WordLevel({"a": 0}, "a")).to_str(),
    ],
)
def test_rules_without_a_name_are_refused(tokenizer_json: str) -> None:
    with pytest.raises(OutputError, match="export the model as hf"):
        gguf_tokens(tokenizer_json, 500)


def test_every_id_has_a_text_and_a_kind() -> None:
    tokenizer = chat_tokenizer()
    found = gguf_tokens(tokenizer.to_str(), 370)
    assert found.tokens[:363] == tuple(tokenizer.id_to_token(number) for number in range(363))
    assert found.tokens[363:] == tuple(f"[PAD{number}]" for number in range(363, 370))
    assert found.types[0] == TokenType.CONTROL
    assert set(found.types[1:360]) == {TokenType.NORMAL}
    assert found.types[360:363] == (TokenType.CONTROL, TokenType.CONTROL, TokenType.USER_DEFINED)
    assert set(found.types[363:]) == {TokenType.UNUSED}


@pytest.mark.parametrize("pairs", [True, False])
def test_merges_are_read_in_both_spellings(pairs: bool) -> None:  # noqa: FBT001  (a case, not a setting)
    tokenizer = byte_tokenizer()
    merges = [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    written = [list(merge) if pairs else " ".join(merge) for merge in merges]
    found = gguf_tokens(changed(tokenizer, merges=written), 400)
    assert found.merges == tuple(" ".join(merge) for merge in merges)
    assert found.scores == ()


def test_a_tokenizer_without_merges_is_refused() -> None:
    with pytest.raises(OutputError, match="no merges"):
        gguf_tokens(byte_tokenizer(257).to_str(), 257)


def test_two_ids_of_one_text_are_refused() -> None:
    content = json.loads(byte_tokenizer().to_str())
    content["added_tokens"] += [content["added_tokens"][0] | {"id": 400}]
    with pytest.raises(OutputError, match="one text for two ids"):
        gguf_tokens(json.dumps(content), 401)


def test_sentencepiece_is_scored_in_the_order_of_its_merges() -> None:
    tokenizer = sentencepiece_tokenizer()
    found = gguf_tokens(tokenizer.to_str(), tokenizer.get_vocab_size())
    assert (found.model, found.merges, found.space_prefix) == ("llama", (), True)
    assert found.types[:4] == (TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.BYTE)
    merged = [found.tokens.index(token) for token in ("\u2581k", "an", "\u2581ka", "du", "mi", "dumi", "so")]
    scores = [found.scores[number] for number in merged]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > found.scores[found.tokens.index("a")]


def test_sentencepiece_without_its_spaces_is_refused() -> None:
    tokenizer = sentencepiece_tokenizer()
    tokenizer.normalizer = None
    with pytest.raises(OutputError, match="treats spaces"):
        gguf_tokens(tokenizer.to_str(), 300)
