"""Which weights answer, and engines that are thrown away while somebody is inside."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import JobAbandoned, JobToken
from crystalline.inference.editions import Edition, Press, Shelf
from tests.helpers.generators import tiny_model

if TYPE_CHECKING:
    from crystalline.inference.engine import Engine

LIMIT_S = 20.0


class Closing:
    def __init__(self) -> None:
        self._closed = 0

    def __exit__(self, *_: object) -> None:
        self._closed += 1

    def closings(self) -> int:
        return self._closed


def edition(name: str = "") -> Edition:
    return Edition(name, tiny_model(), np.empty(0, np.intp))


def filled(made: Closing, of: Edition | None = None, press: Press | None = None) -> Press:
    press = press or Press()
    press.fill(JobToken(LIMIT_S), lambda: of or edition(), lambda _model: as_engine(made))
    return press


def as_engine(made: Closing) -> Engine:
    engine: Any = made
    return engine  # type: ignore[no-any-return]  # all that matters of one is that it can be closed


def test_what_was_thrown_away_is_closed_once_and_not_used() -> None:
    made = Closing()
    press = filled(made)
    assert press.use(lambda engine: engine) is as_engine(made)
    press.discard()
    press.discard()
    assert made.closings() == 1
    with pytest.raises(RuntimeError, match="thrown away"):
        press.use(lambda engine: engine)


def test_an_engine_with_somebody_inside_is_closed_when_he_leaves() -> None:
    made, inside, leave = Closing(), threading.Event(), threading.Event()
    press = filled(made)

    def work(_engine: object) -> None:
        inside.set()
        assert leave.wait(LIMIT_S)
        assert not made.closings()

    thread = threading.Thread(target=press.use, args=(work,))
    thread.start()
    assert inside.wait(LIMIT_S)
    press.discard()
    assert not made.closings()
    leave.set()
    thread.join(LIMIT_S)
    assert made.closings() == 1


def test_an_engine_that_is_given_up_while_it_is_made_is_closed_when_it_is_there() -> None:
    made, press = Closing(), Press()

    def make(_model: object) -> Engine:
        press.discard()
        return as_engine(made)

    press.fill(JobToken(LIMIT_S), edition, make)
    assert made.closings() == 1
    assert not press.wanted


def test_one_that_is_given_up_before_is_not_made() -> None:
    token, press = JobToken(LIMIT_S), Press()
    token.cancel()
    with pytest.raises(JobAbandoned):
        press.fill(token, edition, lambda _model: as_engine(Closing()))
    with pytest.raises(RuntimeError, match="never made"):
        press.use(lambda engine: engine)


def test_an_empty_press_has_no_weights() -> None:
    with pytest.raises(RuntimeError, match="no weights"):
        _ = Press().edition


def shelf_with(made: Closing) -> Shelf:
    shelf = Shelf(edition("old"), lambda _model: as_engine(made))
    shelf.install(filled(made, shelf.current, shelf.blank()))
    return shelf


def test_old_weights_stay_until_the_last_request_that_began_with_them() -> None:
    old, new = Closing(), Closing()
    shelf = shelf_with(old)
    first, second = shelf.begin(), shelf.begin()
    assert first is second
    assert shelf.offer(filled(new, edition("new"), shelf.blank()))
    assert shelf.full
    third = shelf.begin()
    assert (first.edition.name, third.edition.name) == ("old", "new")
    shelf.end(first)
    assert not old.closings()
    shelf.end(second)
    assert old.closings() == 1
    shelf.end(third)
    assert not new.closings(), "it is what the next request begins with"


def test_weights_that_nobody_uses_give_way_at_once() -> None:
    old = Closing()
    shelf = shelf_with(old)
    assert shelf.offer(filled(Closing(), edition("new"), shelf.blank()))
    assert old.closings() == 1
    assert not shelf.full


def test_a_third_engine_is_refused_and_closed() -> None:
    third = Closing()
    shelf = shelf_with(Closing())
    shelf.begin()
    shelf.offer(filled(Closing(), edition("new"), shelf.blank()))
    assert not shelf.offer(filled(third, edition("newer"), shelf.blank()))
    assert third.closings() == 1
    assert shelf.current.name == "new"


def test_an_engine_for_weights_that_are_no_more_the_newest_is_not_installed() -> None:
    late = Closing()
    shelf = Shelf(edition("old"), lambda _model: as_engine(late))
    press = filled(late, shelf.current, shelf.blank())
    shelf.offer(filled(Closing(), edition("new"), shelf.blank()))
    shelf.install(press)
    assert late.closings() == 1
    assert shelf.begin().edition.name == "new"


def test_closing_leaves_nothing_open_not_even_what_is_being_made() -> None:
    made, half = Closing(), Closing()
    shelf = shelf_with(made)
    blank = shelf.blank()
    shelf.close()
    blank.fill(JobToken(LIMIT_S), edition, lambda _model: as_engine(half))
    assert (made.closings(), half.closings()) == (1, 1)
    assert not shelf.offer(blank)
    with pytest.raises(RuntimeError, match="before there was an engine"):
        shelf.begin()
