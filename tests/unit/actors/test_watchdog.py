"""When an event loop counts as blocked: times of pings and answers in, steps out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.watchdog import Blockage, Pulse, Step, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.host import Host

LIMIT_S = 1.0


def test_a_loop_that_answers_is_pinged_again_and_never_reported() -> None:
    pulse = Pulse(LIMIT_S)
    for number in range(1, 5):
        assert pulse.look(number) is Step.PING
        assert pulse.number == number
        assert pulse.answer(number, number + 0.1) is None


def test_a_loop_that_does_not_answer_is_reported_once() -> None:
    pulse = Pulse(LIMIT_S)
    steps = [pulse.look(0.5 * turn) for turn in range(7)]
    assert steps == [Step.PING, Step.WAIT, Step.REPORT, Step.WAIT, Step.WAIT, Step.WAIT, Step.WAIT]
    assert pulse.answer(1, 3.25) == 3.25, "how long it lasted"
    assert pulse.look(3.5) is Step.PING


def test_two_blockages_are_two_reports() -> None:
    pulse = Pulse(LIMIT_S)
    for number in (1, 2):
        assert pulse.look(10 * number) is Step.PING
        assert pulse.look(10 * number + 1) is Step.REPORT
        assert pulse.answer(number, 10 * number + 2) == 2


def test_a_blockage_that_nobody_could_see_counts_all_the_same() -> None:
    """Code that keeps all threads from running keeps the watchdog from looking, too."""
    pulse = Pulse(LIMIT_S)
    assert pulse.look(0) is Step.PING
    assert pulse.answer(1, LIMIT_S) == LIMIT_S


def test_a_loop_that_does_not_run_owes_no_answer() -> None:
    pulse = Pulse(LIMIT_S)
    assert pulse.look(0) is Step.PING
    pulse.forget()
    assert pulse.look(100) is Step.PING
    assert pulse.answer(1, 100.1) is None, "that of the ping before comes late, and says nothing"
    assert pulse.look(100 + LIMIT_S) is Step.REPORT
    assert pulse.answer(2, 102) == 2


@pytest.mark.parametrize("limit_s", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_limit_is_refused(limit_s: float) -> None:
    with pytest.raises(ValueError, match="blocked_after_s must be a finite time above 0"):
        Pulse(limit_s)


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=40))
def test_a_report_comes_between_a_ping_and_its_answer_and_only_when_it_is_due(
    turns: list[tuple[float, bool]],
) -> None:
    pulse, now_s, pinged_s, reports = Pulse(LIMIT_S), 0.0, None, 0
    for later_s, answers in turns:
        now_s += later_s
        step = pulse.look(now_s)
        assert (step is Step.PING) == (pinged_s is None)
        if pinged_s is None:
            pinged_s, reports = now_s, 0
        reports += step is Step.REPORT
        due = now_s - pinged_s >= LIMIT_S
        assert reports == due, "at the first look after the time is over, and not again"
        if answers:
            waited_s = pulse.answer(pulse.number, now_s)
            assert waited_s == (now_s - pinged_s if due else None)
            pinged_s = None


class Loop:
    """Runs, and keeps what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def is_running(self) -> bool:
        return True

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: object) -> None:
        self.calls.append((callback, args))


@pytest.mark.parametrize(("took_s", "counted"), [(0.9, []), (2.5, [Blockage("unknown", 2.5, "")])])
def test_a_blockage_that_nobody_could_look_at_is_counted_without_a_name(
    took_s: float, counted: list[Blockage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a call that keeps all threads from running: the watchdog's thread wakes when it is over."""
    now_s = [7.0]
    monkeypatch.setattr("actors.watchdog.time", SimpleNamespace(monotonic=lambda: now_s[0]))
    loop = Loop()
    watchdog = Watchdog(cast("Host", SimpleNamespace(loop=loop, tracer=None)), "watchdog", LIMIT_S)
    watchdog._look()
    [(answer, args)] = loop.calls
    now_s[0] += took_s
    answer(*args)
    assert list(watchdog.latest) == counted
    assert watchdog.count == len(counted)
