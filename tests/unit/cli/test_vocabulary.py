"""Entries of a tokenizer: the bytes they stand for, shown so that nothing is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from crystalline.cli.vocabulary import Entries, Kind, open_tokenizer, visible
from crystalline.errors import ModelFolderError
from tests.helpers.texts import words
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

TOKENIZER = small_tokenizer(words(4000) + " ☃ naïve", 400)
PIECES = Tokenizer(
    models.BPE({"<0x0A>": 0, "▁": 1, "a": 2, "▁a": 3, "<unk>": 4}, [("▁", "a")], byte_fallback=True)
)
PIECES.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
PIECES.add_special_tokens(["<unk>"])


@given(st.text())
def test_the_contents_of_the_tokens_are_the_text(text: str) -> None:
    entries = Entries(TOKENIZER)
    assert b"".join(map(entries.content, TOKENIZER.encode(text).ids)) == text.encode()


def test_every_byte_has_its_entry() -> None:
    entries = Entries(TOKENIZER)
    single = [entries.content(token) for token in entries if entries.kind(token) is Kind.BYTE]
    assert sorted(single) == [bytes([byte]) for byte in range(256)]
    assert [entries.content(token) for token in entries if entries.kind(token) is Kind.SPECIAL] == [
        b"<|endoftext|>"
    ]
    assert entries.count == entries.size == TOKENIZER.get_vocab_size()


def test_entries_that_are_no_byte_strings_are_read_as_well() -> None:
    entries = Entries(PIECES)
    assert [entries.content(token) for token in entries] == [b"\n", b" ", b"a", b" a", b"<unk>"]
    assert [entries.kind(token).value for token in entries] == ["byte", "merge", "merge", "merge", "special"]
    assert entries.content(99) == b""


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b" the", "␣the"),
        (b"a\r\n\tb", "a␍⏎⇥b"),
        ("\u00a0\u200b\x1b".encode(), "<U+00A0><U+200B><U+001B>"),
        ("☃".encode()[:2], "<E2><98>"),
        ("é日".encode(), "é日"),
    ],
)
def test_nothing_is_hidden(content: bytes, shown: str) -> None:
    assert visible(content) == shown


@given(st.binary())
def test_whatever_is_shown_stays_on_its_line(content: bytes) -> None:
    assert all(each.isprintable() for each in visible(content))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there is no file"),
        (b"\xff", "not UTF-8"),
        (b"{}", "is not a tokenizer"),
        (b'{"model": 3}', "my.json is not"),
    ],
)
def test_a_file_that_is_no_tokenizer(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "my.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=complaint):
        open_tokenizer(path)


def test_a_file_that_is_absurdly_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelFolderError, match="larger"):
        open_tokenizer(path)


def test_a_tokenizer_is_found_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_text(TOKENIZER.to_str())
    assert open_tokenizer(path).to_str() == TOKENIZER.to_str()


def test_texts_are_neither_padded_nor_cut(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.enable_padding(length=1000)
    tokenizer.enable_truncation(2)
    path.write_text(tokenizer.to_str())
    text = "one two three four five six"
    assert open_tokenizer(path).encode(text).ids == TOKENIZER.encode(text).ids
