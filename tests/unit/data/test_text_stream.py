"""A text that comes in pieces has the tokens of the whole, whatever the tokenizer; bytes that are no text."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from crystalline.data import Corpus, decoded, encode_stream, train_tokenizer, word_pieces
from crystalline.errors import CorpusError
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT = words(300_000)
OURS = train_tokenizer(Corpus.from_text(TEXT[:20_000]), 400)
# As Llama 3 has it: a full stop takes the line's end with it.
LLAMA = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def like_ours(change: Callable[[Tokenizer], None]) -> Tokenizer:
    tokenizer = Tokenizer.from_str(OURS.to_str())
    change(tokenizer)
    return tokenizer


def llama(tokenizer: Tokenizer) -> None:
    parts = [
        pre_tokenizers.Split(Regex(LLAMA), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)


def spaces_behind(tokenizer: Tokenizer) -> None:
    parts = [
        pre_tokenizers.Split(" ", "merged_with_previous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)


def something_in_front(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Prepend("x")


def no_words(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def an_entry_of_two_words(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens([TEXT[TEXT.index(" ", 70_000) - 1 :][:12]])


def chunks(text: str, size: int) -> Iterator[str]:
    return (text[begin : begin + size] for begin in range(0, len(text), size))


@pytest.mark.parametrize(
    ("change", "cut"),
    [
        (lambda _: None, True),
        (llama, True),
        (spaces_behind, False),
        (something_in_front, False),
        (no_words, False),
        (an_entry_of_two_words, False),
    ],
)
def test_the_tokens_are_those_of_the_whole_text(change: Callable[[Tokenizer], None], *, cut: bool) -> None:
    tokenizer = like_ours(change)
    whole = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert list(itertools.chain.from_iterable(encode_stream(tokenizer, chunks(TEXT, 5000)))) == whole
    pieces = list(word_pieces(tokenizer, chunks(TEXT, 5000)))
    assert "".join(pieces) == TEXT
    assert (len(pieces) > 3) is cut, "what may be cut is cut, and nothing else"


def test_a_tokenizer_without_a_step_that_makes_words_gets_the_whole_text() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0}))
    assert list(word_pieces(tokenizer, chunks(TEXT, 5000))) == [TEXT]


def test_tokens_come_while_the_text_is_read() -> None:
    read = 0

    def reading() -> Iterator[str]:
        nonlocal read
        for chunk in chunks(TEXT, 5000):
            read += len(chunk)
            yield chunk

    next(encode_stream(OURS, reading()))
    assert read < 100_000, "no more is held than a piece needs"


def test_an_empty_text_has_no_pieces() -> None:
    assert list(word_pieces(OURS, [])) == []


@given(text=st.text(), size=st.integers(1, 5), mark=st.booleans())
def test_bytes_that_come_in_pieces_are_the_text(text: str, size: int, *, mark: bool) -> None:
    text = text.replace("\0", "").lstrip("\ufeff")
    content = text.encode("utf-8-sig" if mark else "utf-8")
    parts = [content[begin : begin + size] for begin in range(0, len(content), size)]
    assert "".join(decoded(parts, "it")) == text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize(
    ("content", "at"), [("naïve ".encode() + b"caf\xe9 au lait", 10), ("ab☃".encode()[:-1], 2), (b"\xff", 0)]
)
def test_what_is_no_text_is_named_with_its_place(content: bytes, at: int, size: int, mark: bytes) -> None:
    content = mark + content
    parts = [content[begin : begin + size] for begin in range(0, len(content), size)]
    with pytest.raises(CorpusError, match=rf"^it is not UTF-8 text .* at offset {at + len(mark)}\)"):
        list(decoded(parts, "it"))


def test_what_is_binary_is_refused() -> None:
    with pytest.raises(CorpusError, match="binary"):
        list(decoded([b"ab", b"c\0d"], "it"))
