"""Stop strings: nothing of them comes out, nothing else is kept, however the text is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crystalline.inference.stopping import StopFinder

# Of few letters, so that beginnings of stop strings are everywhere.
LETTERS = st.text("abä☃", max_size=12)
STOPS = st.lists(st.text("abä☃", min_size=1, max_size=5), max_size=4)


def by_definition(text: str, stops: list[str]) -> tuple[str, bool]:
    """What comes out, and whether it was stopped."""
    for end in range(1, len(text) + 1):
        if complete := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, complete))], True
    return text, False


def held_by_definition(text: str, stops: list[str]) -> int:
    """How many characters at the end could be the beginning of a stop string."""
    starts = {stop[:n] for stop in stops for n in range(len(stop))}
    return max((n for n in range(len(text) + 1) if text[len(text) - n :] in starts), default=0)


@given(st.lists(LETTERS, max_size=8), STOPS)
@example(["aab"], ["ab"])
@example(["aabaa", "b"], ["aabaab"])
@example(["ab", "ac"], ["abab", "ac"])
def test_any_pieces_end_where_the_whole_does(pieces: list[str], stops: list[str]) -> None:
    finder, out = StopFinder(stops), ""
    whole, stopped = by_definition("".join(pieces), stops)
    for count, piece in enumerate(pieces, 1):
        out += finder.feed(piece)
        so_far = "".join(pieces[:count])
        if not finder.found:
            assert out == so_far[: len(so_far) - held_by_definition(so_far, stops)], (
                "held back as long as needed"
            )
    assert finder.found == stopped
    assert out + finder.finish() == whole


def test_what_could_be_a_beginning_is_held_back_until_it_is_known() -> None:
    finder = StopFinder(["\nUser:"])
    assert finder.feed("Hello\n") == "Hello"
    assert finder.feed("Us") == ""
    assert finder.feed("ed") == "\nUsed"
    assert finder.feed("\nUser") == ""
    assert finder.feed(": and more") == ""
    assert finder.found
    assert finder.finish() == ""


def test_what_is_held_back_at_the_end_comes_out() -> None:
    finder = StopFinder(["stop"])
    assert finder.feed("do not sto") == "do not "
    assert finder.finish() == "sto"
    assert not finder.found


def test_the_first_that_is_complete_ends_the_text() -> None:
    # "xaby" begins earlier, but "ab" is complete earlier: pieces make no difference.
    for pieces in (["xaby"], ["x", "a", "b", "y"]):
        finder = StopFinder(["xaby", "ab"])
        assert "".join(map(finder.feed, pieces)) == "x"


def test_of_those_that_end_together_the_longest_counts() -> None:
    finder = StopFinder(["b", "ab", "aab"])
    assert finder.feed("xaab") == "x"


def test_a_stop_string_inside_another_is_found() -> None:
    finder = StopFinder(["abcd", "bc"])
    assert finder.feed("zabc") == "za"


def test_without_stop_strings_everything_comes_at_once() -> None:
    finder = StopFinder([])
    assert finder.feed("abc") == "abc"
    assert not finder.found


def test_nothing_comes_after_the_end() -> None:
    finder = StopFinder(["."])
    assert finder.feed("one. two") == "one"
    assert finder.feed("three") == finder.finish() == ""


@pytest.mark.parametrize("stop", ["a" * 100_000, "a" * 99_999 + "b"])
def test_long_stop_strings_take_no_longer_for_a_character(stop: str) -> None:
    finder = StopFinder([stop] * 16)
    for _ in range(20):
        assert finder.feed("a" * 100) == ""
    assert finder.feed("c") == "a" * 2000 + "c"
