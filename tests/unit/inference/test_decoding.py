"""Pieces of text joined are the text of all ids, for tokenizers of several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from crystalline.data import Corpus, train_tokenizer
from crystalline.inference import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES = train_tokenizer(Corpus.from_text("naïve ☃ 日本 the cat sat on the mat " * 3), 290)


def sentencepiece() -> Tokenizer:
    """As models with a SentencePiece vocabulary have it: spaces inside words, bytes for what is unknown."""
    pieces = ["<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "▁cat", "s", "☃"]
    tokenizer = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(["<s>"])
    return tokenizer


SPACES = sentencepiece()
CAT, THE = (SPACES.get_vocab()[piece] for piece in ("▁cat", "▁the"))


def halves() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"x": 0, "Ã": 1, "©": 2, "xÃ": 3}, [("x", "Ã")]))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


BPE_WITH_HALVES = halves()


def bytes_of(text: str) -> list[int]:
    return [1 + byte for byte in text.encode()]


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int], prompt: Sequence[int] = ()) -> list[str]:
    decoder = Decoder(tokenizer, prompt)
    return [decoder.step(token) for token in ids]


@pytest.mark.parametrize("tokenizer", [BYTES, SPACES])
@given(data=st.data())
def test_any_ids_behind_any_prompt_add_what_the_whole_has_more(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    """The prompt may end inside a character too."""
    any_ids = st.lists(st.integers(0, tokenizer.get_vocab_size() - 1), max_size=14)
    prompt, ids = data.draw(any_ids), data.draw(any_ids)
    before = tokenizer.decode(prompt).rstrip("\ufffd")
    whole = tokenizer.decode(prompt + ids)
    text = "".join(pieces_of(tokenizer, ids, prompt))
    # With byte fallback, bytes that are no character make those before them none; what came stays.
    if tokenizer is BYTES or "\ufffd" not in whole:
        assert text == whole.rstrip("\ufffd").removeprefix(before)
    assert not text.endswith("\ufffd")


def test_a_word_behind_a_prompt_keeps_its_space() -> None:
    assert SPACES.decode([THE, CAT]) == "the cat"
    assert "".join(pieces_of(SPACES, [CAT], prompt=[THE])) == " cat"
    assert "".join(pieces_of(SPACES, [CAT], prompt=[THE] * 100)) == " cat"
    assert "".join(pieces_of(SPACES, [THE, CAT], prompt=[0])) == "the cat", "nothing stands before it"


def test_a_character_begun_in_the_prompt_is_completed() -> None:
    first, *rest = bytes_of("☃")
    assert pieces_of(SPACES, [*rest, CAT], prompt=[THE, first]) == ["", "☃", " cat"]


def test_what_a_prompt_ends_with_does_not_come_again() -> None:
    snowman = BYTES.encode("ö").ids
    assert len(snowman) == 2
    assert pieces_of(BYTES, snowman[1:], prompt=[*BYTES.encode("the").ids, snowman[0]]) == ["ö"]


def test_what_is_whole_in_front_of_an_unfinished_character_comes_at_once() -> None:
    joined = BPE_WITH_HALVES.get_vocab()["xÃ"]  # "x" and the first byte of "é"
    second = BPE_WITH_HALVES.get_vocab()["©"]
    assert pieces_of(BPE_WITH_HALVES, [joined, second]) == ["x", "é"]
    assert pieces_of(BPE_WITH_HALVES, [second], prompt=[joined]) == ["é"]
    assert pieces_of(BPE_WITH_HALVES, [joined, joined, second]) == ["x", "\ufffdx", "é"]


def test_a_character_of_several_tokens_comes_when_it_is_whole() -> None:
    assert pieces_of(SPACES, bytes_of("é☃")) == ["", "é", "", "", "☃"]


def test_an_unfinished_character_at_the_end_is_left_out() -> None:
    assert "".join(pieces_of(SPACES, [THE, *bytes_of("☃")[:2]])) == "the"


def test_bytes_that_are_no_character_are_marked_where_the_text_goes_on() -> None:
    assert "".join(pieces_of(SPACES, [THE, *bytes_of("é")[:1], CAT])) == "the\ufffd cat"


def test_bytes_that_are_no_character_take_nothing_back() -> None:
    """This tokenizer alone decodes the snowman's bytes as none because of the byte behind them."""
    ids = [*bytes_of("☃"), 1 + 0x80, CAT]
    assert SPACES.decode(ids) == "\ufffd" * 4 + " cat"
    assert "".join(pieces_of(SPACES, ids)) == "☃\ufffd cat"


@pytest.mark.parametrize("tokenizer", [BYTES, SPACES])
def test_bytes_without_end_that_are_no_character_come_out_and_are_not_decoded_again_and_again(
    tokenizer: Tokenizer,
) -> None:
    no_beginning = tokenizer.encode("☃").ids[-1] if tokenizer is BYTES else bytes_of("☃")[-1]
    decoder = Decoder(tokenizer)
    pieces = [decoder.step(no_beginning) for _ in range(300)]
    assert len("".join(pieces)) > 200
    assert set("".join(pieces)) == {"\ufffd"}
    assert len(decoder._held) < 70
    the = BYTES.encode("the").ids if tokenizer is BYTES else [THE]
    assert "".join(decoder.step(token) for token in the).endswith("the")


def test_special_tokens_without_end_are_not_decoded_again_and_again() -> None:
    decoder = Decoder(SPACES, [THE])
    assert [decoder.step(0) for _ in range(300)] == [""] * 300
    assert len(decoder._held) < 70
    assert "".join(decoder.step(token) for token in [CAT, *[0] * 62, *bytes_of("☃")]) == " cat☃"


def test_special_tokens_are_no_text() -> None:
    assert "".join(pieces_of(SPACES, [0, THE, 0, CAT, 0])) == "the cat"
    assert "".join(pieces_of(SPACES, [*bytes_of("☃")[:1], 0, *bytes_of("☃")[1:]])) == "☃"
