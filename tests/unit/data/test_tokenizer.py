"""The tokenizer loses nothing, is the same every time, and is quiet."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from crystalline.data import END_OF_TEXT, Corpus, tokenizer_from_json, train_tokenizer
from crystalline.data import pieces as pieces_module
from crystalline.data import tokenizer as tokenizer_module
from crystalline.errors import ModelFolderError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

SENTENCES = Corpus.from_text("the cat sat on the mat. the dog sat on the log.\n" * 20)
TOKENIZER = train_tokenizer(SENTENCES, 270)
ENCODABLE = st.text(st.characters(exclude_categories=["Cs"]))


def test_the_vocabulary_has_the_size_asked_for_if_the_text_allows() -> None:
    assert TOKENIZER.get_vocab_size() == 270
    assert train_tokenizer(Corpus.from_text("a"), 5000).get_vocab_size() == 257


def test_the_end_of_text_token_is_zero() -> None:
    assert TOKENIZER.token_to_id(END_OF_TEXT) == 0


def test_frequent_words_become_one_token() -> None:
    assert len(TOKENIZER.encode(" the").ids) == 1


def test_the_end_of_text_marker_in_a_text_is_a_boundary() -> None:
    assert TOKENIZER.encode(f"a{END_OF_TEXT}b").ids.count(0) == 1


@given(ENCODABLE)
def test_any_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids, skip_special_tokens=False) == text


@given(st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1), st.integers(257, 270))
def test_training_twice_gives_the_same_tokenizer(documents: list[str], vocab_size: int) -> None:
    corpus = Corpus("x", tuple(documents))
    assert train_tokenizer(corpus, vocab_size).to_str() == train_tokenizer(corpus, vocab_size).to_str()


@example(text="a      b " * 3, piece=2)
@example(text="!\x1c!\x1c " * 3, piece=1)
@given(text=st.text("ab!'s \n\t\x1c\xa0é", max_size=40).filter(str.strip), piece=st.integers(1, 9))
def test_long_documents_are_learned_from_as_if_whole(text: str, piece: int) -> None:
    corpus = Corpus("x", (text, text[::-1], f"{text}{END_OF_TEXT} {text}"))
    whole = train_tokenizer(corpus, 290).to_str()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE_CHARACTERS", piece)
        assert train_tokenizer(corpus, 290).to_str() == whole


def test_the_library_is_never_given_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    text = "a few words\n" * 40_000

    def noted(text: str) -> Iterator[str]:
        for piece in pieces_module.pieces(text):
            given.append(piece)
            yield piece

    monkeypatch.setattr(tokenizer_module, "pieces", noted)
    train_tokenizer(Corpus.from_text(text), 260)
    assert "".join(given) == text
    assert len(given) == 8
    assert max(map(len, given)) < 66_000


def test_the_environment_of_the_program_is_left_alone() -> None:
    script = (
        "import os\n"
        "before = dict(os.environ)\n"
        "from crystalline.data import Corpus, prepare_tokens\n"
        "prepare_tokens(Corpus.from_text('the cat sat on the mat'), 270, None)\n"
        "assert os.environ == before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_another_process_gives_the_same_tokenizer_and_a_fork_is_silent() -> None:
    script = (
        "import os, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from crystalline.data import Corpus, train_tokenizer\n"
        f"tokenizer = train_tokenizer(Corpus.from_text({SENTENCES.documents[0]!r}), 270)\n"
        "if os.fork() == 0: tokenizer.encode_batch(['in the child'] * 100); os._exit(0)\n"
        "os.wait()\n"
        "sys.stdout.write(tokenizer.to_str())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert run.stdout == TOKENIZER.to_str()


@pytest.mark.parametrize("vocab_size", [-1, 0, 256, 10**12])
def test_a_vocabulary_that_cannot_be_is_refused(vocab_size: int) -> None:
    with pytest.raises(SettingError, match=f"vocab_size is {vocab_size}: choose 257"):
        train_tokenizer(SENTENCES, vocab_size)


@given(ENCODABLE)
def test_a_saved_tokenizer_gives_the_same_ids(text: str) -> None:
    again = tokenizer_from_json(TOKENIZER.to_str())
    assert isinstance(again, Tokenizer)
    assert again.encode(text).ids == TOKENIZER.encode(text).ids


@pytest.mark.parametrize("damaged", ["", "{}", "[1, 2", TOKENIZER.to_str()[:500], '{"model": 3}'])
def test_a_damaged_tokenizer_is_named(damaged: str) -> None:
    with pytest.raises(ModelFolderError, match=r"tokenizer\.json is damaged"):
        tokenizer_from_json(damaged)


def test_it_says_how_much_of_the_text_it_has_read() -> None:
    parts: list[float] = []
    corpus = Corpus("two", ("the cat " * 20_000, "sat on the mat"))
    heard = train_tokenizer(corpus, 270, heard=parts.append)
    assert parts == sorted(parts)
    assert (len(parts) > 2, parts[-1]) == (True, 1.0)
    assert heard.to_str() == train_tokenizer(corpus, 270).to_str()
